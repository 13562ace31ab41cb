"""The data sets of instances, in the layouts in which they are published; and a detector's answers on one of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge.benchmarks.evaluation.layout import read_document, there
from samclip_edge.benchmarks.evaluation.precision import COCO, LVIS, Detected, Document, Metric
from samclip_edge.errors import InputError, one_line

COCO_LIES = "COCO's photos lie in val2017/ beside annotations/instances_val2017.json"
LVIS_LIES = (
    "LVIS's lvis_v1_val.json lies in DIR or DIR/annotations, and its photos, which are COCO's, in train2017/ and "
    "val2017/ in DIR or DIR/coco"
)
_FORM = (
    "give a detector's answers in COCO's result format: [{image_id, category_id, bbox [x, y, width, height], score}]"
)


class InstanceSet(NamedTuple):
    """A data set in its folder."""

    listed: Path  # the file of its annotations
    document: Document  # and what that holds
    photos: list[Path]  # of its images, in their order
    metric: Metric


def _coco(data: Path) -> InstanceSet:
    listed = there(data, ["annotations/instances_val2017.json", "instances_val2017.json"], COCO_LIES)
    photos = there(data, ["val2017/"], COCO_LIES)
    document = _checked(listed, images=("file_name",))
    return InstanceSet(listed, document, [photos / each["file_name"] for each in document["images"]], COCO)


def _lvis(data: Path) -> InstanceSet:
    """LVIS says by an address of COCO in which of COCO's folders a photo lies."""
    listed = there(data, ["lvis_v1_val.json", "annotations/lvis_v1_val.json"], LVIS_LIES)
    own = ("coco_url", "neg_category_ids", "not_exhaustive_category_ids")
    document = _checked(listed, images=own, categories=("frequency",))
    ends = [str(each["coco_url"]).split("/")[-2:] for each in document["images"]]
    folders = {end[0]: there(data, [f"{end[0]}/", f"coco/{end[0]}/"], LVIS_LIES) for end in ends}
    return InstanceSet(listed, document, [folders[end[0]] / end[-1] for end in ends], LVIS)


INSTANCE_SETS: dict[str, Callable[[Path], InstanceSet]] = {"coco": _coco, "lvis": _lvis}


def _checked(listed: Path, images: tuple[str, ...], categories: tuple[str, ...] = ()) -> Document:
    """The annotations in a file. images, categories: what each has besides what COCO has of both.

    Raises InputError where a part is missing.
    """
    document = read_document(listed)
    parts = {
        "images": ("id", "height", "width", *images),
        "annotations": ("id", "image_id", "category_id", "bbox", "area", "segmentation"),
        "categories": ("id", "name", *categories),
    }
    try:
        for part, keys in parts.items():
            for each in document[part]:
                for key in keys:
                    each[key]
    except (KeyError, TypeError) as error:
        raise InputError(f"{listed}: is not as it was published ({one_line(error)}); fetch it again") from None
    return dict(document)


def read_boxes(path: Path, published: InstanceSet) -> tuple[dict[int, list[Detected]], dict[str, int]]:
    """A detector's boxes by the id of their image; and how many were left out, by the reason.

    Left out are boxes that cannot prompt: that are empty, not numbers, or outside their photo. Raises InputError for
    another format, and for images or categories that the data set does not have.
    """
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f" {path}: cannot be read as json ({one_line(error)}); {_FORM}", "boxes") from None
    if not isinstance(said, list) or not said:
        raise InputError(f" {path}: holds no list of boxes; {_FORM}", "boxes")
    sizes = {each["id"]: (each["height"], each["width"]) for each in published.document["images"]}
    categories = {each["id"] for each in published.document["categories"]}
    boxes: dict[int, list[Detected]] = {}
    left_out: dict[str, int] = {}
    for number, each in enumerate(said):
        try:
            image = each["image_id"]
            found_one = Detected(each["category_id"], corners(each["bbox"]), float(each["score"]))
            unknown = "image" if image not in sizes else "" if found_one.category in categories else "category"
        except (KeyError, TypeError, ValueError):
            raise InputError(f" {path}: its box {number} is in another form; {_FORM}", "boxes") from None
        if unknown:
            why = (
                f"its box {number} is of {unknown} {each[f'{unknown}_id']}, which {published.listed.name} does not have"
            )
            raise InputError(f" {path}: {why}; give boxes of this data set, with its own ids", "boxes")
        fault = fault_of(found_one.box, *sizes[image]) if math.isfinite(found_one.score) else "without a finite score"
        if fault:
            left_out[fault] = left_out.get(fault, 0) + 1
        else:
            boxes.setdefault(image, []).append(found_one)
    return boxes, left_out


def corners(box: Any) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of COCO's x, y, width, height. Raises TypeError or ValueError for what is no box."""
    x, y, width, height = (float(each) for each in box)
    return x, y, x + width, y + height


def fault_of(box: tuple[float, float, float, float], height: int, width: int) -> str:
    """Why a box x0, y0, x1, y1 cannot prompt in a photo of that size; empty where it can."""
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)):
        return "not finite"
    if x0 >= x1 or y0 >= y1:
        return "empty"
    return "" if x0 < width and y0 < height and x1 > 0 and y1 > 0 else "outside the photo"
