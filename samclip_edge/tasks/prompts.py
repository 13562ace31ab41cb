"""Prompts in photo coordinates, checked and brought to what the `prompt_encoder` graph takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.contract import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, NOTHING, TOP_LEFT
from samclip_edge.encoded import Prompts
from samclip_edge.errors import InputError
from samclip_edge.photo.arrays import as_array
from samclip_edge.photo.frame import Frame

_SLACK = 0.5  # pixels that a point may lie outside the photo, by rounding
Floats = npt.NDArray[np.float32]


def prepare(
    frame: Frame,
    points: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    boxes: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | None = None,
) -> Prompts:
    """Check prompts and put them in SAM's order: points, then the box, or a point labelled -1 where there is none.

    points: (N,2) for one prompt or (B,N,2) for several, x, y in photo pixels. labels: (N,) or (B,N), 1 foreground,
    0 background; None means all 1. boxes: (4,) or (B,4) x0, y0, x1, y1 in photo pixels. mask: (S/4,S/4) logits of the
    step before, for one prompt or (B,S/4,S/4). B may be 0.
    Boxes are cut off at the border of the photo. Raises InputError for shapes that do not fit together, NaN, points
    outside the photo, and boxes that are reversed or do not meet the photo.
    """
    where = points_of(frame, points)
    marks = labels_of(where, labels)
    corners = boxes_of(frame, boxes)
    logits = mask_of(frame, mask)
    counts = {len(part) for part in (where, corners, logits) if part is not None}
    if not counts:
        raise InputError("no prompt: give a point, a box or a mask")
    if len(counts) > 1:
        raise InputError(
            f"prompts: points, boxes and masks are for {sorted(counts)} prompts; give the same number of each"
        )
    batch = counts.pop()

    parts = [np.zeros((batch, 0, 2), np.float32)]
    kinds = [np.zeros((batch, 0), np.float32)]
    if where is not None:
        parts.append(frame.to_model(where))
        kinds.append(marks)
    if corners is not None:
        parts.append(frame.to_model(corners.reshape(batch, 2, 2)))
        kinds.append(np.tile(np.array([TOP_LEFT, BOTTOM_RIGHT], np.float32), (batch, 1)))
    elif where is not None:
        parts.append(np.zeros((batch, 1, 2), np.float32))
        kinds.append(np.full((batch, 1), NOTHING, np.float32))
    return Prompts(
        points=np.concatenate(parts, axis=1),
        labels=np.concatenate(kinds, axis=1),
        mask=np.zeros((1, 1, *frame.low_res), np.float32) if logits is None else logits[:, None],
        has_mask=np.array([logits is not None], np.float32),
        ambiguous=where is not None and where.shape[1] == 1 and corners is None and logits is None,
    )


def points_of(frame: Frame, points: npt.ArrayLike | None) -> npt.NDArray[np.float64] | None:
    """Points as (B,N,2), each inside the photo. One that rounding put on its border or a hair outside is moved in."""
    if points is None:
        return None
    array = _numbers("point", points)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] != 2 or not array.shape[1]:
        raise InputError(f"point: an array of shape {array.shape} is neither (N,2) nor (B,N,2) x,y")
    sides = np.array([frame.width, frame.height])
    outside = ((array < -_SLACK) | (array > sides + _SLACK)).any(axis=2)
    if outside.any():
        x, y = array[outside][0]
        raise InputError(f"point {x:g},{y:g}: outside the photo, which is {frame.width}x{frame.height}; move it inside")
    return np.clip(array, 0, sides)


def labels_of(points: npt.NDArray[np.float64] | None, labels: npt.ArrayLike | None) -> Floats:
    """Labels as (B,N), each 0 or 1; all foreground where None."""
    if points is None:
        if labels is not None:
            raise InputError("labels: given without points; give the points they speak of")
        return np.zeros((0, 0), np.float32)
    if labels is None:
        return np.full(points.shape[:2], FOREGROUND, np.float32)
    array = _numbers("labels", labels)
    array = array[None] if array.ndim == 1 else array
    if array.shape != points.shape[:2]:
        raise InputError(f"labels: shape {array.shape} for points of shape {points.shape}; give one label a point")
    if not np.isin(array, (BACKGROUND, FOREGROUND)).all():
        raise InputError("labels: only 0 (background) and 1 (foreground) label a point")
    return array.astype(np.float32)


def boxes_of(frame: Frame, boxes: npt.ArrayLike | None) -> npt.NDArray[np.float64] | None:
    """Boxes as (B,4) with corners in order. What reaches over the border, as in detectors' output, is cut off."""
    if boxes is None:
        return None
    array = _numbers("box", boxes)
    if array.shape == (0,):
        return np.zeros((0, 4))
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"box: an array of shape {array.shape} is neither (4,) nor (B,4) x0,y0,x1,y1")
    inside = np.clip(array, 0, np.array([frame.width, frame.height] * 2))
    for (x0, y0, x1, y1), kept in zip(array, inside, strict=True):
        name = f"box {x0:g},{y0:g},{x1:g},{y1:g}"
        if x0 >= x1 or y0 >= y1:
            raise InputError(f"{name}: reversed or empty; give x0,y0,x1,y1 with x0 < x1 and y0 < y1")
        if kept[0] >= kept[2] or kept[1] >= kept[3]:
            raise InputError(f"{name}: does not meet the photo, which is {frame.width}x{frame.height}; leave it out")
    return inside


def mask_of(frame: Frame, mask: npt.ArrayLike | None) -> Floats | None:
    """A mask prompt as (B,S/4,S/4) logits."""
    if mask is None:
        return None
    array = _numbers("mask", mask)
    array = array[None] if array.ndim == 2 else array
    rows, columns = frame.low_res
    if array.ndim != 3 or array.shape[1:] != (rows, columns):
        raise InputError(
            f"mask: shape {array.shape} is not ({rows},{columns}) logits; pass the `logits` of a mask of the same size"
        )
    return array.astype(np.float32)


def _numbers(what: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = as_array(what, values, np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{what}: NaN or infinite; give numbers")
    return array
