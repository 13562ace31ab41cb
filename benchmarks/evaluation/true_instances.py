"""A photo and its true instances, read in other processes: what can be prompted for, its mask, and where to click."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from samclip_edge.benchmarks.evaluation.instance_sets import corners, fault_of
from samclip_edge.benchmarks.evaluation.precision import Detected
from samclip_edge.benchmarks.evaluation.task import Sample
from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.masks import Bits, Rle, decode_rle, encode_rle, mask_box
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Pixels

Box = tuple[float, float, float, float]


class Annotated(NamedTuple):
    """What a sample's truth is."""

    image: int
    height: int
    width: int
    annotations: list[dict[str, Any]]  # as published
    detected: list[Detected] | None  # a detector's boxes; None where true boxes are the prompts


class Thing(NamedTuple):
    """A true instance that can be prompted for."""

    category: int
    box: Box  # x0, y0, x1, y1
    rle: Rle
    click: tuple[int, int]  # x, y
    filled: float  # the IoU of the mask with all pixels of its box
    cut: float | None  # its IoU with what GrabCut leaves of that box; None where that is not asked for


class Seen(NamedTuple):
    """A sample that was read."""

    pixels: Pixels
    truth: Annotated
    things: list[Thing]
    faults: list[str]  # of each annotation that cannot be prompted for


def read_instances(sample: Sample, grabcut: bool = False) -> Seen:
    """The photo of a sample, and its things. Raises InputError where the annotations are not of this photo.

    grabcut: whether GrabCut too makes a mask of each box.
    """
    truth: Annotated = sample.truth
    pixels = of_size(sample.photo, truth.height, truth.width)
    things: list[Thing] = []
    faults: list[str] = []
    for each in truth.annotations:
        rle, bits = true_mask(sample.photo, each, truth.height, truth.width)
        box = corners(each["bbox"])
        if each.get("iscrowd"):
            continue  # prompts for nothing; but average precision reads its mask
        fault = fault_of(box, truth.height, truth.width) if bits.any() else "without a mask"
        if fault:
            faults.append(fault)
        else:
            cut = overlap(grab_cut(pixels, box), bits) if grabcut else None
            things.append(
                Thing(each["category_id"], box, rle, thickest(bits), overlap(within(box, *bits.shape), bits), cut)
            )
    return Seen(pixels, truth, things, faults)


def of_size(photo: Path, height: int, width: int) -> Pixels:
    """A photo (H,W,3). Raises InputError where it is not of the size that its annotations say."""
    pixels = read_photo(photo)
    if pixels.shape[:2] != (height, width):
        own, said = f"{pixels.shape[1]}x{pixels.shape[0]}", f"{width}x{height}"
        raise InputError(f"{photo}: has {own} pixels, upright, and {said} in the annotations")
    return pixels


def true_mask(photo: Path, annotation: Mapping[str, Any], height: int, width: int) -> tuple[Rle, Bits]:
    """The mask of an annotation of a photo. Raises InputError where it cannot be read."""
    try:
        return _mask(annotation["segmentation"], height, width)
    except Exception as error:  # pycocotools raises anything
        raise InputError(f"{photo}: its annotation {annotation['id']} cannot be read ({one_line(error)})") from None


def _mask(segmentation: Any, height: int, width: int) -> tuple[Rle, Bits]:
    """A published mask, polygons or run-length encoded, as pycocotools has it.

    It is looked at before: pycocotools steps along each edge in memory of its own, and casts to int in C.
    """
    from pycocotools import mask as coco

    if not isinstance(segmentation, list):
        bits = decode_rle(segmentation)
        if bits.shape != (height, width):
            raise ValueError(f"its mask is of {bits.shape[1]}x{bits.shape[0]} pixels")
        return encode_rle(bits), bits
    if not segmentation or len(segmentation[0]) < 6:  # pycocotools takes a first one of four numbers for a box
        raise ValueError("its first polygon has no three corners")
    for polygon in segmentation:
        if len(polygon) % 2:
            raise ValueError("a polygon is no list of x, y, x, y, ...")
        if not all(abs(each) <= 2 * max(height, width) for each in polygon):
            raise ValueError("a polygon reaches far beyond the photo")
    rle = coco.merge(coco.frPyObjects(segmentation, height, width))
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}, coco.decode(rle).astype(bool)


def within(box: Box, height: int, width: int) -> Bits:
    """All pixels (H,W) of a photo whose middle lies in a box x0, y0, x1, y1."""
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    return np.outer((rows >= box[1]) & (rows < box[3]), (columns >= box[0]) & (columns < box[2]))


def overlap(ours: Bits, true: Bits) -> float:
    """The IoU of a mask (H,W) with a true one, which is not empty."""
    return float((ours & true).sum() / (ours | true).sum())


def grab_cut(pixels: Pixels, box: Box) -> Bits:
    """GrabCut's mask (H,W) of a box x0, y0, x1, y1 in a photo (H,W,3), by OpenCV, in five rounds from a fixed seed.

    The box itself, where that leaves GrabCut no colours to tell apart.
    """
    import cv2

    mask = within(box, *pixels.shape[:2]).astype(np.uint8) * cv2.GC_PR_FGD  # what is not in the box is not of the thing
    if mask.all() or not mask.any():
        return mask > 0
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(
            pixels[..., ::-1].copy(), mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:  # too few pixels for its five colours
        return mask > 0
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)


def thickest(bits: Bits) -> tuple[int, int]:
    """x, y of the pixel of a mask (H,W) farthest from its edge, where a person would click. The photo ends it too."""
    from scipy.ndimage import distance_transform_edt

    x0, y0, x1, y1 = mask_box(bits)
    depth = distance_transform_edt(np.pad(bits[y0:y1, x0:x1], 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x) + x0, int(y) + y0
