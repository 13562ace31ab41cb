"""The masks of an image as its annotations store them: COCO's run-length encoding, packed or not, or polygons."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from samclip_edge.json_files import parse_json
from samclip_edge.photo.masks import decode_rle

Bits = npt.NDArray[np.bool_]
Segmentation = dict[str, Any] | list[Any]  # an RLE, or polygons: [[x, y, x, y, ...], ...] in pixels


def segmentations(data: bytes) -> list[Segmentation]:
    """The segmentations of an image, from the bytes of its json in the layout of SA-1B: {"annotations": [...]}.

    An annotation without one, as boxes and keypoints have it, is left out. Raises ValueError where the json is another.
    """
    document = parse_json(data, strict=False)
    annotations = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        raise ValueError("it has no list of objects named annotations")
    found = [each["segmentation"] for each in annotations if each.get("segmentation")]
    for each in found:
        if not isinstance(each, list) and not (isinstance(each, dict) and {"size", "counts"} <= each.keys()):
            raise ValueError("a segmentation has neither size and counts, nor polygons")
    return found


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
