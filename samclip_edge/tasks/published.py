"""Text to masks exactly as the paper has it (Sec. 4.4, Appendix C), so that its Table 5 can be measured.

A patch belongs to the likeliest of the names that were asked for, or of `background`. Points are drawn at random among
a name's patches, by confidence; the map of the name is the mask prompt; where masks meet, the highest logit wins. A
name that is not there is answered all the same, wherever it is the likeliest of those asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from samclip_edge.encoded import Encoded
from samclip_edge.errors import InputError
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Mask, encode_rle
from samclip_edge.photo.resize import Floats
from samclip_edge.progress import Progress
from samclip_edge.tasks.find import FindSettings, check, prompted
from samclip_edge.text.judge import Judge, strongest
from samclip_edge.text.tokenizer import clean
from samclip_edge.text.words import Words

_SEED = 0  # of the points that are drawn: the same photo gives the same answer


def find_as_published(
    encoded: Encoded, words: Words, judge: Judge, names: Sequence[str], how: FindSettings, progress: Progress
) -> list[Mask]:
    """One mask for each name that is the likeliest somewhere, highest score first; no two overlap.

    `score` is the chance by which `find` judges the name; it decides nothing here. Raises InputError for points out of
    range, for settings that the paper does not have, and for SAM + CLIP, which the paper asks in another way.
    """
    check(encoded, how)
    if not encoded.has_patch_features or not how.refine:
        raise InputError(": is for a merged bundle and both heads; leave it out", "as_published")
    frame, features = encoded.frame, np.moveaxis(encoded.patch_features, 0, -1)
    spelled = {clean(name) for name in names}
    all_names = [*names, *(name for name in how.background if clean(name) not in spelled)]
    chances = np.moveaxis(words.probabilities(features, all_names, progress), -1, 0)
    rows, columns = frame.cells(chances.shape[1:])
    winner = chances[:, :rows, :columns].argmax(axis=0)
    random = np.random.default_rng(_SEED)
    low_res, predicted_ious = {}, {}
    for k in (k for k in np.unique(winner).tolist() if k < len(names)):
        patches = _drawn(random, np.where(winner == k, chances[k, :rows, :columns], 0), how.points)
        log_odds = np.log((chances[k] + 1e-4) / (1 - chances[k] + 1e-4))
        low_res[k], predicted_ious[k] = prompted(encoded, log_odds, patches)
    owner = _highest(frame, low_res)
    inside = judge.log_odds(features, names, how.background)[:rows, :columns]
    scores = judge.chance("patches", frame.size, strongest(inside.reshape(-1, len(names))))
    masks = []
    for k, logits in low_res.items():
        bits = owner == k
        if bits.any():
            similarity = judge.similarity(encoded.features_under(bits), names[k])
            rle, score = encode_rle(bits), float(scores[k])
            masks.append(Mask(rle, predicted_ious[k], logits, names[k], score, similarity=similarity))
    return sorted(masks, key=lambda mask: -(mask.score or 0.0))


def _drawn(random: np.random.Generator, confidence: Floats, points: int) -> list[tuple[int, int]]:
    """Up to `points` different patches (row, column), drawn with a chance in proportion to their confidence."""
    weights = confidence.ravel().astype(np.float64)
    count = min(points, int(np.count_nonzero(weights)))
    drawn = random.choice(weights.size, count, replace=False, p=weights / weights.sum())
    rows, columns = np.unravel_index(drawn, confidence.shape)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _highest(frame: Frame, low_res: dict[int, Floats]) -> npt.NDArray[np.int64]:
    """For each photo pixel (H,W) the key of the highest logit above 0, or -1."""
    best = np.zeros((frame.height, frame.width), np.float32)
    owner = np.full(best.shape, -1)
    for key, logits in low_res.items():
        full = frame.to_photo(logits)
        better = full > best
        best[better] = full[better]
        owner[better] = key
    return owner
