"""The data sets of instances, in the layouts in which they are published; and a detector's answers on one of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from samclip_edge.benchmarks.evaluation.forms import FileName, Id, Rows, each_once, first_fault, read_form, told
from samclip_edge.benchmarks.evaluation.layout import there
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
_ADDRESS = r"(?:^|/)([\w-]+)/([\w-]+\.\w+)$"  # of a photo of COCO: its folder and its name
_Side = Annotated[int, Field(gt=0, lt=2**16)]


class _Rle(TypedDict):
    size: tuple[_Side, _Side]
    counts: str | list[int]


class _Annotation(TypedDict):
    """Of COCO, and of LVIS, which has no crowds. What a mask holds is looked at when its photo is."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    area: FiniteFloat
    segmentation: list[list[FiniteFloat]] | _Rle
    iscrowd: NotRequired[Literal[0, 1]]


class _Category(TypedDict):
    id: Id
    name: str


class _LvisCategory(_Category):
    frequency: Literal["r", "c", "f"]


class _Image(TypedDict):
    id: Id
    height: _Side
    width: _Side


class _CocoImage(_Image):
    file_name: FileName


class _LvisImage(_Image):
    coco_url: Annotated[str, Field(pattern=_ADDRESS)]
    neg_category_ids: list[Id]
    not_exhaustive_category_ids: list[Id]


class _Coco(TypedDict):
    images: Rows[_CocoImage]
    annotations: Rows[_Annotation]
    categories: Rows[_Category]


class _Lvis(TypedDict):
    images: Rows[_LvisImage]
    annotations: Rows[_Annotation]
    categories: Rows[_LvisCategory]


class _Box(TypedDict):
    """One of a detector's answers."""

    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    score: float


class InstanceSet(NamedTuple):
    """A data set in its folder."""

    listed: Path  # the file of its annotations
    document: Document  # and what that holds
    photos: list[Path]  # of its images, in their order
    metric: Metric


def _coco(data: Path) -> InstanceSet:
    listed = there(data, ["annotations/instances_val2017.json", "instances_val2017.json"], COCO_LIES)
    photos = there(data, ["val2017/"], COCO_LIES)
    document = _consistent(listed, dict(read_form(listed, _Coco)), "file_name")
    return InstanceSet(listed, document, [photos / each["file_name"] for each in document["images"]], COCO)


def _lvis(data: Path) -> InstanceSet:
    """LVIS says by an address of COCO in which of COCO's folders a photo lies."""
    listed = there(data, ["lvis_v1_val.json", "annotations/lvis_v1_val.json"], LVIS_LIES)
    document = _consistent(listed, dict(read_form(listed, _Lvis)), "coco_url")
    ends = [re.findall(_ADDRESS, each["coco_url"])[0] for each in document["images"]]
    folders = {folder: there(data, [f"{folder}/", f"coco/{folder}/"], LVIS_LIES) for folder, _ in ends}
    return InstanceSet(listed, document, [folders[folder] / name for folder, name in ends], LVIS)


INSTANCE_SETS: dict[str, Callable[[Path], InstanceSet]] = {"coco": _coco, "lvis": _lvis}


def _consistent(listed: Path, document: Document, photo: str) -> Document:
    """The same annotations. photo: what names an image's photo. Raises InputError where parts do not fit together."""
    each_once(listed, "images", document["images"], "id", photo)
    each_once(listed, "categories", document["categories"], "id")
    known = {each["id"] for each in document["categories"]}
    for each in document["annotations"]:
        if each["category_id"] not in known:
            said = f"annotation {each['id']} is of category {each['category_id']}"
            raise InputError(f"{listed}: {said}, which it does not list; fetch it again")
    return document


def read_boxes(path: Path, published: InstanceSet) -> tuple[dict[int, list[Detected]], dict[str, int]]:
    """A detector's boxes by the id of their image; and how many were left out, by the reason.

    Left out are boxes that cannot prompt: that are empty, not numbers, or outside their photo. Raises InputError for
    another format, and for images or categories that the data set does not have.
    """
    try:
        said = TypeAdapter(Rows[_Box]).validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f" {path}: cannot be read ({one_line(error)}); {_FORM}", "boxes") from None
    except ValidationError as error:
        where, why = first_fault(error)
        what = f"its box {where[0]} is in another form" if where else "holds no list of boxes"
        raise InputError(f" {path}: {what} ({told(where[1:], why)}); {_FORM}", "boxes") from None
    if not said:
        raise InputError(f" {path}: holds no box; {_FORM}", "boxes")
    sizes = {each["id"]: (each["height"], each["width"]) for each in published.document["images"]}
    categories = {each["id"] for each in published.document["categories"]}
    boxes: dict[int, list[Detected]] = {}
    left_out: dict[str, int] = {}
    for number, each in enumerate(said):
        image, category = each["image_id"], each["category_id"]
        unknown = f"image {image}" if image not in sizes else "" if category in categories else f"category {category}"
        if unknown:
            why = f"its box {number} is of {unknown}, which {published.listed.name} does not have"
            raise InputError(f" {path}: {why}; give boxes of this data set, with its own ids", "boxes")
        found_one = Detected(category, corners(each["bbox"]), each["score"])
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
