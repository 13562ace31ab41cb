"""Every mask in a photo: a grid of clicks, SAM's filters, and non-maximum suppression; then, new here, their names.

Source: `segment_anything/automatic_mask_generator.py` with one crop, whose defaults these are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from samclip_edge.encoded import BATCH, Encoded
from samclip_edge.errors import InputError
from samclip_edge.photo.masks import Mask, mask_box, stability, suppress
from samclip_edge.photo.resize import Floats
from samclip_edge.progress import Progress
from samclip_edge.tasks.prompts import prepare
from samclip_edge.text.judge import Judge


@dataclass(frozen=True, init=False)
class Settings:
    """Which masks of the grid are kept."""

    points_per_side: int
    predicted_iou: float  # the least
    stability: float  # the least IoU between the masks cut at `offset` above and below 0
    offset: float
    overlap: float  # the most IoU of two boxes before the worse mask is dropped

    def __init__(
        self,
        points_per_side: int = 32,
        predicted_iou: float = 0.88,
        stability: float = 0.95,
        offset: float = 1.0,
        overlap: float = 0.7,
        score: float | None = None,
    ) -> None:
        """score: the old name of `predicted_iou`, until 0.3. Raises InputError for a value that cannot be compared."""
        if not isinstance(points_per_side, int) or not 1 <= points_per_side <= 256:
            raise InputError(f" {points_per_side}: give 1 to 256 clicks a side, a whole number", "points_per_side")
        values = (points_per_side, predicted_iou if score is None else score, stability, offset, overlap)
        for field, value in zip(fields(self), values, strict=True):
            if not isinstance(value, int | float) or math.isnan(value):
                raise InputError(f" {value}: give a number", field.name)
            object.__setattr__(self, field.name, value)

    @property
    def score(self) -> float:
        """The old name of `predicted_iou`, until 0.3."""
        return self.predicted_iou


def everything(encoded: Encoded, settings: Settings, progress: Progress) -> list[Mask]:
    """All masks that pass the filters, best predicted IoU first, in photo pixels.

    SAM measures stability and boxes over the photo's own pixels. Here a photo that is larger than it lies in the input
    is made that small first, and only masks that are kept are drawn over its own pixels.
    """
    frame, side = encoded.frame, settings.points_per_side
    reduced = frame.reduced
    middles = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2) * (frame.width, frame.height)
    found: list[_Candidate] = []
    for start in progress(range(0, len(grid), BATCH), "clicking everywhere"):
        clicks = grid[start : start + BATCH]
        masks, predicted_ious = encoded.decode(prepare(frame, points=clicks[:, None]))
        for click, k in zip(*np.nonzero(predicted_ious[:, 1:] > settings.predicted_iou), strict=True):
            low_res = masks[click, 1 + k]
            logits = reduced.to_photo(low_res)
            if stability(logits, settings.offset) >= settings.stability:
                x, y = clicks[click].tolist()
                box = mask_box(logits > 0)
                found.append(_Candidate(low_res.copy(), float(predicted_ious[click, 1 + k]), (x, y), box))
    if not found:
        return []
    scale = (frame.width / reduced.width, frame.height / reduced.height) * 2
    # SAM's boxes end on the last pixel, not past it, and the overlap of small ones depends on that.
    corners = np.array([each.box for each in found], np.float64) * scale - (0, 0, 1, 1)
    kept = suppress(corners, np.array([each.predicted_iou for each in found]), settings.overlap)
    best = [found[index] for index in kept]
    return [replace(encoded.mask(each.low_res, each.predicted_iou), point=each.point) for each in best]


class _Candidate(NamedTuple):
    """A mask that passed the filters, before suppression."""

    low_res: Floats
    predicted_iou: float
    point: tuple[float, float]  # x, y in photo pixels
    box: tuple[int, int, int, int]  # over the reduced photo


class Fit(NamedTuple):
    """How well a name fits a mask, whatever else is asked."""

    name: str
    log_odds: float
    score: float
    similarity: float


def name_fits(
    encoded: Encoded, judge: Judge, mask: Mask, names: Sequence[str], background: Sequence[str], progress: Progress
) -> list[Fit]:
    """Each name judged by itself, by what is under a mask."""
    under = encoded.features_under(mask.bits)
    log_odds = judge.log_odds(under, names, background, progress)
    scores = judge.chance("mask", encoded.frame.size, log_odds)
    return [
        Fit(name, float(log_odds[k]), float(scores[k]), judge.similarity(under, name)) for k, name in enumerate(names)
    ]


def name_masks(
    encoded: Encoded,
    judge: Judge,
    masks: Sequence[Mask],
    names: Sequence[str],
    background: Sequence[str],
    min_score: float,
    progress: Progress,
) -> list[Mask]:
    """Name each mask by the name that fits it best; leave it without a label where none has `min_score`."""
    named = []
    for mask in masks:
        best = max(name_fits(encoded, judge, mask, names, background, progress), key=lambda fit: fit.log_odds)
        fits = best.score >= min_score
        label, score, similarity = (best.name, best.score, best.similarity) if fits else (None, None, None)
        named.append(replace(mask, label=label, score=score, similarity=similarity))
    return named
