"""How log-odds become chances (`bundle.manifest.Logistic`): fitted to what is known to be there, or without that."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.manifest import Logistic
from samclip_edge.text.judge import sigmoid

_STEPS = 100  # of Newton's method, at most; it ends after about ten
_LEAN = 1e-6  # towards 0, so that there is one answer even where all log-odds are the same
_HOLDS = 0.95  # the share of a photo's rivals that it does not hold, where nobody says which


def fitted(log_odds: npt.ArrayLike, there: npt.ArrayLike) -> Logistic:
    """The logistic regression of whether a name is there on its log-odds.

    Names that are there and names that are not weigh the same in all, however many there are of each: a chance of one
    half is where both are as likely to be asked for. The targets are a little off 0 and 1, the more so the fewer names
    there are (Platt 1999, "Probabilistic outputs for support vector machines", Sec. 2.2): so a slope stays finite where
    the two kinds can be told apart without fault. log_odds: (N,). there: (N,) bool, with both kinds in it.
    """
    x, is_there = np.asarray(log_odds, np.float64), np.asarray(there, bool)
    design = np.stack([x, np.ones_like(x)], axis=1)
    present, absent = is_there.sum(), (~is_there).sum()
    weight = np.where(is_there, 0.5 / present, 0.5 / absent)
    y = np.where(is_there, (present + 1) / (present + 2), 1 / (absent + 2))

    def loss(at: npt.NDArray[np.float64]) -> float:
        z = design @ at
        return float((weight * (np.logaddexp(0, z) - y * z)).sum() + _LEAN * (at @ at) / 2)

    best = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        p = sigmoid(design @ best)
        slope = design.T @ (weight * (y - p)) - _LEAN * best
        bend = (design * (weight * p * (1 - p))[:, None]).T @ design + _LEAN * np.eye(2)
        step = np.linalg.solve(bend, slope)
        while loss(best + step) > loss(best) and np.abs(step).max() > 1e-9:
            step /= 2
        best = best + step
        if np.abs(step).max() < 1e-9:
            break
    return Logistic(slope=max(float(best[0]), 1e-3), offset=float(best[1]))


def assumed(log_odds: npt.ArrayLike) -> Logistic:
    """The chance where nobody says what the photos hold: as the softmax has it, but for the offset.

    log_odds: (N,), of the rivals on photos. Most photos hold few of them, so a chance of one half is where one name in
    twenty passes.
    """
    return Logistic(slope=1.0, offset=-float(np.quantile(np.asarray(log_odds, np.float64), _HOLDS)))
