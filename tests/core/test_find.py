"""Naming and finding: worked out by hand on features that are chosen, and on the tiny bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samclip_edge import SamClip, data
from samclip_edge.encoded import pool
from samclip_edge.errors import InputError
from samclip_edge.scene import Scene
from samclip_edge.tasks.everything import Settings
from samclip_edge.tasks.find import _sample
from samclip_edge.tasks.published import _drawn
from samclip_edge.text.judge import Judge, Rivals, strongest
from samclip_edge.text.tokenizer import clean

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400


@pytest.fixture
def scene(tiny: SamClip, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A photo whose left half looks to the CLIP head like "cup", its right half like "table"; nothing like "dog".

    The bundle has one rival, "horse", and no calibration: chances are those of the softmax.
    """
    width = tiny.bundle.manifest.spec.features
    names = ("cup", "table", "dog", "background", "horse")
    axes = dict(zip(names, np.eye(width, dtype=np.float32), strict=False))
    axes["mug"] = 0.8 * axes["cup"] + 0.6 * axes["dog"]
    monkeypatch.setattr(tiny.words, "features", lambda names, progress=None: np.stack([axes[clean(n)] for n in names]))
    judge = Judge(tiny.words, tiny.bundle.manifest.model_copy(update={"calibration": None}))
    vars(judge)["rivals"] = Rivals(["horse"], axes["horse"][None], same=0.9)
    monkeypatch.setattr(tiny, "judge", judge)
    patches = np.zeros((1, width, 16, 16), np.float32)
    patches[0, :, :, :8] = axes["cup"][:, None, None]
    patches[0, :, :, 8:] = axes["table"][:, None, None]
    image = (axes["cup"] * 0.8 + axes["table"] * 0.6)[None]
    run = tiny.sessions.run
    said = {"image_features": image, "patch_features": patches}
    monkeypatch.setattr(
        tiny.sessions, "run", lambda name, *rest, **given: said if name == "clip_head" else run(name, *rest, **given)
    )
    return tiny.look(PHOTO, 256)


def chance(log_odds: float) -> float:
    return 1 / (1 + np.exp(-log_odds))


def test_classify_judges_each_label_by_itself(scene: Scene) -> None:
    """By hand: each label against "horse" and "background", both at a cosine of 0 with the photo."""
    scale = scene.model.words.logit_scale
    cosines = np.array([0.8, 0.6, 0.0])
    guesses = scene.classify(["dog", "table", "cup"])
    assert [guess.label for guess in guesses] == ["cup", "table", "dog"]
    np.testing.assert_allclose([guess.similarity for guess in guesses], cosines, atol=1e-6)
    np.testing.assert_allclose([guess.score for guess in guesses], chance(scale * cosines - np.log(2)), rtol=1e-4)
    powers = np.exp(scale * (cosines - 0.8))
    np.testing.assert_allclose([guess.share for guess in guesses], powers / powers.sum(), rtol=1e-4)
    assert guesses.any_fits == guesses[0].score  # no further label makes it smaller


def test_a_label_that_is_not_there_alone_does_not_fit(scene: Scene) -> None:
    (guess,) = guesses = scene.classify(["dog"])
    assert guess.score == guesses.any_fits == pytest.approx(1 / 3, rel=1e-4)  # one name of three that fit as little
    assert guess.share == 1


def test_names_in_capitals_are_the_same_names(scene: Scene) -> None:
    assert scene.classify(["cup", "Cup", "CUP "]) == scene.classify(["cup"])
    (mask,) = scene.find(["CUP", "cup"], refine=False)
    assert mask.label == "CUP"


def test_a_rival_that_means_the_same_does_not_compete(scene: Scene) -> None:
    judge, width = scene.model.judge, scene.image_features.shape[0]
    photo = np.eye(width, dtype=np.float32)[0]
    vars(judge)["rivals"] = Rivals(["mug"], scene.model.words.features(["mug"]), same=0.79)
    scale = scene.model.words.logit_scale
    assert judge.log_odds(photo, ["cup"]) == pytest.approx(scale + 60)  # nothing is left that competes
    assert judge.log_odds(photo, ["cup"], ["background"]) == pytest.approx(scale)
    vars(judge)["rivals"] = Rivals(["mug"], scene.model.words.features(["mug"]), same=0.81)
    assert judge.log_odds(photo, ["cup"]) == pytest.approx(scale * 0.2, rel=1e-5)
    assert judge.log_odds(photo, ["mug"], ["CUP"]) == pytest.approx(-scale * 0.2, rel=1e-5), "the user's own competes"


