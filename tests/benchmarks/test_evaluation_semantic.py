"""Semantic segmentation: published layouts, the CLIP head by torch's arithmetic, both heads, SAM beside CLIP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trees_semantic as trees
from torch.nn.functional import interpolate

from samclip_edge import SamClip, data
from samclip_edge.accuracy import synthetic
from samclip_edge.benchmarks.evaluation import semantic as family
from samclip_edge.benchmarks.evaluation.label_maps import IGNORED, LabelMap
from samclip_edge.benchmarks.evaluation.label_sets import LABEL_SETS, LabelSet
from samclip_edge.benchmarks.evaluation.report import chosen
from samclip_edge.benchmarks.evaluation.run import measure
from samclip_edge.benchmarks.evaluation.semantic import BothHeads, ClipHead, SamAndClip, likeliest, over_photo, semantic
from samclip_edge.benchmarks.evaluation.task import Asked, Sample
from samclip_edge.data import TINY
from samclip_edge.encoded import SideBySide
from samclip_edge.errors import InputError
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Mask, encode_rle
from samclip_edge.rendered import NAMES

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400
COLOURS = ["red thing", "brown coffee", "white cup"]
MERGED = Path("/a/bundle")


@pytest.fixture(scope="module")
def model() -> SamClip:
    return SamClip.load(TINY)


@pytest.fixture(scope="module")
def in_colours(tmp_path_factory: pytest.TempPathFactory) -> LabelSet:
    """One real photo, of which the upper half is of the first class and the lower one of the background."""
    path = tmp_path_factory.mktemp("colours") / "coffee.png"
    labels = np.zeros((400, 600), int)
    labels[200:] = 9
    trees.save_labels(path, labels)
    return LabelSet(COLOURS, {"": True, ", 3 classes": False}, [Sample("coffee", PHOTO, LabelMap(path, {0: 0, 9: 3}))])


def both_ways(task: family.Semantic, size: int) -> tuple[Any, Any, list[np.ndarray]]:
    """What was read of the task's photo, its scene, and the answers in both ways."""
    read = task.read(task.samples[0])
    scene = task.model.look(read[0], size)
    return read, scene, list(task.found(scene, read[1].shape))


def cosines(model: SamClip, names: Sequence[str], scene: Any) -> torch.Tensor:
    """(1,K,h,w), by torch."""
    features = torch.from_numpy(model.words.features(names))
    return torch.einsum("ke,ehw->khw", features, torch.from_numpy(scene.patch_features))[None]


def agree(found: np.ndarray, logits: torch.Tensor) -> float:
    """The share of pixels whose class is the likeliest, but for ties that rounding decides."""
    best = torch.take_along_dim(logits[0], torch.from_numpy(found.astype(np.int64))[None], dim=0)[0]
    return float((logits[0].amax(dim=0) - best < 1e-6).float().mean())


def test_the_clip_head_is_torchs_linear_enlargement_and_its_likeliest(model: SamClip, in_colours: LabelSet) -> None:
    task = ClipHead(Asked(model, MERGED), 128, in_colours)
    (photo, _), scene, (with_it, without) = both_ways(task, 128)
    assert photo.shape == (128, 128, 3)  # stretched
    enlarged = interpolate(
        cosines(model, [*COLOURS, "background"], scene), (400, 600), mode="bilinear", align_corners=False
    )
    assert agree(with_it, enlarged) == 1
    assert agree(without, enlarged[:, :3]) == 1
    assert set(np.unique(with_it)) <= {0, 1, 2, 3}
    assert set(np.unique(without)) <= {0, 1, 2}


def test_all_names_of_the_background_are_one_class(
    model: SamClip, in_colours: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "BACKGROUND_NAMES", ("table", "background", "blue sky"))
    _, scene, (with_it, _) = both_ways(ClipHead(Asked(model, MERGED), 128, in_colours), 128)
    names = [*COLOURS, "table", "background", "blue sky"]
    enlarged = interpolate(cosines(model, names, scene), (400, 600), mode="bilinear", align_corners=False)
    of_classes, rest = enlarged[:, :3], enlarged[:, 3:].amax(dim=1, keepdim=True)
    assert agree(with_it, torch.cat([of_classes, rest], dim=1)) == 1


