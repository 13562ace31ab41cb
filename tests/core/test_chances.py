"""Log-odds to chances: against scikit-learn's logistic regression, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from samclip_edge.text.chances import assumed, fitted


def test_the_fit_is_logistic_regression_with_both_kinds_weighing_the_same() -> None:
    """With Platt's targets: each name counts as there by its target, and as absent by the rest."""
    random = np.random.default_rng(3)
    there = random.random(3000) < 0.05
    log_odds = np.where(there, random.normal(2, 4, 3000), random.normal(-15, 7, 3000))
    present, absent = there.sum(), (~there).sum()
    target = np.where(there, (present + 1) / (present + 2), 1 / (absent + 2))
    weight = np.where(there, 1500 / present, 1500 / absent)
    theirs = LogisticRegression(C=1e6, tol=1e-10, max_iter=1000)
    theirs.fit(
        np.tile(log_odds, 2)[:, None],
        np.repeat([True, False], 3000),
        sample_weight=np.concatenate([weight * target, weight * (1 - target)]),
    )
    ours = fitted(log_odds, there)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
    assert ours.offset == pytest.approx(theirs.intercept_[0], rel=1e-3)


def test_the_fit_is_finite_where_nothing_is_doubtful() -> None:
    """By hand: the targets are 3/4 and 1/4, whose log-odds are 1.0986 and its negative."""
    fit = fitted([-3.0, -2.0, 2.0, 3.0], [False, False, True, True])
    assert 1.0986 / 3 < fit.slope < 1.0986 / 2
    assert fit.offset == pytest.approx(0, abs=1e-6)  # the two kinds lie alike on both sides of 0


def test_without_knowing_one_name_in_twenty_passes() -> None:
    """By hand: of -99.5, -98.5, ..., 0.5 the 95 % quantile is -4.5 or a little less."""
    how = assumed(np.arange(101) - 99.5)
    assert how.slope == 1
    assert how.offset == pytest.approx(4.5)
