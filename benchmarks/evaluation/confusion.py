"""Counting pixels: the confusion of classes over a whole data set, and what is measured by it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from samclip_edge.benchmarks.evaluation.label_maps import Labels

Counts = npt.NDArray[np.int64]
Sparse = tuple[Sequence[int], Sequence[int]]  # places in a matrix (K,K), row after row, and the pixels that are there


def count(true: Labels, found: Labels, classes: int) -> Sparse:
    """The confusion of one photo, as much of it as is not 0.

    true, found: (H,W). Pixels whose true class is not below `classes` are not counted.
    """
    used = true < classes
    table = np.bincount(true[used].astype(np.int64) * classes + found[used], minlength=classes**2)
    places = np.flatnonzero(table)
    return places.tolist(), table[places].tolist()


def total(counted: Iterable[Sparse], classes: int) -> Counts:
    """The confusion of all photos (K,K): true classes down, those that were found across."""
    table = np.zeros(classes**2, np.int64)
    for places, pixels in counted:
        table[np.asarray(places, np.int64)] += np.asarray(pixels, np.int64)  # empty lists would be of floats
    return table.reshape(classes, classes)


def ious(table: Counts) -> npt.NDArray[np.float64]:
    """The IoU of each class (K,); NaN for a class that is in no truth and in no answer."""
    both = table.diagonal()
    either = table.sum(axis=0) + table.sum(axis=1) - both
    with np.errstate(invalid="ignore"):
        return np.asarray(both / either, np.float64)


def mean_iou(table: Counts) -> float:
    """The mean IoU of the classes that are in a truth or in an answer; NaN where nothing was counted."""
    found = ious(table)
    return float(np.nanmean(found)) if table.any() else math.nan


def accuracy(table: Counts) -> float:
    """The share of pixels whose class was found; NaN where nothing was counted."""
    return float(table.trace() / table.sum()) if table.any() else math.nan
