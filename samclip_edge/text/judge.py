"""Judges each name by itself: what speaks for it against a fixed set of rivals, and the chance that comes of it.

A softmax over the names that were asked for cannot say "none of these": the likeliest of one name has a chance of 1.
So a bundle carries *rivals*, names that every name is compared with, whatever else is asked; and a calibration, which
turns the log-odds of that comparison into the chance that the thing is there (docs/bundle.md, "Chances").
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge import data
from samclip_edge.bundle.manifest import Logistic, Manifest
from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError
from samclip_edge.progress import Progress, silent
from samclip_edge.text.names import BACKGROUND_NAMES, read_names
from samclip_edge.text.tokenizer import clean
from samclip_edge.text.words import Words, read_features

Floats = npt.NDArray[np.float32]
Kind = Literal["patches", "mask", "photo"]  # what log-odds are of; each kind has a calibration of its own
STRONGEST = 4  # patches that speak for a name
MIN_SCORE = 0.5  # the chance from which on a name is answered


class Rivals(NamedTuple):
    """Names that every name is compared with."""

    names: list[str]  # R
    features: Floats  # (R,E)
    same: float  # see `Calibration.same`


class Judge:
    """Judges names for a bundle. May be used from several threads."""

    def __init__(self, words: Words, manifest: Manifest) -> None:
        self._words, self._manifest = words, manifest

    @functools.cached_property
    def rivals(self) -> Rivals:
        """The rivals of the bundle; an older bundle has the names of its vocabulary, or else COCO's 80."""
        stored = self._manifest.calibration
        if stored is not None:
            names, features = read_features(self._words.bundle, stored.names, stored.features)
            return Rivals(names, features, stored.same)
        names = self._words.vocabulary or read_names(data.RIVALS)
        features = self._words.features(names)
        return Rivals(names, features, nearest(features))

    def log_odds(
        self, features: Floats, names: Sequence[str], background: Sequence[str] = (), progress: Progress = silent
    ) -> Floats:
        """How much speaks for each name by itself: the log-odds of the name in a softmax over it and its rivals.

        A rival that means the same as the name does not compete; one of `background` does, unless it is the name. With
        a CLIP that was trained by a sigmoid (SigLIP), they are that sigmoid's: against nothing, and `background`, and
        the bundle's own rivals do not compete.
        features: (..., E), L2-normalised. Returns (..., K).
        """
        ours, theirs, competes = self._compared(features, names, background, progress)
        return _odds(ours, theirs, competes, self._words.logit_bias, len(self.rivals.names))

    def similarity(self, features: Floats, name: str) -> float:
        """The cosine of a feature (E,), L2-normalised, and a name."""
        return float(features @ self._words.features([name])[0])

    def _compared(
        self, features: Floats, names: Sequence[str], background: Sequence[str], progress: Progress
    ) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Logits of the names (..., K) and of the rivals (..., R), and which rivals compete with which name (K,R)."""
        own, rivals = self._words.features(names, progress), self.rivals
        further = self._words.features(background) if background else np.zeros((0, own.shape[1]), np.float32)
        against = np.concatenate([rivals.features, further])
        competes = own @ against.T <= rivals.same
        competes[:, len(rivals.names) :] = True
        spelled = [clean(name) for name in (*rivals.names, *background)]
        competes &= np.array([[own_name != rival for rival in spelled] for own_name in map(clean, names)])
        scale = self._words.logit_scale
        return scale * (features @ own.T), scale * (features @ against.T), competes

    def chance(self, kind: Kind, size: Size, log_odds: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The calibrated chance, 0..1, that a name is right. size: the input size S that the photo was seen at."""
        return sigmoid(self.calibrated(kind, size, log_odds))

    def calibrated(self, kind: Kind, size: Size, log_odds: npt.ArrayLike) -> Floats:
        """The log-odds of `chance`."""
        how = self._logistic(kind, size)
        return np.asarray(how.slope * np.asarray(log_odds, np.float64) + how.offset, np.float32)

    def _logistic(self, kind: Kind, size: Size) -> Logistic:
        stored = self._manifest.calibration
        found = [each for each in stored.sizes if each.size == size] if stored else []
        return getattr(found[0], kind) if found else Logistic()  # type: ignore[no-any-return]


def check_score(min_score: float) -> None:
    """Raise InputError unless it is a chance."""
    if not 0 <= min_score <= 1:
        raise InputError(f" {min_score!r:.60}: give a chance, 0 to 1", "min_score")


def odds_against(ours: Floats, theirs: Floats, competes: npt.NDArray[np.bool_]) -> Floats:
    """The log-odds of each name in a softmax over it and the rivals that compete with it.

    ours: (..., K), the scaled cosines of the names. theirs: (..., R), those of the rivals. competes: (K,R). Returns
    (..., K).
    """
    return np.asarray(ours - np.stack([_log_sum(theirs[..., row]) for row in competes], axis=-1), np.float32)


def odds_among(scaled: Floats, bias: float | None, count: int) -> Floats:
    """What `Judge.log_odds` says of the first `count` of some rivals, by which chances are calibrated.

    scaled: (..., R), the scaled cosines of the rivals, and last of `BACKGROUND_NAMES`. Returns (..., count).
    """
    competes = ~np.eye(count, scaled.shape[-1], dtype=bool)
    return _odds(scaled[..., :count], scaled, competes, bias, scaled.shape[-1] - len(BACKGROUND_NAMES))


def _odds(ours: Floats, theirs: Floats, competes: npt.NDArray[np.bool_], bias: float | None, rivals: int) -> Floats:
    """`odds_against`, or the log-odds of a sigmoid if there is a bias: against nothing, whose log-odds are 0, and what
    stands behind the first `rivals` of the others.
    """
    if bias is None:
        return odds_against(ours, theirs, competes)
    nothing = np.zeros((*theirs.shape[:-1], 1), np.float32)
    others = np.concatenate([theirs[..., rivals:] + bias, nothing], axis=-1)
    return odds_against(ours + bias, others, np.pad(competes[:, rivals:], ((0, 0), (0, 1)), constant_values=True))


def strongest(log_odds: Floats) -> Floats:
    """What the patches that name a thing best say together: log-odds of the mean of their `STRONGEST` highest chances.

    log_odds: (P,K) of the patches. Returns (K,).
    """
    chances = np.sort(sigmoid(log_odds), axis=0)
    mean = chances[-STRONGEST:].mean(axis=0)
    return np.asarray(np.log(mean) - np.log1p(-np.minimum(mean, 1 - 1e-12)), np.float32)


def sigmoid(log_odds: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Log-odds to chances, without overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(log_odds, np.float64), -60, 60))))


def nearest(features: Floats) -> float:
    """The highest cosine of any two of the features (R,E); 1 where there are fewer than two."""
    if len(features) < 2:
        return 1.0
    cosines = features @ features.T
    return float(cosines[~np.eye(len(features), dtype=bool)].max())


def _log_sum(logits: Floats) -> Floats:
    """log(sum(exp)) over the last axis; -60 where it is empty."""
    if not logits.shape[-1]:
        return np.full(logits.shape[:-1], -60, np.float32)
    highest = logits.max(axis=-1)
    return np.asarray(highest + np.log(np.exp(logits - highest[..., None]).sum(axis=-1)), np.float32)
