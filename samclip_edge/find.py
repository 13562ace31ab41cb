"""Text to masks with both heads (Sec. 4.4, Appendix C): the CLIP head says roughly where, the SAM head says exactly.

Each name's probability over the patch map becomes a mask prompt and one to three points for the prompt encoder; the
mask decoder refines; each mask is named anew, by all of its patches; where masks meet, the highest logit wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError
from samclip_edge.image import Frame
from samclip_edge.masks import Mask, encode_rle
from samclip_edge.progress import Progress
from samclip_edge.prompts import FOREGROUND, NOTHING, Prompts
from samclip_edge.text import BACKGROUND

if TYPE_CHECKING:
    from samclip_edge.pipeline import Scene

Floats = npt.NDArray[np.float32]
__all__ = ["BACKGROUND", "find"]


def find(
    scene: Scene,
    names: Sequence[str],
    refine: bool,
    points: int,
    threshold: float,
    background: Sequence[str],
    progress: Progress,
) -> list[Mask]:
    """One mask for each name that is somewhere in the photo, most confident first; no two masks overlap.

    Every patch is compared with all names and with `background`, against which a name can lose. A name is present where
    it is the likeliest of all. Of those patches, the ones with at least `threshold` times its highest probability are
    where up to `points` points are sampled. Without `refine` the CLIP head's own maps, enlarged, are the answer.
    `score` is the name's mean probability over its mask. Raises InputError for points or a threshold out of range.
    """
    if not 1 <= points <= 3:
        raise InputError(f"points {points}: sample 1 to 3 points a name")
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold {threshold:g}: give a share of the highest probability, 0 to 1")
    others = [name for name in background if name not in names]
    features = np.moveaxis(scene.patch_features, 0, -1)
    known = [*names, *others]
    maps = np.moveaxis(scene.probabilities(features, known, progress), -1, 0)
    rows, columns = scene.frame.cells(maps.shape[-1])
    winner = maps[:, :rows, :columns].argmax(axis=0)
    winners = np.unique(winner).tolist()
    present = [k for k in winners if k < len(names)]
    if refine:
        samples = {k: _sample(np.where(winner == k, maps[k, :rows, :columns], 0), points, threshold) for k in present}
        low_res = _renamed(scene, _refined(scene, {k: (maps[k], samples[k]) for k in present}), known)
    else:
        low_res = {k: _enlarge(scene.frame, np.log(maps[k] + 1e-9)) for k in winners}
    owner = _strongest(scene.frame, low_res, floor=0.0 if refine else -np.inf)

    masks = []
    for k in sorted(low_res):
        bits = owner == k
        if k < len(names) and bits.any():
            cover = scene.frame.coverage(bits, maps.shape[-1])
            masks.append(Mask(encode_rle(bits), float((maps[k] * cover).sum() / cover.sum()), low_res[k], names[k]))
    return sorted(masks, key=lambda mask: -mask.score)


def _sample(likely: Floats, points: int, threshold: float) -> list[tuple[int, int]]:
    """Up to `points` patches (row, column): the likeliest, then each time the farthest from those already taken."""
    candidates = np.argwhere(likely >= max(threshold * likely.max(), 1e-9))
    taken = [np.array(np.unravel_index(likely.argmax(), likely.shape))]
    while len(taken) < min(points, len(candidates)):
        gaps = np.min([np.abs(candidates - one).sum(axis=1) for one in taken], axis=0)
        taken.append(candidates[gaps.argmax()])
    return [(int(row), int(column)) for row, column in taken]


def _refined(scene: Scene, asked: dict[int, tuple[Floats, list[tuple[int, int]]]]) -> dict[int, Floats]:
    """The mask decoder's logits (S/4,S/4) for each name, prompted by its probability map and its sampled patches.

    Names with as many points go together; padding one to the points of another would change its mask.
    """
    low_res: dict[int, Floats] = {}
    for count in sorted({len(patches) for _, patches in asked.values()}):
        group = {k: both for k, both in asked.items() if len(both[1]) == count}
        odds = [np.log((p + 1e-4) / (1 - p + 1e-4)) for p, _ in group.values()]
        centers = np.array([[(x + 0.5, y + 0.5) for y, x in patches] for _, patches in group.values()])
        places = centers * scene.frame.size / odds[0].shape[-1] - 0.5
        nothing = np.zeros((len(group), 1, 2))
        marks = np.array([*[FOREGROUND] * count, NOTHING], np.float32)
        prompts = Prompts(
            points=np.concatenate([places, nothing], axis=1).astype(np.float32),
            labels=np.tile(marks, (len(group), 1)),
            mask=np.stack([_enlarge(scene.frame, odd) for odd in odds])[:, None],
            has_mask=np.ones(1, np.float32),
            ambiguous=False,
        )
        low_res |= dict(zip(group, scene.decode(prompts)[0][:, 0].copy(), strict=True))
    return low_res


def _renamed(scene: Scene, low_res: dict[int, Floats], known: Sequence[str]) -> dict[int, Floats]:
    """The masks by the names that all their patches have together; those of one name become one.

    The background's are kept: a thing that was taken for something else is not to be given to a weaker mask beneath.
    """
    renamed: dict[int, Floats] = {}
    for logits in low_res.values():
        bits = scene.frame.to_photo(logits) > 0
        if bits.any():
            k = int(scene.probabilities(scene.features_under(bits), known).argmax())
            renamed[k] = np.maximum(renamed[k], logits) if k in renamed else logits
    return renamed


def _enlarge(frame: Frame, patch_map: Floats) -> Floats:
    """A map over the patches (h',w') as a low-res mask (S/4,S/4)."""
    side = (frame.low_res, frame.low_res)
    return np.asarray(cv2.resize(patch_map, side, interpolation=cv2.INTER_LINEAR), np.float32)


def _strongest(frame: Frame, low_res: dict[int, Floats], floor: float) -> npt.NDArray[np.int64]:
    """For each photo pixel (H,W) the key of the highest logit above `floor`, or -1."""
    best = np.full((frame.height, frame.width), floor, np.float32)
    owner = np.full(best.shape, -1)
    for key, logits in low_res.items():
        full = frame.to_photo(logits)
        better = full > best
        best[better] = full[better]
        owner[better] = key
    return owner
