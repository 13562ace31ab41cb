"""Features as rows of small integers, and the rows that are nearest to a feature: an exact scan over all of them.

A feature is an L2-normalised vector. Its row is the vector over its largest number times 127.125, in quarters: an int8,
and two bits that say which quarter around it. All rows are scanned by their int8 alone, and those that come out best
are compared again with the quarters, without which one in forty of the ten nearest of a million was another one.
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
Planes = npt.NDArray[np.uint8]
_PIECE = 2**18  # numbers that are multiplied together: their floats stay in the processor's cache
_MOST = 127.125  # the middle of a quarter, so that what was read is written again as the same


class Rows(NamedTuple):
    """N features and whose they are."""

    ids: Ids  # (N,) of the photos, or of the things
    photos: Ids  # (N,) of the photos that they belong to
    vectors: Bytes  # (N,E) int8
    lengths: Floats  # (N,) 1 / |vector|
    quarters: Planes  # (N,E/4) what the vectors leave out: the high bits of all E numbers, then the low ones

    def features(self, which: npt.NDArray[np.intp]) -> Floats:
        """The features (K,E) of some rows, L2-normalised."""
        width = self.vectors.shape[1]
        bits = np.unpackbits(self.quarters[which], axis=1, count=2 * width).astype(np.float32)
        found = self.vectors[which] + (2 * bits[:, :width] + bits[:, width:] - 1.5) / 4
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)

    def cosines(self, feature: Floats) -> Floats:
        """The cosines (N,) of all rows, by their int8, and a feature (E,), L2-normalised."""
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
    exact = features / largest * _MOST
    vectors = np.rint(exact)
    quarters = np.clip((exact - vectors + 0.5) * 4, 0, 3).astype(np.uint8)
    bits = np.concatenate([quarters >> 1, quarters & 1], axis=1)
    lengths = 1 / np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    return Rows(
        np.fromiter(ids, np.int64),
        np.fromiter(photos, np.int64),
        vectors.astype(np.int8),
        lengths.astype(np.float32),
        np.packbits(bits, axis=1),
    )


def empty(count: int, width: int) -> Rows:
    """Rows to be filled, of features of `width` numbers."""
    ids = np.empty(count, np.int64)
    lengths, quarters = np.empty(count, np.float32), np.empty((count, planes(width)), np.uint8)
    return Rows(ids, ids.copy(), np.empty((count, width), np.int8), lengths, quarters)


def planes(width: int) -> int:
    """How many bytes the quarters of a feature of `width` numbers take."""
    return -(-2 * width // 8)


def best(values: Floats, count: int) -> npt.NDArray[np.intp]:
    """Where the `count` highest values are, highest first; those of -inf are left out."""
    count = min(count, len(values))
    if not count:
        return np.zeros(0, np.intp)
    found = np.argpartition(values, len(values) - count)[len(values) - count :]
    found = found[np.argsort(-values[found], kind="stable")]
    return found[values[found] > -np.inf]
