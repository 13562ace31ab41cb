"""The things of a photo: masks of a coarse grid of clicks, each with what the model says is under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from samclip_edge.encoded import BATCH, Encoded
from samclip_edge.library.store import Thing
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import encode_rle, mask_box, stability, suppress
from samclip_edge.photo.resize import Floats
from samclip_edge.tasks.prompts import prepare

MOST = 50  # things of a photo
CLICKS = 7  # a side
PREDICTED_IOU, STABILITY = 0.3, 0.4  # the least of what is no thing at all: the best `MOST` stay in any case
OVERLAP = 0.7  # the most, as in `everything`
_DRAWN = 256  # pixels along the longer side of a mask that is kept


class _Candidate(NamedTuple):
    low_res: Floats  # (S/4,S/4)
    predicted_iou: float
    box: tuple[int, int, int, int]  # in low-res pixels


def things_of(encoded: Encoded, width: int, height: int) -> tuple[list[Thing], Floats]:
    """Up to `MOST` things, those of the highest predicted IoU first, and their features (T,E), L2-normalised.

    Unlike in `everything`, masks are measured as the decoder makes them, a quarter of the input's size, and drawn no
    larger than `_DRAWN`, which takes a tenth of the time. width, height: of the photo that boxes are to be of.
    """
    frame = encoded.frame
    kept = _kept(encoded)
    shrink = _DRAWN / max(frame.height, frame.width)
    small = Frame(max(round(frame.height * shrink), 1), max(round(frame.width * shrink), 1), frame.size)
    drawn = [(each, small.bits(each.low_res)) for each in kept]
    drawn = [(each, bits) for each, bits in drawn if bits.any()]
    scale = (width / small.width, height / small.height) * 2
    things = [Thing(_scaled(mask_box(bits), scale), each.predicted_iou, encode_rle(bits)) for each, bits in drawn]
    whole = [k for k, each in enumerate(things) if each.box[0] < each.box[2] and each.box[1] < each.box[3]]
    return [things[k] for k in whole], encoded.features_of_parts(small, [drawn[k][1] for k in whole])


def _kept(encoded: Encoded) -> list[_Candidate]:
    frame = encoded.frame
    rows, columns = (-(-side // 4) for side in frame.scaled)  # of a low-res mask, where the photo is
    middles = (np.arange(CLICKS) + 0.5) / CLICKS
    clicks = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 1, 2) * (frame.width, frame.height)
    found: list[_Candidate] = []
    for start in range(0, len(clicks), BATCH):
        masks, predicted_ious = encoded.decode(prepare(frame, points=clicks[start : start + BATCH]))
        for click, k in zip(*np.nonzero(predicted_ious[:, 1:] > PREDICTED_IOU), strict=True):
            low_res = masks[click, 1 + k]
            part = low_res[:rows, :columns]
            if (part > 0).any() and stability(part, 1.0) >= STABILITY:
                found.append(_Candidate(low_res, float(predicted_ious[click, 1 + k]), mask_box(part > 0)))
    boxes = np.array([each.box for each in found], np.float64).reshape(-1, 4)
    best = suppress(boxes, np.array([each.predicted_iou for each in found], np.float64), OVERLAP)
    return [found[index] for index in best[:MOST]]


def _scaled(box: Sequence[int], scale: Sequence[float]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(side * by) for side, by in zip(box, scale, strict=True))
    return x0, y0, x1, y1
