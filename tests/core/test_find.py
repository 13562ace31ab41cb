"""Naming and finding: worked out by hand on features that are chosen, and on the tiny bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samclip_edge import SamClip, data
from samclip_edge.encoded import pool
from samclip_edge.errors import InputError
from samclip_edge.pipeline import Scene
from samclip_edge.tasks.everything import Settings
from samclip_edge.tasks.find import _sample

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400


@pytest.fixture
def scene(tiny: SamClip, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A photo whose left half looks to the CLIP head like "cup", its right half like "table"; nothing like "dog"."""
    width = tiny.bundle.manifest.spec.features
    axes = dict(zip(("cup", "table", "dog", "background"), np.eye(width, dtype=np.float32), strict=False))
    monkeypatch.setattr(tiny.words, "features", lambda names, progress=None: np.stack([axes[name] for name in names]))
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


def test_classify_is_a_softmax_of_scaled_cosines(scene: Scene) -> None:
    scale = scene.model.words.logit_scale
    powers = np.exp(scale * (np.array([0.8, 0.6, 0.0]) - 0.8))
    guesses = scene.classify(["dog", "table", "cup"])
    assert [guess.label for guess in guesses] == ["cup", "table", "dog"]
    np.testing.assert_allclose([guess.score for guess in guesses], powers / powers.sum(), rtol=1e-4)


def test_find_without_refinement_is_the_map_of_the_clip_head(scene: Scene) -> None:
    masks = {mask.label: mask for mask in scene.find(["table", "dog", "cup"], refine=False)}
    assert set(masks) == {"cup", "table"}
    left = np.zeros((400, 600), bool)
    left[:, :300] = True
    assert np.count_nonzero(masks["cup"].bits ^ left) <= 400 * 2  # the border falls between two pixels
    assert not (masks["cup"].bits & masks["table"].bits).any()
    assert masks["cup"].score > 0.95


def test_find_asks_the_decoder_with_each_names_map_and_points(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    decode = scene.encoded.decode
    monkeypatch.setattr(scene.encoded, "decode", lambda prompts: asked.append(prompts) or decode(prompts))
    scene.find(["table", "dog", "cup"])
    (prompts,) = asked
    assert prompts.labels.tolist() == [[1, 1, 1, -1], [1, 1, 1, -1]]
    assert prompts.has_mask.tolist() == [1]
    table, cup = prompts.points[:, :3]
    assert (cup[:, 0] < 128).all()
    assert (table[:, 0] >= 128).all()
    assert (prompts.points[..., 1] < 171).all(), "no point falls on the padding below the photo"
    assert prompts.mask.shape == (2, 1, 64, 64)
    assert (prompts.mask[1, 0, :, :30] > 0).all()
    assert (prompts.mask[1, 0, :, 34:] < 0).all()


def test_a_refined_mask_is_named_by_all_its_patches(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photo 600 x 400, the model's square 256: a low-res mask (64,64) has the photo's border at column 32, row 42."""
    answers = np.full((2, 4, 64, 64), -1, np.float32)
    monkeypatch.setattr(scene.encoded, "decode", lambda prompts: (answers, np.ones((2, 4), np.float32)))
    table, cup = answers[:, 0]

    table[4:12, 4:28] = 1  # asked for the table, but what is there is the cup
    cup[8:20, 4:28] = 2
    (mask,) = scene.find(["table", "dog", "cup"])
    assert mask.label == "cup"
    both = scene.frame.to_photo(np.maximum(table, cup)) > 0
    assert np.array_equal(mask.bits, both)

    table[:] = cup[:] = -1
    table[:36, 20:60] = 1  # 12 columns of the cup, 28 of the table
    cup[8:20, 4:36] = 2
    found = {mask.label: mask.bits for mask in scene.find(["table", "dog", "cup"])}
    full = {name: scene.frame.to_photo(logits) for name, logits in (("table", table), ("cup", cup))}
    assert np.array_equal(found["cup"], (full["cup"] > 0) & (full["cup"] > full["table"]))
    assert np.array_equal(found["table"], (full["table"] > 0) & (full["table"] >= full["cup"]))


def test_a_name_can_lose_against_the_background(scene: Scene) -> None:
    scene.patch_features[:] = 0
    scene.patch_features[3] = 1
    assert scene.find(["cup"]) == []
    assert scene.find(["cup"], refine=False) == []


def test_sampled_patches_are_likely_and_far_apart() -> None:
    likely = np.zeros((5, 9), np.float32)
    likely[2, 1:8] = [0.9, 0.5, 0.4, 0.1, 0.5, 0.6, 0.5]
    assert _sample(likely, 3, 0.5) == [(2, 1), (2, 7), (2, 2)] or _sample(likely, 3, 0.5) == [(2, 1), (2, 7), (2, 5)]
    assert _sample(likely, 1, 0.5) == [(2, 1)]
    assert _sample(likely, 3, 0.95) == [(2, 1)]


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


def test_out_of_range_settings_are_named(scene: Scene) -> None:
    for call, named in (
        (lambda: scene.find(["cup"], points=4), "points 4"),
        (lambda: scene.find(["cup"], threshold=2), "threshold 2"),
        (lambda: Settings(0), "--grid 0"),
    ):
        with pytest.raises(InputError, match=named):
            call()


def test_rank_orders_photos_by_their_cosine(tiny: SamClip) -> None:
    photos: list[Path] = data.photos()
    ranked = tiny.rank([*photos, tiny.look(photos[0], 128)], "a cat on a blanket")
    wanted = tiny.words.encode(["a cat on a blanket"])[0]
    cosines = [float(tiny.look(photo, 128).image_features @ wanted) for photo in photos]
    cosines.append(cosines[0])
    assert ranked == sorted(enumerate(cosines), key=lambda pair: -pair[1])


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