@pytest.mark.parametrize(("height", "width", "size", "shape"), [(90, 200, 128, (8, 8)), (400, 300, 528, (17, 17))])
def test_a_map_over_the_models_square_lies_over_the_photo_as_torch_lays_it(
    height: int, width: int, size: int, shape: tuple[int, int]
) -> None:
    generator = np.random.default_rng(0)
    features, patches = generator.normal(size=(5, 6)).astype("f"), generator.normal(size=(6, *shape)).astype("f")
    frame = Frame(height, width, size)
    found = likeliest(features, patches, *over_photo(frame, shape))
    maps = torch.einsum("ke,ehw->khw", torch.from_numpy(features), torch.from_numpy(patches))[None]
    cell = 16 * -(-(size // 16) // shape[0])
    square = interpolate(maps, (shape[0] * cell, shape[1] * cell), mode="bilinear", align_corners=False)
    down, across = frame.scaled
    logits = interpolate(square[..., :down, :across], (height, width), mode="bilinear", align_corners=False)
    best = torch.take_along_dim(logits[0], torch.from_numpy(found.astype(np.int64))[None], dim=0)[0]
    assert float((logits[0].amax(dim=0) - best).max()) < 1e-4


@pytest.mark.parametrize("as_published", [True, False])
def test_both_heads_are_find_and_the_rest_is_background_or_of_patches(
    model: SamClip, in_colours: LabelSet, as_published: bool
) -> None:
    task = BothHeads(Asked(model, MERGED), 128, in_colours)
    _, scene, answers = both_ways(task, 128)
    with_it, without = answers[2:] if as_published else answers[:2]
    claimed = {True: np.zeros((400, 600), bool), False: np.zeros((400, 600), bool)}
    for background, found in ((True, with_it), (False, without)):
        rivals = ("background",) if background else ()
        for mask in scene.find(COLOURS, background=rivals, as_published=as_published):
            assert (found[mask.bits] == COLOURS.index(mask.label or "")).all()
            claimed[background] |= mask.bits
    assert claimed[True].any()
    assert (with_it[~claimed[True]] == 3).all()
    patches = scene.patch_features
    of_patches = likeliest(model.words.features(COLOURS), patches, *over_photo(scene.frame, patches.shape[1:]))
    np.testing.assert_array_equal(without[~claimed[False]], of_patches[~claimed[False]])
    assert (~claimed[False]).any()


def test_of_sam_beside_clip_small_masks_lie_on_top_and_the_rest_is_background_or_the_photos_class(
    model: SamClip, in_colours: LabelSet
) -> None:
    task = SamAndClip(Asked(model, MERGED), 128, in_colours)
    features = task.features
    large, small = (np.zeros((400, 600), bool) for _ in range(2))
    large[:, :300], small[100:200, 100:200] = True, True
    masks = [Mask(encode_rle(bits), 0.9) for bits in (small, large)]
    crops = {int(small.sum()): features[1], int(large.sum()): features[3]}  # coffee, and the background
    scene: Any = SimpleNamespace(
        everything=lambda: masks,
        features_under=lambda bits: crops[int(bits.sum())],
        image_features=features[2],
    )
    with_it, without = task.found(scene, (400, 600))
    wanted = np.full((400, 600), 3)
    wanted[small] = 1
    np.testing.assert_array_equal(with_it, wanted)
    wanted[:] = 2
    wanted[large] = int((features[:3] @ features[3]).argmax())
    wanted[small] = 1
    np.testing.assert_array_equal(without, wanted)


@pytest.mark.parametrize("as_published", [True, False])
def test_a_rendered_tree_gives_the_numbers_of_synthetic(
    model: SamClip, tmp_path: Path, as_published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, first = model.sizes[-1], 20_000  # the scenes of `synthetic.semantic`
    trees.voc(tmp_path, classes=len(NAMES), size=size, border=False, first=first)

    def rendered(folder: Path) -> LabelSet:
        keys = (folder / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
        classes = {0: 80} | {1 + place: place for place in range(80)}
        maps, photos = folder / "SegmentationClass", folder / "JPEGImages"
        samples = [Sample(key, photos / f"{key}.jpg", LabelMap(maps / f"{key}.png", classes)) for key in keys]
        return LabelSet(list(NAMES), {"": True}, samples)

    monkeypatch.setitem(LABEL_SETS, "rendered", rendered)
    asked = Asked(model, tmp_path, (size,), ("both",), as_published=as_published)
    (task,) = semantic("rendered", asked)
    found = measure(task, asked)
    assert ("mIoU, as published" in found.measures) != as_published, "both ways come from one look"
    assert found.measures["mIoU"] == pytest.approx(
        synthetic.semantic(model, trees.COUNT, refine=True, as_published=as_published), rel=1e-6
    )
    assert found.measures["mIoU"] > 0.3  # `tiny` knows rendered things


def test_columns_are_the_heads_and_sizes_that_were_asked_for(model: SamClip, tmp_path: Path) -> None:
    trees.voc(tmp_path)
    columns = lambda **asked: [each.column for each in semantic("voc", Asked(model, tmp_path, **asked))]  # noqa: E731
    assert columns(sizes=(128, 256), heads=("clip",)) == ["CLIP head, 128", "CLIP head, 256"]
    assert columns(sizes=(128,), heads=("both",), as_published=True) == ["both heads, as published, 128"]
    assert columns(sizes=(128,)) == ["CLIP head, 128", "both heads, 128"]


def test_what_the_bundle_does_not_have_is_refused(
    model: SamClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.voc(tmp_path)
    with pytest.raises(
        InputError,
        match=r"holds 128 and 256, not 448 and 1024; add it by `samclip-edge export .*--size 448 --size 1024",
    ):
        semantic("voc", Asked(model, tmp_path))
    with pytest.raises(InputError, match=r"^heads sam\+clip: the bundle .* name a bundle of kind sam\+clip"):
        semantic("voc", Asked(model, tmp_path, heads=("sam+clip",)))
    with pytest.raises(InputError, match=r"^heads sam: there are no such heads; give clip, both, sam\+clip"):
        semantic("voc", Asked(model, tmp_path, heads=("sam",)))
    with pytest.raises(InputError, match=r"^as_published: is a way of both heads"):
        semantic("voc", Asked(model, tmp_path, (128,), ("clip",), as_published=True))
    monkeypatch.setattr(family, "kind_of", lambda bundle: SideBySide)
    with pytest.raises(InputError, match=r"^heads clip: the bundle .* is of kind sam\+clip; name a bundle"):
        semantic("voc", Asked(model, tmp_path, heads=("clip",)))
    assert [each.column for each in semantic("voc", Asked(model, tmp_path, (128,)))] == ["SAM + CLIP, 128"]


def test_a_photo_whose_map_is_of_another_size_is_skipped_and_named(model: SamClip, tmp_path: Path) -> None:
    first, second = trees.voc(tmp_path)
    trees.save_labels(tmp_path / "SegmentationClass" / f"{first}.png", np.zeros((128, 100)))
    asked = Asked(model, tmp_path, (128,), ("clip",))
    found = measure(semantic("voc", asked)[0], asked)
    assert list(found.outcomes) == [second]
    assert list(found.skipped) == [first]
    assert "is 100 x 128, and its photo 128 x 128 as a person sees it" in found.skipped[first]


def test_a_photo_without_a_counted_pixel_changes_no_number(model: SamClip, tmp_path: Path) -> None:
    first, second = trees.voc(tmp_path)
    asked = Asked(model, tmp_path, (128,), ("clip",))
    trees.save_labels(tmp_path / "SegmentationClass" / f"{second}.png", np.full((128, 128), 255))
    both = measure(semantic("voc", asked)[0], asked)
    assert list(both.outcomes) == [first, second]
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text(first)
    assert both.measures == measure(semantic("voc", asked)[0], asked).measures
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text(second)
    with pytest.raises(InputError, match="no pixel has a class that counts; fetch its maps of labels"):
        measure(semantic("voc", asked)[0], asked)


def test_a_photo_where_nothing_counts_is_neither_best_nor_worst(model: SamClip, in_colours: LabelSet) -> None:
    task = ClipHead(Asked(model, MERGED), 128, in_colours)
    outcomes = {"none": {"": ([], [])}, "good": {"": ([0], [9])}, "bad": {"": ([1], [9])}}
    drawn = chosen({key: task.goodness(outcome) for key, outcome in outcomes.items()})
    assert [drawn.pop(f"drawn-{number}") for number in (1, 2, 3)].count("none") == 1
    assert drawn == {"best-1": "good", "best-2": "bad", "worst-1": "bad", "worst-2": "good"}


def test_a_class_in_no_truth_and_no_answer_is_in_no_mean(model: SamClip, in_colours: LabelSet) -> None:
    task = ClipHead(Asked(model, MERGED), 128, in_colours)
    outcomes = [{"": ([0, 1, 5], [60, 20, 20]), ", 3 classes": ([4], [7])}]  # 0 as 0, 0 as 1, 1 as 1, of 4 classes
    measures, details = task.measures(outcomes), task.details(outcomes)
    assert details["IoU"] == {"red thing": 0.75, "brown coffee": 0.5, "white cup": None, "background": None}
    assert details["IoU, 3 classes"] == {"red thing": None, "brown coffee": 1.0, "white cup": None}
    assert measures == {
        "mIoU": 0.625,
        "pixel accuracy": 0.8,
        "mIoU, 3 classes": 1.0,
        "pixel accuracy, 3 classes": 1.0,
    }
    assert task.goodness(outcomes[0]) == 0.625


def test_the_picture_shows_the_answer_beside_the_truth(
    model: SamClip, in_colours: LabelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ClipHead(Asked(model, MERGED), 128, in_colours)
    true = task.read(task.samples[0])[1]
    halves: Callable[[], list[np.ndarray]] = lambda: np.split(task.picture(task.samples[0], {}), 2, axis=1)  # noqa: E731
    monkeypatch.setattr(ClipHead, "found", lambda self, scene, shape: iter([true]))
    answer, truth = halves()
    np.testing.assert_array_equal(answer, truth)
    monkeypatch.setattr(ClipHead, "found", lambda self, scene, shape: iter([np.where(true == 0, IGNORED, true)]))
    answer, wanted = halves()
    assert (answer[:100] != wanted[:100]).any()
    np.testing.assert_array_equal(wanted, truth)
