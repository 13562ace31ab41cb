"""Annotations in another form than the published one: one line names the file, the field and the mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trees_captions
import trees_instances
import trees_semantic

from samclip_edge.benchmarks.evaluation.caption_sets import CAPTION_SETS
from samclip_edge.benchmarks.evaluation.instance_sets import INSTANCE_SETS
from samclip_edge.benchmarks.evaluation.label_sets import LABEL_SETS
from samclip_edge.errors import InputError
from samclip_edge.rendered import render

READERS: dict[str, Callable[[Path], Any]] = {**CAPTION_SETS, **INSTANCE_SETS, **LABEL_SETS}


def coco(folder: Path) -> None:
    scenes = [render(20_000 + number, 64) for number in range(2)]
    document = trees_instances.of_scenes(scenes, lambda shape: 1)
    trees_instances.write_coco(folder, document, [scene.image for scene in scenes])


def lvis(folder: Path) -> None:
    scene = render(20_000, 64)
    document = trees_instances.as_lvis(trees_instances.of_scenes([scene], lambda shape: 1))
    trees_instances.write_lvis(folder, document, [scene.image])


def captions(folder: Path) -> None:
    (folder / "val2017").mkdir()
    trees_captions.coco(folder, trees_captions.captions_of(2))


def flickr(folder: Path) -> None:
    (folder / "images").mkdir()
    trees_captions.karpathy(folder, trees_captions.captions_of(2))


TREES: dict[str, Callable[[Path], Any]] = {
    "coco": coco,
    "lvis": lvis,
    "coco-captions": captions,
    "flickr30k": flickr,
    "coco-panoptic": trees_semantic.coco_panoptic,
}
FAULTS: dict[str, list[tuple[str, Any]]] = {  # by data set: fields, and what is none of their values
    "coco": [
        ("images.0.file_name", None),
        ("images.0.file_name", 5),
        ("images.0.file_name", "/etc/passwd"),
        ("images.0.file_name", "../a.jpg"),
        ("images.0.file_name", ""),
        ("images.0.id", "1"),
        ("images.1.id", [1]),
        ("images.0.height", "64"),
        ("annotations.0.id", None),
        ("annotations.1.image_id", "1"),
        ("annotations.0.category_id", [2]),
        ("annotations.0.area", None),
        ("annotations.0.area", "5"),
        ("annotations.0.area", 10**400),
        ("annotations.0.bbox", [1, 2, 3]),
        ("annotations.0.bbox", [1, 2, 3, float("nan")]),
        ("annotations.0.segmentation", None),
        ("annotations.0.segmentation", [["1"] * 6]),
        ("annotations.0.iscrowd", 2),
        ("categories.0.name", None),
        ("categories", {}),
    ],
    "lvis": [
        ("images.0.coco_url", ""),
        ("images.0.coco_url", "http://images.cocodataset.org/val2017/.."),
        ("images.0.neg_category_ids", None),
        ("images.0.not_exhaustive_category_ids", {}),
        ("categories.1.frequency", "q"),
    ],
    "coco-captions": [
        ("images.0.file_name", None),
        ("annotations.0.caption", None),
        ("annotations.0.caption", 5),
        ("annotations.0.image_id", "70"),
    ],
    "flickr30k": [
        ("images.0.filename", None),
        ("images.0.split", 5),
        ("images.0.sentences", None),
        ("images.0.sentences.0.raw", 5),
    ],
    "coco-panoptic": [
        ("images.0.id", "1"),
        ("annotations.0.file_name", "../x.png"),
        ("annotations.0.segments_info.0.id", "1"),
        ("annotations.0.segments_info.0.id", 2**24),
        ("categories.0.name", 5),
    ],
}


@pytest.mark.parametrize(("name", "field", "value"), [(name, *each) for name, all_ in FAULTS.items() for each in all_])
def test_a_field_of_another_kind_is_named(tmp_path: Path, name: str, field: str, value: Any) -> None:
    TREES[name](tmp_path)
    (listed,) = tmp_path.rglob("*.json")
    said = inside = json.loads(listed.read_text())
    *way, last = (int(each) if each.isdigit() else each for each in field.split("."))
    for key in way:
        inside = inside[key]
    inside[last] = value
    listed.write_text(json.dumps(said))
    with pytest.raises(InputError, match=rf"{listed.name}: is not as it was published \({field}.*\); fetch it again$"):
        READERS[name](tmp_path)


@pytest.mark.parametrize(
    "text", [b"", b"[1", b"[]", b"\xff\xfe[", b"[" * 5000, b'{"pictures": []}', b"[" + b"9" * 5000]
)
@pytest.mark.parametrize("name", TREES)
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, text: bytes) -> None:
    TREES[name](tmp_path)
    (listed,) = tmp_path.rglob("*.json")
    listed.write_bytes(text)
    told = rf"{listed.name}: is not as it was published \(.*\); fetch it again$"
    with pytest.raises(InputError, match=told) as raised:
        READERS[name](tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "part", "fields", "told"),
    [
        ("coco", "annotations", {"id": 7, "category_id": 99}, "annotation 7 is of category 99, which it does not list"),
        ("coco", "images", {"id": 2}, "has 2 images with the id 2"),
        ("coco", "images", {"file_name": f"{2:012}.jpg"}, f"has 2 images with the file_name {2:012}.jpg"),
        ("coco-captions", "images", {"id": 71}, "has 2 images with the id 71"),
        (
            "coco-panoptic",
            "annotations",
            {"image_id": 9},
            f"{700:012}.png is of image or category 9, which it does not",
        ),
        ("coco-panoptic", "categories", {"id": 1}, "has 2 categories with the id 1"),
    ],
)
def test_parts_that_do_not_fit_together_are_named(
    tmp_path: Path, name: str, part: str, fields: dict[str, Any], told: str
) -> None:
    TREES[name](tmp_path)
    (listed,) = tmp_path.rglob("*.json")
    said = json.loads(listed.read_text())
    said[part][0] |= fields
    listed.write_text(json.dumps(said))
    with pytest.raises(InputError, match=rf"{listed.name}: {told}.*; fetch it again$"):
        READERS[name](tmp_path)


def test_more_classes_than_can_be_counted_are_refused(tmp_path: Path) -> None:
    trees_semantic.coco_panoptic(tmp_path / "panoptic")
    (listed,) = tmp_path.rglob("*.json")
    said = json.loads(listed.read_text())
    said["categories"] += [{"id": 1000 + number, "name": f"kind {number}"} for number in range(300)]
    listed.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"panoptic_val2017\.json: has 305 classes, and 1 to 253 can be measured"):
        READERS["coco-panoptic"](tmp_path / "panoptic")
    trees_semantic.ade20k(tmp_path / "ade20k", classes=254)
    with pytest.raises(InputError, match=r"objectInfo150\.txt: has 254 classes, and 1 to 253 can be measured"):
        READERS["ade20k"](tmp_path / "ade20k")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"\n", "lists no photo"),
        (b"\xff\xfe", "cannot be read"),
        (b"2007_000700\n/etc/passwd\n", "line 1: is no name of a file in the data set"),
        (b"2" * 300 + b"\n", "line 0: is no name of a file in the data set"),
        (b"../2007_000700\n", "line 0: is no name of a file in the data set"),
    ],
)
def test_a_list_that_names_no_photos_is_refused(tmp_path: Path, text: bytes, told: str) -> None:
    trees_semantic.voc(tmp_path)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_bytes(text)
    with pytest.raises(InputError, match=rf"val\.txt: {told}.*; fetch it again$"):
        READERS["voc"](tmp_path)


@pytest.mark.parametrize("number", ["\u00b2", "-5", "9" * 5000, "x"])
def test_a_table_of_classes_has_their_numbers(tmp_path: Path, number: str) -> None:
    trees_semantic.ade20k(tmp_path)
    info = tmp_path / "objectInfo150.txt"
    info.write_text(info.read_text().replace("\n150\t", f"\n{number}\t"), "utf-8")
    with pytest.raises(InputError, match=r"objectInfo150\.txt: is no table of classes; fetch it again"):
        READERS["ade20k"](tmp_path)


def test_where_there_are_no_maps_of_labels_words_say_what_they_are_called(tmp_path: Path) -> None:
    trees_semantic.coco_stuff(tmp_path)
    (tmp_path / "stuffthingmaps_trainval2017").rename(tmp_path / "elsewhere")
    with pytest.raises(
        InputError, match=r"holds no maps of labels, called as their photos are \(000000000139\.png\), in"
    ):
        READERS["coco-stuff"](tmp_path)
