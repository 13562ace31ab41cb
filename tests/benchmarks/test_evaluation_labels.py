"""Data sets of labelled pixels in their published layouts, and their mean IoU by torchmetrics' arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trees_semantic as trees
from PIL import Image
from scipy.io import savemat
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from samclip_edge.benchmarks.evaluation.confusion import accuracy, count, ious, mean_iou, total
from samclip_edge.benchmarks.evaluation.label_maps import IGNORED, LabelMap, read_labels
from samclip_edge.benchmarks.evaluation.label_sets import LABEL_SETS, NAMES
from samclip_edge.benchmarks.evaluation.layout import read_document
from samclip_edge.benchmarks.evaluation.semantic import read_sample
from samclip_edge.benchmarks.evaluation.task import Sample
from samclip_edge.errors import InputError
from samclip_edge.text.names import spoken
from samclip_edge.text.tokenizer import clean

CONTEXT = list(read_document(NAMES / "context.json").values())

TREES: dict[str, tuple[str, int, Callable[[Path], trees.Truth]]] = {
    "VOC2012 itself": ("voc", 20, trees.voc),
    "VOC2012 in its folder": ("voc", 20, lambda root: trees.voc(root / "VOC2012")),
    "VOC's devkit": ("voc", 20, lambda root: trees.voc(root / "VOCdevkit" / "VOC2012")),
    "Context as it circulates": ("context", 59, lambda root: trees.context(root / "VOCdevkit" / "VOC2010")),
    "Context as published": ("context", 59, lambda root: trees.context_of_matlab(root, CONTEXT)),
    "ADE20k itself": ("ade20k", 150, trees.ade20k),
    "ADE20k in its folder": ("ade20k", 150, lambda root: trees.ade20k(root / "ADEChallengeData2016")),
    "COCO-Stuff": ("coco-stuff", 171, trees.coco_stuff),
    "COCO-Stuff of mmsegmentation": (
        "coco-stuff",
        171,
        lambda root: trees.coco_stuff(root, "annotations/val2017", "images/val2017"),
    ),
    "COCO-Stuff, all in one folder": ("coco-stuff", 171, lambda root: trees.coco_stuff(root, "val2017")),
    "COCO-Panoptic": ("coco-panoptic", 5, trees.coco_panoptic),
    "COCO-Panoptic without annotations/": ("coco-panoptic", 5, lambda root: trees.coco_panoptic(root, ".")),
}


@pytest.mark.parametrize("tree", TREES)
def test_every_published_layout_is_read(tree: str, tmp_path: Path) -> None:
    name, classes, write = TREES[tree]
    truth = write(tmp_path)
    found = LABEL_SETS[name](tmp_path)
    assert [sample.key for sample in found.samples] == list(truth)
    assert len(found.names) == len({clean(each) for each in found.names}) == classes
    for sample in found.samples:
        photo, labels = read_sample(None, sample)
        np.testing.assert_array_equal(labels, truth[sample.key])
        np.testing.assert_array_equal(photo, trees.scene(int(sample.key[-10:].removesuffix(".png")[-6:])).image)


def test_training_ids_beside_the_published_labels_are_left_alone(tmp_path: Path) -> None:
    truth = trees.coco_stuff(tmp_path, "annotations/val2017", "images/val2017")
    for key in truth:
        trees.save_labels(tmp_path / "annotations" / "val2017" / f"{key}_labelTrainIds.png", np.zeros((128, 128)))
    assert [sample.key for sample in LABEL_SETS["coco-stuff"](tmp_path).samples] == list(truth)


@pytest.mark.parametrize("name", LABEL_SETS)
def test_a_folder_of_something_else_is_told_how_the_data_set_must_lie(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^data {tmp_path}: holds no .* lies? in") as raised:
        LABEL_SETS[name](tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="no such folder"):
        LABEL_SETS[name](tmp_path / "nowhere")


def test_voc_and_context_are_measured_with_the_background_and_without_it(tmp_path: Path) -> None:
    trees.voc(tmp_path / "voc")
    trees.context(tmp_path / "context")
    assert LABEL_SETS["voc"](tmp_path / "voc").ways == {"": True, ", 20 classes": False}
    assert LABEL_SETS["context"](tmp_path / "context").ways == {"": True, ", 59 classes": False}


def test_classes_of_ade20k_are_called_by_the_first_of_their_synonyms(tmp_path: Path) -> None:
    trees.ade20k(tmp_path)
    assert LABEL_SETS["ade20k"](tmp_path).names[:2] == ["kind 1", "kind 2"]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("person", "person"),
        ("wall-brick", "brick wall"),
        ("floor-wood", "wood floor"),
        ("ceiling-tile", "tile ceiling"),
        ("wall-other-merged", "wall"),
        ("window-blind", "window blind"),
        ("water-other", "water"),
        ("door-stuff", "door"),
        ("table-merged", "table"),
        ("playingfield", "playing field"),
        ("traffic light", "traffic light"),
    ],
)
def test_cocos_names_are_said_as_a_person_says_them(own: str, said: str) -> None:
    assert spoken(own) == said


def in_grey(path: Path, held: np.ndarray) -> None:
    Image.fromarray(held.astype(np.uint8)).save(path)


def in_palette(path: Path, held: np.ndarray) -> None:
    trees.save_labels(path, held, palette=True)


def in_three_channels(path: Path, held: np.ndarray) -> None:
    Image.fromarray(np.repeat(held[..., None], 3, axis=2).astype(np.uint8)).save(path)


def in_sixteen_bits(path: Path, held: np.ndarray) -> None:
    Image.fromarray(held.astype(np.uint16)).save(path)


@pytest.mark.parametrize("save", [in_grey, in_palette, in_three_channels, in_sixteen_bits])
def test_labels_are_read_however_they_are_stored(save: Callable[[Path, np.ndarray], None], tmp_path: Path) -> None:
    held = np.array([[0, 7, 255], [7, 7, 0]])
    save(tmp_path / "map.png", held)
    found = read_labels(LabelMap(tmp_path / "map.png", {0: 4, 7: 2, 255: IGNORED}))
    np.testing.assert_array_equal(found, [[4, 2, IGNORED], [2, 2, 4]])


def test_what_is_no_map_of_labels_is_refused_in_one_line(tmp_path: Path) -> None:
    path, classes = tmp_path / "map.png", {0: 0}
    with pytest.raises(InputError, match=r"map.png: no such map of labels"):
        read_labels(LabelMap(path, classes))
    in_grey(path, np.array([[0, 3]]))
    with pytest.raises(InputError, match=r"map.png: holds label 3, which the data set does not have"):
        read_labels(LabelMap(path, classes))
    with pytest.raises(InputError, match=r"map.png: has one channel, and segments are told by colours"):
        read_labels(LabelMap(path, classes, segments=True))
    Image.fromarray(np.array([[[0, 1, 2]]], np.uint8)).save(path)
    with pytest.raises(InputError, match=r"map.png: is a picture in colours"):
        read_labels(LabelMap(path, classes))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"map.png: no map of labels \(.*\); fetch it again"):
        read_labels(LabelMap(path, classes))


@pytest.mark.parametrize("mode", ["F", "CMYK", "LAB"])
def test_pictures_whose_pixels_are_no_labels_are_refused_by_their_mode(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "map.png", "TIFF")
    with pytest.raises(InputError, match=rf"map.png: is a picture in {mode}; give the maps of labels as published"):
        read_labels(LabelMap(tmp_path / "map.png", {0: 0}))


@pytest.mark.parametrize("label", [-1, 2**31 - 1])
def test_labels_beyond_the_table_are_named(tmp_path: Path, label: int) -> None:
    Image.fromarray(np.full((2, 2), label, np.int32)).save(tmp_path / "map.png", "TIFF")
    with pytest.raises(InputError, match=rf"map.png: holds label {label}, which the data set does not have"):
        read_labels(LabelMap(tmp_path / "map.png", {0: 0}))


@pytest.mark.parametrize("held", [np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint16), np.array(["a"])])
def test_what_a_file_of_matlab_holds_is_looked_at(tmp_path: Path, held: np.ndarray) -> None:
    savemat(tmp_path / "map.mat", {"LabelMap": held})
    with pytest.raises(InputError, match=r"map\.mat: no map of labels \(its LabelMap is .*\); fetch it again"):
        read_labels(LabelMap(tmp_path / "map.mat", {0: 0}))


def test_grey_and_cmyk_photos_are_read_and_turned_ones_are_upright(tmp_path: Path) -> None:
    scene = Image.fromarray(trees.scene(700).image).crop((0, 0, 128, 96))
    trees.save_labels(tmp_path / "map.png", np.zeros((96, 128)))
    labels = LabelMap(tmp_path / "map.png", {0: 0})
    for mode in ("L", "CMYK"):
        scene.convert(mode).save(tmp_path / f"{mode}.jpg")
        photo, _ = read_sample(None, Sample("a", tmp_path / f"{mode}.jpg", labels))
        assert photo.shape == (96, 128, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    scene.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    photo, _ = read_sample(None, Sample("a", tmp_path / "turned.png", labels))
    np.testing.assert_array_equal(photo, np.asarray(scene))
    scene.save(tmp_path / "wrong.jpg", exif=exif)
    with pytest.raises(InputError, match=r"map.png: is 128 x 96, and its photo 96 x 128 as a person sees it"):
        read_sample(None, Sample("a", tmp_path / "wrong.jpg", labels))


def test_mean_iou_and_accuracy_over_a_data_set_are_those_of_torchmetrics() -> None:
    generator = np.random.default_rng(1)
    true = generator.choice([0, 1, 2, 3, IGNORED], (3, 40, 30), p=[0.4, 0.3, 0.15, 0.05, 0.1]).astype(np.uint8)
    found = np.where(generator.random(true.shape) < 0.6, true, generator.integers(0, 4, true.shape)).astype(np.uint8)
    found[true == IGNORED] = 5  # is answered, and not counted
    table = total((count(t, f, 6) for t, f in zip(true, found, strict=True)), 6)  # 4 and 5 are nowhere
    options = {"num_classes": 6, "ignore_index": IGNORED}
    given = torch.from_numpy(found).long(), torch.from_numpy(true).long()
    each = MulticlassJaccardIndex(average="none", **options)(*given)
    np.testing.assert_allclose(ious(table)[:4], each[:4], rtol=1e-6)
    assert np.isnan(ious(table)[4:]).all()
    assert mean_iou(table) == pytest.approx(float(MulticlassJaccardIndex(average="macro", **options)(*given)), rel=1e-6)
    assert accuracy(table) == pytest.approx(float(MulticlassAccuracy(average="micro", **options)(*given)), rel=1e-6)


def test_the_background_is_not_counted_where_it_is_no_class() -> None:
    true, found = np.array([[0, 1, 2, IGNORED]], np.uint8), np.array([[0, 0, 1, 1]], np.uint8)
    assert total([count(true, found, 2)], 2).tolist() == [[1, 0], [1, 0]]
    assert total([count(true, found, 3)], 3).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_counts_of_a_whole_data_set_do_not_overflow() -> None:
    table = total([([3], [2**31 - 1])] * 5, 2)
    assert table[1, 1] == 5 * (2**31 - 1)