def test_find_without_refinement_is_the_map_of_the_clip_head(scene: Scene) -> None:
    masks = {mask.label: mask for mask in scene.find(["table", "dog", "cup"], refine=False)}
    assert set(masks) == {"cup", "table"}
    left = np.zeros((400, 600), bool)
    left[:, :300] = True
    assert np.count_nonzero(masks["cup"].bits ^ left) <= 400 * 37.5  # the border is off by a patch at most
    assert not (masks["cup"].bits & masks["table"].bits).any()
    assert masks["cup"].score == pytest.approx(chance(scene.model.words.logit_scale - np.log(2)), rel=1e-4)
    assert masks["cup"].predicted_iou is None


def test_find_asks_the_decoder_with_each_names_map_and_points(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    decode = scene.encoded.decode
    monkeypatch.setattr(scene.encoded, "decode", lambda prompts: asked.append(prompts) or decode(prompts))
    scene.find(["table", "dog", "cup"])
    assert len(asked) == 2
    for prompts, left in zip(asked, (False, True), strict=True):
        assert prompts.labels.tolist() == [[1, 1, 1, -1]]
        assert prompts.has_mask.tolist() == [1]
        assert ((prompts.points[0, :3, 0] < 128) == left).all()
        assert (prompts.points[..., 1] < 171).all(), "no point falls on the padding below the photo"
        assert prompts.mask.shape == (1, 1, 64, 64)
        assert ((prompts.mask[0, 0, :, :30] > 0) == left).all()
        assert ((prompts.mask[0, 0, :, 34:] < 0) == left).all()


def test_a_name_is_judged_and_masked_by_itself(scene: Scene) -> None:
    """Whatever else is asked, the same names are seen, with the same scores; only shared pixels change hands."""
    together = {mask.label: mask for mask in scene.find(["table", "dog", "cup", "mug"], min_score=0.2)}
    claimed = np.zeros((400, 600), bool)
    for name in ("table", "dog", "cup", "mug"):
        alone = scene.find([name], min_score=0.2)
        assert [mask.label for mask in alone] == [name]
        mask, alike = alone[0], together[name]
        assert (mask.score, mask.similarity, mask.predicted_iou) == (alike.score, alike.similarity, alike.predicted_iou)
        assert not (alike.bits & ~mask.bits).any(), "a name gains nothing from others"
        claimed |= mask.bits
    assert np.array_equal(claimed, sum(mask.bits.astype(int) for mask in together.values()) == 1)


def test_pixels_that_two_names_claim_go_to_the_stronger(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photo 600 x 400, the model's square 256: a low-res mask (64,64) has the photo's border at column 32, row 42."""
    cup, mug = np.full((2, 1, 4, 64, 64), -1, np.float32)
    cup[0, 0, 4:12, 4:28], mug[0, 0, 8:20, 4:28] = 1, 5
    answers = iter([mug, cup])
    monkeypatch.setattr(scene.encoded, "decode", lambda prompts: (next(answers), np.full((1, 4), 0.75, np.float32)))
    found = {mask.label: mask for mask in scene.find(["mug", "cup"])}
    ours, theirs = (scene.frame.to_photo(each[0, 0]) > 0 for each in (cup, mug))
    assert found["cup"].score > found["mug"].score
    assert found["cup"].predicted_iou == found["mug"].predicted_iou == 0.75
    assert np.array_equal(found["cup"].bits, ours)
    assert np.array_equal(found["mug"].bits, theirs & ~ours)


def test_a_name_can_lose_against_the_background(scene: Scene) -> None:
    scene.patch_features[:] = 0
    scene.patch_features[3] = 1
    assert scene.find(["cup"]) == []
    assert scene.find(["cup"], refine=False) == []
    assert [mask.label for mask in scene.find(["cup"], min_score=0, refine=False)] == ["cup"]


def test_further_rivals_can_be_named(scene: Scene) -> None:
    assert [mask.label for mask in scene.find(["mug"])] == ["mug"]
    assert scene.find(["mug"], background=["background", "cup"]) == []


def test_strongest_is_the_mean_chance_of_the_four_best_patches() -> None:
    """By hand: chances of 0.9, 0.8, 0.7, 0.6 and less, whose mean is 0.75."""
    chances = np.array([0.1, 0.7, 0.9, 0.5, 0.6, 0.8, 0.2])
    odds = strongest(np.log(chances / (1 - chances))[:, None].astype(np.float32))
    assert odds == pytest.approx(np.log(3), rel=1e-5)
    assert strongest(np.zeros((2, 1), np.float32)) == pytest.approx(0, abs=1e-6)  # fewer than four patches


def test_as_published_every_name_that_wins_somewhere_is_answered(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    decode = scene.encoded.decode
    monkeypatch.setattr(scene.encoded, "decode", lambda prompts: asked.append(prompts) or decode(prompts))
    masks = scene.find(["mug", "table"], as_published=True)
    assert {mask.label for mask in masks} <= {"mug", "table"}
    mug, table = asked
    assert (mug.points[0, :3, 0] < 128).all(), "mug is the likeliest in the left half, for want of cup"
    assert (table.points[0, :3, 0] >= 128).all()
    scene.find(["mug", "table"], as_published=True)
    assert np.array_equal(mug.points, asked[2].points), "the same photo, the same points"
    with pytest.raises(InputError, match="as_published"):
        scene.find(["mug"], as_published=True, refine=False)


def test_points_are_drawn_in_proportion_to_confidence() -> None:
    """Of two patches, one three times as confident: it comes first in about three draws of four."""
    confidence = np.array([[0.3, 0.0], [0.0, 0.1]], np.float32)
    random = np.random.default_rng(5)
    first = [_drawn(random, confidence, 1) for _ in range(400)]
    assert set(map(tuple, first)) == {((0, 0),), ((1, 1),)}
    assert 260 < first.count([(0, 0)]) < 340  # 300, four standard deviations of 8.7 to either side
    assert sorted(_drawn(random, confidence, 3)) == [(0, 0), (1, 1)]


def test_sampled_patches_are_likely_and_far_apart() -> None:
    likely = np.full((5, 9), 1e-6, np.float32)
    likely[2, 1:8] = [0.9, 0.5, 0.4, 0.1, 0.5, 0.6, 0.5]
    log_odds = np.log(likely / (1 - likely))
    assert _sample(log_odds, 3, 0.5) in ([(2, 1), (2, 7), (2, 2)], [(2, 1), (2, 7), (2, 5)])
    assert _sample(log_odds, 1, 0.5) == [(2, 1)]
    assert _sample(log_odds, 3, 0.95) == [(2, 1)]


def test_pooling_is_a_weighted_mean_made_unit() -> None:
    features = np.random.RandomState(0).normal(size=(5, 3, 4)).astype(np.float32)
    weights = np.random.RandomState(1).rand(3, 4).astype(np.float32)
    total = sum(features[:, y, x] * weights[y, x] for y in range(3) for x in range(4))
    np.testing.assert_allclose(pool(features, weights), total / np.linalg.norm(total), rtol=1e-5)


def test_everything_names_a_mask_by_the_patches_under_it(scene: Scene) -> None:
    masks = scene.everything(["dog", "cup", "table"], Settings(6, score=-99, stability=0.0, overlap=1.0))
    assert masks
    left = np.zeros((400, 600), bool)
    left[:, :300] = True
    for mask in masks:
        share = np.count_nonzero(mask.bits & left) / max(mask.area, 1)
        if mask.area and abs(share - 0.5) > 0.1:
            assert mask.label == ("cup" if share > 0.5 else "table")


def test_everything_leaves_unnamed_what_no_label_fits(scene: Scene) -> None:
    settings = Settings(6, score=-99, stability=0.0, overlap=1.0)
    masks = scene.everything(["dog"], settings)
    assert masks
    for mask in masks:
        assert (mask.label, mask.score, mask.similarity) == (None, None, None)
        assert mask.predicted_iou is not None
        assert set(mask.to_json()) == {"segmentation", "area", "box", "predicted_iou"}
    named = scene.everything(["dog"], settings, min_score=0)
    assert [mask.rle for mask in named] == [mask.rle for mask in masks]
    for mask in named:
        told = mask.to_json()
        assert (told["label"], told["confidence"]) == ("dog", told["score"])


def test_out_of_range_settings_are_named(scene: Scene) -> None:
    for call, named in (
        (lambda: scene.find(["cup"], points=4), "points 4"),
        (lambda: scene.find(["cup"], threshold=2), "threshold 2"),
        (lambda: scene.find(["cup"], min_score=1.5), "min_score 1.5"),
        (lambda: scene.everything(["cup"], min_score=-1), "min_score -1"),
        (lambda: scene.find(["cup"], background="horse"), "background: 'horse' is one string"),
        (lambda: scene.classify(["cup"], background=[""]), "background: name 1 of 1 is empty"),
        (lambda: Settings(0), "points_per_side 0"),
        (lambda: Settings(predicted_iou=float("nan")), "predicted_iou nan"),
    ):
        with pytest.raises(InputError, match=named):
            call()


def test_rank_orders_photos_by_their_cosine(tiny: SamClip) -> None:
    photos: list[Path] = data.photos()
    ranked = tiny.rank([*photos, tiny.look(photos[0], 128)], "a cat on a blanket")
    wanted = tiny.words.encode(["a cat on a blanket"])[0]
    cosines = [float(tiny.look(photo, 128).image_features @ wanted) for photo in photos]
    cosines.append(cosines[0])
    assert dict(ranked) == pytest.approx(dict(enumerate(cosines)), abs=1e-6)  # several in a call, to rounding
    assert [similarity for _, similarity in ranked] == sorted(dict(ranked).values(), reverse=True)


def test_embed_has_a_row_for_each_photo_and_for_each_text(tiny: SamClip, caplog: pytest.LogCaptureFixture) -> None:
    photos = data.photos()
    features = tiny.embed([photos[0], "none.jpg", tiny.look(photos[1], 128)])
    assert (features.shape, features.dtype) == ((3, tiny.bundle.manifest.spec.features), np.float32)
    for row, photo in ((0, photos[0]), (2, photos[1])):
        np.testing.assert_allclose(features[row], tiny.look(photo, 128).image_features, atol=1e-6)
    assert np.isnan(features[1]).all()
    assert "none.jpg" in caplog.text
    assert not np.allclose(tiny.embed(photos[:1], 256)[0], features[0], atol=1e-3)
    with pytest.raises(InputError, match=r"none\.jpg"):
        tiny.embed(["none.jpg"])
    assert tiny.embed([]).shape == (0, tiny.bundle.manifest.spec.features)
    texts = ["a cup", "a cup", "the sky over a lake"]
    np.testing.assert_array_equal(tiny.embed_text(texts), tiny.words.encode(texts))
    with pytest.raises(InputError, match="is one string"):
        tiny.embed_text("a cup")


def test_templates_are_averaged(tiny: SamClip) -> None:
    texts = [template.replace("{}", "cat") for template in tiny.words.templates]
    mean = tiny.words.encode(texts).mean(axis=0)
    np.testing.assert_allclose(tiny.words.features(["cat"])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_encoder_runs_once(tiny: SamClip, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    run: Callable[..., object] = tiny.sessions.run
    monkeypatch.setattr(
        tiny.sessions, "run", lambda name, *rest, **inputs: ran.append(name) or run(name, *rest, **inputs)
    )
    scene = tiny.look(PHOTO)
    scene.classify(["cup", "dog"])
    scene.segment(points=[[10, 10]])
    scene.find(["cup", "dog"])
    scene.everything(["cup"], Settings(2, score=-9, stability=0))
    assert ran.count("image_encoder") == 1
    assert ran.count("clip_head") == 1
