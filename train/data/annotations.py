"""The masks of an image as its annotations store them: COCO's run-length encoding, packed or not, or polygons."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.json_files import parse_json
from samclip_edge.photo.masks import decode_rle
from samclip_edge.text.names import fault_of

Bits = npt.NDArray[np.bool_]
Segmentation = dict[str, Any] | list[Any]  # an RLE, or polygons: [[x, y, x, y, ...], ...] in pixels


class Annotation(NamedTuple):
    """One mask of an image, as it is stored."""

    segmentation: Segmentation
    name: str = ""  # of what it covers; "" where nobody says
    thing: bool = True  # False: stuff, as sky and grass
    crowd: bool = False  # many things in one mask, which nobody told apart: nothing to learn a mask from


def annotations_of(data: bytes) -> list[Annotation]:
    """The masks of an image, from the bytes of its json in the layout of SA-1B: {"annotations": [...]}.

    An annotation may say more than SA-1B's do: `name`, `thing` (true or false) and, as COCO's, `iscrowd`. One without a
    segmentation, as boxes and keypoints have it, is left out. Raises ValueError where the json is another.
    """
    document = parse_json(data, strict=False)
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        raise ValueError("it has no list of objects named annotations")
    return [_annotation(each) for each in annotations if each.get("segmentation")]


def _annotation(fields: dict[str, Any]) -> Annotation:
    segmentation, name = fields["segmentation"], fields.get("name")
    has_runs = isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys()
    if not isinstance(segmentation, list) and not has_runs:
        raise ValueError("a segmentation has neither size and counts, nor polygons")
    name = "" if name is None else name
    if fault := fault_of(name):
        raise ValueError(f"the name of a mask {fault}")
    marks = {"thing": fields.get("thing", True), "iscrowd": fields.get("iscrowd", 0)}
    for mark, value in marks.items():
        if not isinstance(value, bool | int | None):
            raise ValueError(f"the {mark} of a mask is neither true nor false")
    return Annotation(
        segmentation, name.strip(), marks["thing"] is None or bool(marks["thing"]), bool(marks["iscrowd"])
    )


def bits_of(segmentation: Segmentation, shape: tuple[int, int]) -> Bits:
    """The mask (H,W) of a segmentation on an image of `shape` (H,W). Raises ValueError if it is no mask of that size.

    Nothing is allocated before what a segmentation claims was held against the shape.
    """
    if isinstance(segmentation, list):
        return _filled(segmentation, shape)
    if segmentation["size"] != list(shape):
        raise ValueError(f"its size is {segmentation['size']}, that of the image {list(shape)}")
    return decode_rle(segmentation)


def _filled(polygons: list[Any], shape: tuple[int, int]) -> Bits:
    """All that lies in one of the polygons, with pycocotools' rule for the pixels on an edge.

    A polygon of fewer than three corners covers nothing and is left out. A single one may stand without its list.
    """
    from pycocotools import mask as coco

    listed = polygons if isinstance(polygons[0], list) else [polygons]
    for each in listed:
        if not isinstance(each, list) or len(each) % 2 or not all(type(value) in (int, float) for value in each):
            raise ValueError("a polygon is no list of x, y, x, y, ...")
        # pycocotools steps along each edge in memory of its own, and casts to int in C.
        if not all(abs(value) <= 2 * max(shape) for value in each):
            raise ValueError("a polygon reaches far beyond the image")
    whole = [each for each in listed if len(each) >= 6]
    if not whole:
        raise ValueError("no polygon has three corners")
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(whole, *shape)))).astype(bool)
