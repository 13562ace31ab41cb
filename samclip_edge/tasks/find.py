"""Text to masks.

With the merged model (Sec. 4.4, Appendix C) the CLIP head says roughly where, the SAM head says exactly: each name's
probability over the patch map becomes a mask prompt and one to three points for the prompt encoder; the mask decoder
refines; each mask is named anew, by all of its patches; where masks meet, the highest logit wins.
With two models (Appendix C.1) every mask of the photo is found first, and then named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.contract import FOREGROUND, NOTHING
from samclip_edge.encoded import Encoded, Prompts
from samclip_edge.errors import InputError
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Mask, encode_rle
from samclip_edge.photo.resize import Floats
from samclip_edge.progress import Progress
from samclip_edge.tasks.everything import Settings, everything, name_masks
from samclip_edge.text.words import Words


class FindSettings(NamedTuple):
    """How names are looked for."""

    refine: bool  # by the mask decoder
    points: int  # for the merged model: the most point prompts for a name, 1 to 3
    threshold: float  # for the merged model: the least probability of such a point, as a share of the name's highest
    settings: Settings  # for SAM + CLIP: which masks there are to be named


def find(
    encoded: Encoded,
    words: Words,
    names: Sequence[str],
    background: Sequence[str],
    how: FindSettings,
    progress: Progress,
) -> list[Mask]:
    """One mask for each name that is somewhere in the photo, most confident first; no two masks overlap.

    Raises InputError for points or a threshold out of range, and where SAM + CLIP are asked without `refine`.
    """
    if encoded.has_patch_features:
        return _find_by_patches(encoded, words, names, background, how, progress)
    if not how.refine:
        raise InputError("SAM + CLIP: has no map of patches to answer with; use a merged bundle")
    return _find_among_masks(encoded, words, names, background, how.settings, progress)


def _find_by_patches(
    encoded: Encoded,
    words: Words,
    names: Sequence[str],
    background: Sequence[str],
    how: FindSettings,
    progress: Progress,
) -> list[Mask]:
    """The merged model's way.

    Every patch is compared with all names, and with those of `background`, against which a name can lose. A name is
    present in the patches where it is the likeliest. Up to `points` of these patches become point prompts; they are
    sampled among the patches with at least `threshold` times the name's highest probability. Without `refine` the
    answer is the CLIP head's own maps, enlarged. `confidence` is the name's mean probability over its mask.
    """
    refine, points, threshold, _ = how
    if not 1 <= points <= 3:
        raise InputError(f"points {points}: sample 1 to 3 points a name")
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold {threshold:g}: give a share of the highest probability, 0 to 1")
    frame, all_names = encoded.frame, _with_background(names, background)
    features = np.moveaxis(encoded.patch_features, 0, -1)
    maps = np.moveaxis(words.probabilities(features, all_names, progress), -1, 0)
    rows, columns = frame.cells(maps.shape[-1])
    winner = maps[:, :rows, :columns].argmax(axis=0)
    winners = np.unique(winner).tolist()
    present = [k for k in winners if k < len(names)]
    if refine:
        samples = {k: _sample(np.where(winner == k, maps[k, :rows, :columns], 0), points, threshold) for k in present}
        refined = _refined(encoded, {k: (maps[k], samples[k]) for k in present})
        low_res = _renamed(encoded, words, refined, all_names)
    else:
        low_res = {k: _enlarge(frame, np.log(maps[k] + 1e-9)) for k in winners}
    owner = _strongest(frame, low_res, floor=0.0 if refine else -np.inf)

    masks = []
    for k in sorted(low_res):
        bits = owner == k
        if k < len(names) and bits.any():
            cover = frame.coverage(bits, maps.shape[-1])
            confidence = float((maps[k] * cover).sum() / cover.sum())
            masks.append(Mask(encode_rle(bits), None, low_res[k], names[k], confidence))
    return sorted(masks, key=lambda mask: -(mask.confidence or 0.0))


def _find_among_masks(
    encoded: Encoded,
    words: Words,
    names: Sequence[str],
    background: Sequence[str],
    settings: Settings,
    progress: Progress,
) -> list[Mask]:
    """SAM + CLIP's way: every mask of the photo is found and named; those of one name become one mask.

    A mask that is likelier to be of `background` is left out. `settings` say which masks there are.
    """
    all_names = _with_background(names, background)
    named = name_masks(encoded, words, everything(encoded, settings, progress), all_names, progress)
    owner = np.full(encoded.pixels.shape[:2], -1)
    confidence: dict[int, float] = {}
    for mask in sorted(named, key=lambda each: -each.area):  # smaller ones lie on top
        k = all_names.index(mask.label or "")
        owner[mask.bits] = k
        confidence[k] = max(confidence.get(k, 0.0), mask.confidence or 0.0)
    found = [
        Mask(encode_rle(owner == k), None, label=name, confidence=confidence[k])
        for k, name in enumerate(names)
        if k in confidence
    ]
    return sorted((mask for mask in found if mask.area), key=lambda mask: -(mask.confidence or 0.0))


def _with_background(names: Sequence[str], background: Sequence[str]) -> list[str]:
    return [*names, *(name for name in background if name not in names)]


def _sample(likely: Floats, points: int, threshold: float) -> list[tuple[int, int]]:
    """Up to `points` patches (row, column): the likeliest, then each time the farthest from those already taken."""
    candidates = np.argwhere(likely >= max(threshold * likely.max(), 1e-9))
    taken = [np.array(np.unravel_index(likely.argmax(), likely.shape))]
    while len(taken) < min(points, len(candidates)):
        gaps = np.min([np.abs(candidates - one).sum(axis=1) for one in taken], axis=0)
        taken.append(candidates[gaps.argmax()])
    return [(int(row), int(column)) for row, column in taken]


def _refined(encoded: Encoded, asked: dict[int, tuple[Floats, list[tuple[int, int]]]]) -> dict[int, Floats]:
    """The mask decoder's logits (S/4,S/4) for each name, prompted by its probability map and its sampled patches.

    Names with the same number of points are decoded together. Padding a prompt to more points would change its mask.
    """
    low_res: dict[int, Floats] = {}
    for count in sorted({len(patches) for _, patches in asked.values()}):
        group = {k: both for k, both in asked.items() if len(both[1]) == count}
        odds = [np.log((p + 1e-4) / (1 - p + 1e-4)) for p, _ in group.values()]
        centers = np.array([[(x + 0.5, y + 0.5) for y, x in patches] for _, patches in group.values()])
        places = centers * encoded.frame.size / odds[0].shape[-1] - 0.5
        nothing = np.zeros((len(group), 1, 2))
        marks = np.array([*[FOREGROUND] * count, NOTHING], np.float32)
        prompts = Prompts(
            points=np.concatenate([places, nothing], axis=1).astype(np.float32),
            labels=np.tile(marks, (len(group), 1)),
            mask=np.stack([_enlarge(encoded.frame, odd) for odd in odds])[:, None],
            has_mask=np.ones(1, np.float32),
            ambiguous=False,
        )
        low_res |= dict(zip(group, encoded.decode(prompts)[0][:, 0].copy(), strict=True))
    return low_res


def _renamed(encoded: Encoded, words: Words, low_res: dict[int, Floats], names: Sequence[str]) -> dict[int, Floats]:
    """Name each mask by the mean feature of all its patches, and join the masks of one name.

    Masks that turn out to be background are kept, so that their pixels are not given to a weaker mask beneath.
    """
    renamed: dict[int, Floats] = {}
    for logits in low_res.values():
        bits = encoded.frame.to_photo(logits) > 0
        if bits.any():
            k = int(words.probabilities(encoded.features_under(bits), names).argmax())
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
