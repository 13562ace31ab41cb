"""Every mask in a photo: a grid of clicks, SAM's filters, and non-maximum suppression; then, new here, their names.

Source: `segment_anything/automatic_mask_generator.py` with one crop, whose defaults these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from samclip_edge.errors import InputError
from samclip_edge.masks import Mask, encode_rle, mask_box, stability, suppress
from samclip_edge.progress import Progress
from samclip_edge.prompts import prepare

if TYPE_CHECKING:
    from samclip_edge.pipeline import Scene

_BATCH = 64  # clicks whose masks are in memory together


@dataclass(frozen=True)
class Settings:
    """Which masks of the grid are kept."""

    points_per_side: int = 32
    score: float = 0.88  # the least predicted IoU
    stability: float = 0.95  # the least IoU between the masks cut at `offset` above and below 0
    offset: float = 1.0
    overlap: float = 0.7  # the most IoU of two boxes before the worse mask is dropped

    def __post_init__(self) -> None:
        if not 1 <= self.points_per_side <= 256:
            raise InputError(f"--grid {self.points_per_side}: give 1 to 256 clicks a side")


def everything(scene: Scene, settings: Settings, progress: Progress) -> list[Mask]:
    """All masks that pass the filters, best predicted IoU first, in photo pixels."""
    side = settings.points_per_side
    middles = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2) * (scene.frame.width, scene.frame.height)
    found: list[Mask] = []
    boxes: list[tuple[int, int, int, int]] = []
    for start in progress(range(0, len(grid), _BATCH), "clicking everywhere"):
        clicks = grid[start : start + _BATCH]
        masks, scores = scene.decode(prepare(scene.frame, points=clicks[:, None]))
        for click, k in zip(*np.nonzero(scores[:, 1:] > settings.score), strict=True):
            low_res = masks[click, 1 + k]
            logits = scene.frame.to_photo(low_res)
            if stability(logits, settings.offset) < settings.stability:
                continue
            bits = logits > 0
            x, y = clicks[click].tolist()
            score = float(scores[click, 1 + k])
            found.append(Mask(encode_rle(bits), score, low_res.copy(), point=(x, y)))
            boxes.append(mask_box(bits))
    if not found:
        return []
    # SAM's boxes end on the last pixel, not past it, and the overlap of small ones depends on that.
    corners = np.array(boxes, np.float64) - (0, 0, 1, 1)
    kept = suppress(corners, np.array([mask.score for mask in found]), settings.overlap)
    return [found[index] for index in kept]


def name(scene: Scene, masks: Sequence[Mask], names: Sequence[str], progress: Progress) -> list[Mask]:
    """Name each mask by what is under it."""
    named = []
    for mask in masks:
        scores = scene.probabilities(scene.features_under(mask.bits), names, progress)
        best = int(scores.argmax())
        named.append(replace(mask, label=names[best], confidence=float(scores[best])))
    return named
