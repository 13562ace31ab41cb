"""Features as rows of small integers, and the rows that are nearest to a feature: an exact scan over all of them.

A feature is an L2-normalised vector. Its row is int8, the vector over its largest number times 127; so what is stored
beside it, `1 / |row|`, makes a cosine of the product of a row and a feature. The scan is exact, so nothing has to be
kept in step with what is stored; docs/library.md says what other stores took for the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
_PIECE = 2**18  # numbers that are multiplied together: their floats stay in the processor's cache
_MOST = 127


class Rows(NamedTuple):
    """N features and whose they are."""

    ids: Ids  # (N,) of the photos, or of the things
    photos: Ids  # (N,) of the photos that they belong to
    vectors: Bytes  # (N,E)
    lengths: Floats  # (N,) 1 / |vector|

    def features(self, which: npt.NDArray[np.intp]) -> Floats:
        """The features (K,E) of some rows, L2-normalised."""
        return self.vectors[which].astype(np.float32) * self.lengths[which, None]

    def cosines(self, feature: Floats) -> Floats:
        """The cosines (N,) of all rows and a feature (E,), L2-normalised."""
        count, width = self.vectors.shape
        found, step = np.empty(count, np.float32), max(_PIECE // max(width, 1), 1)
        threads = min(os.cpu_count() or 1, 8)
        share = -(-count // threads // step) * step or step

        def scan(start: int) -> None:
            floats = np.empty((step, width), np.float32)
            for at in range(start, min(start + share, count), step):
                piece = self.vectors[at : min(at + step, start + share)]
                part = floats[: len(piece)]
                np.copyto(part, piece)
                np.dot(part, feature, out=found[at : at + len(piece)])

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(scan, range(0, count, share)))
        return np.multiply(found, self.lengths, out=found)


def rows_of(ids: Iterable[int], photos: Iterable[int], features: Floats) -> Rows:
    """Features (N,E), L2-normalised, as rows."""
    largest = np.maximum(np.abs(features).max(axis=1, keepdims=True, initial=0), 1e-12)
    vectors = np.rint(features / largest * _MOST).astype(np.int8)
    lengths = 1 / np.maximum(np.linalg.norm(vectors.astype(np.float32), axis=1), 1e-12)
    return Rows(
        np.fromiter(ids, np.int64),
        np.fromiter(photos, np.int64),
        vectors,
        lengths.astype(np.float32),
    )


def joined(parts: list[Rows], width: int) -> Rows:
    """Rows one after another. width: E, where there are none."""
    if not parts:
        none, ids = np.zeros(0, np.float32), np.zeros(0, np.int64)
        return Rows(ids, ids, np.zeros((0, width), np.int8), none)
    return Rows(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def best(values: Floats, count: int) -> npt.NDArray[np.intp]:
    """Where the `count` highest values are, highest first; those of -inf are left out."""
    count = min(count, len(values))
    if not count:
        return np.zeros(0, np.intp)
    found = np.argpartition(values, len(values) - count)[len(values) - count :]
    found = found[np.argsort(-values[found], kind="stable")]
    return found[values[found] > -np.inf]
