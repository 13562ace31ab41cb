"""Text to masks: where the named things are, and no answer for a name that is not there.

With the merged model (Sec. 4.4, Appendix C) the CLIP head says roughly where, the SAM head says exactly: a name's
log-odds over the patches become a mask prompt and one to three points for the prompt encoder, and the mask decoder
refines. With two models (Appendix C.1) every mask of the photo is found first, and then named.

Unlike in the paper, each name is judged by itself (`text/judge.py`): whether it is seen, and its score, do not depend
on the other names that are asked for. `published.py` does as the paper says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from samclip_edge.bundle.contract import FOREGROUND, NOTHING
from samclip_edge.encoded import Encoded, Prompts
from samclip_edge.errors import InputError
from samclip_edge.photo.masks import Bits, Mask, encode_rle
from samclip_edge.photo.resize import Floats
from samclip_edge.progress import Progress
from samclip_edge.tasks.everything import Settings, everything, name_fits
from samclip_edge.text.judge import Judge, check_score, sigmoid, strongest


class FindSettings(NamedTuple):
    """How names are looked for."""

    refine: bool  # by the mask decoder
    points: int  # for the merged model: the most point prompts for a name, 1 to 3
    threshold: float  # for the merged model: the least chance of such a point, as a share of the name's highest
    settings: Settings  # for SAM + CLIP: which masks there are to be named
    min_score: float  # the least chance that a name is there
    background: Sequence[str]  # further rivals of every name


class Claim(NamedTuple):
    """What a name claims of the photo, before it is held against other names."""

    name: str
    bits: Bits  # (H,W)
    log_odds: float  # that the name is there: the higher wins a pixel that two names claim
    score: float
    similarity: float
    predicted_iou: float | None
    low_res: Floats | None


def find(encoded: Encoded, judge: Judge, names: Sequence[str], how: FindSettings, progress: Progress) -> list[Mask]:
    """One mask for each name that is seen in the photo, highest score first; no two masks overlap.

    A pixel that two names claim goes to the one with the higher log-odds. So a mask can be empty, where the same thing
    was asked for in other words. Raises InputError for points or a threshold out of range, and where SAM + CLIP are
    asked without `refine`.
    """
    check(encoded, how)
    claims = (_among_patches if encoded.has_patch_features else _among_masks)(encoded, judge, names, how, progress)
    claims.sort(key=lambda claim: -claim.log_odds)
    taken = np.zeros((encoded.frame.height, encoded.frame.width), bool, order="F")  # as `Frame.bits` has it
    masks = []
    for claim in claims:
        masks.append(
            Mask(
                rle=encode_rle(claim.bits & ~taken),
                predicted_iou=claim.predicted_iou,
                logits=claim.low_res,
                label=claim.name,
                score=claim.score,
                similarity=claim.similarity,
            )
        )
        taken |= claim.bits
    return masks


def check(encoded: Encoded, how: FindSettings) -> None:
    """Raise InputError for settings that are out of range, or that this kind of bundle cannot follow."""
    if not 1 <= how.points <= 3:
        raise InputError(f" {how.points}: sample 1 to 3 points a name", "points")
    if not 0 <= how.threshold <= 1:
        raise InputError(f" {how.threshold:g}: give a share of the highest chance, 0 to 1", "threshold")
    check_score(how.min_score)
    if not how.refine and not encoded.has_patch_features:
        raise InputError(": SAM + CLIP has no map of patches to answer with; refine, or use a merged bundle", "refine")


def _among_patches(
    encoded: Encoded, judge: Judge, names: Sequence[str], how: FindSettings, progress: Progress
) -> list[Claim]:
    """The merged model's way: patches say whether a name is there, and prompt the mask decoder with where.

    Without `refine` the answer is the CLIP head's own map, enlarged: where the name's chance is above one half.
    """
    frame, features = encoded.frame, np.moveaxis(encoded.patch_features, 0, -1)
    maps = np.moveaxis(judge.log_odds(features, names, how.background, progress), -1, 0)
    rows, columns = frame.cells(maps.shape[1:])
    log_odds = strongest(maps[:, :rows, :columns].reshape(len(names), -1).T)
    scores = judge.chance("patches", frame.size, log_odds)
    maps = judge.calibrated("patches", frame.size, maps)
    inside = maps[:, :rows, :columns]
    claims = []
    for k in np.flatnonzero(scores >= how.min_score):
        low_res, predicted_iou = frame.enlarge(maps[k]), None
        if how.refine:
            low_res, predicted_iou = prompted(encoded, maps[k], _sample(inside[k], how.points, how.threshold))
        bits = frame.bits(low_res)
        under = encoded.features_under(bits) if bits.any() else np.zeros(features.shape[-1], np.float32)
        similarity = judge.similarity(under, names[k])
        claims.append(Claim(names[k], bits, float(log_odds[k]), float(scores[k]), similarity, predicted_iou, low_res))
    return claims


def _among_masks(
    encoded: Encoded, judge: Judge, names: Sequence[str], how: FindSettings, progress: Progress
) -> list[Claim]:
    """SAM + CLIP's way: every mask of the photo is found and judged; a name claims all masks that it fits."""
    claims: dict[str, Claim] = {}
    for mask in everything(encoded, how.settings, progress):
        for fit in name_fits(encoded, judge, mask, names, how.background, progress):
            if fit.score < how.min_score:
                continue
            claim = Claim(fit.name, mask.bits, fit.log_odds, fit.score, fit.similarity, mask.predicted_iou, None)
            other = claims.get(fit.name)
            if other is not None:
                best = max(claim, other, key=lambda each: each.log_odds)
                claim = best._replace(bits=claim.bits | other.bits)
            claims[fit.name] = claim
    return list(claims.values())


def _sample(log_odds: Floats, points: int, threshold: float) -> list[tuple[int, int]]:
    """Up to `points` patches (row, column): the likeliest, then each time the farthest from those already taken."""
    likely = sigmoid(log_odds)
    candidates = np.argwhere(likely >= max(threshold * likely.max(), 1e-30))
    taken = [np.array(np.unravel_index(log_odds.argmax(), log_odds.shape))]
    while len(taken) < min(points, len(candidates)):
        gaps = np.min([np.abs(candidates - one).sum(axis=1) for one in taken], axis=0)
        taken.append(candidates[gaps.argmax()])
    return [(int(row), int(column)) for row, column in taken]


def prompted(encoded: Encoded, log_odds: Floats, patches: Sequence[tuple[int, int]]) -> tuple[Floats, float]:
    """The mask decoder's answer to a map over the patches (h',w') and sampled patches (row, column).

    Returns low-res logits (S/4,S/4) and the predicted IoU. Each name is decoded by itself: in int8 the activations of
    prompts that are decoded together share a scale, so one name would change another's mask.
    """
    frame = encoded.frame
    centers = np.array([[(x + 0.5, y + 0.5) for y, x in patches]])
    places = centers * frame.cell(log_odds.shape) - 0.5
    prompts = Prompts(
        points=np.concatenate([places, np.zeros((1, 1, 2))], axis=1).astype(np.float32),
        labels=np.array([[*[FOREGROUND] * len(patches), NOTHING]], np.float32),
        mask=frame.enlarge(np.clip(log_odds, -9.2, 9.2))[None, None],
        has_mask=np.ones(1, np.float32),
        ambiguous=False,
    )
    masks, predicted_ious = encoded.decode(prompts)
    return masks[0, 0].copy(), float(predicted_ious[0, 0])
