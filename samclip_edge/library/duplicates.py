"""Photos of a library that are the same picture.

Features would not do: two zebras are nearer to each other than a photo is to itself at half the size. Thumbnails tell
pictures apart, whatever they show.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from samclip_edge.library.matches import Match
from samclip_edge.library.rows import Floats, Rows
from samclip_edge.library.store import Store
from samclip_edge.photo.elsewhere import THUMBNAIL
from samclip_edge.progress import Progress

SAME = 0.98  # the least correlation of two thumbnails of one picture (docs/library.md)
_STEP = 1024  # photos that are compared with all behind them at once


def groups_of(store: Store, progress: Progress) -> list[list[Match]]:
    """See `Library.duplicates`."""
    with store.file.reading():
        found = store.thumbnails()
    ids, grey = [id_ for id_, *_ in found], _standardised([thumbnail for *_, thumbnail in found])
    group = np.arange(len(ids))  # the first photo of the group that each is of
    first: dict[bytes, int] = {}
    for place, (_, sha256, _) in enumerate(found):  # also of pictures of one colour, which correlate with nothing
        _join(group, first.setdefault(sha256, place), place)
    for start in progress(range(0, len(ids), _STEP), "comparing"):
        some = grey[start : start + _STEP]
        for other in range(start, len(ids), _STEP):
            alike = some @ grey[other : other + _STEP].T >= SAME
            for one, two in zip(*np.nonzero(alike), strict=True):
                _join(group, start + int(one), other + int(two))
    members = defaultdict(list)
    for place, id_ in enumerate(ids):
        members[_first(group, place)].append(id_)
    with store.file.reading():
        rows = store.rows("photo")
        there = set(rows.ids.tolist())
        groups = [[id_ for id_ in photos if id_ in there] for photos in members.values()]  # some may be gone by now
        return [_matches(store, rows, photos) for photos in groups if len(photos) > 1]


def _standardised(thumbnails: list[bytes]) -> Floats:
    """Thumbnails (N,64) whose products are their correlations; zeros where all levels are the same."""
    size = THUMBNAIL * THUMBNAIL
    levels = np.frombuffer(b"".join(each.ljust(size, b"\0")[:size] for each in thumbnails), np.uint8)
    grey = levels.reshape(-1, size).astype(np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    return np.asarray(grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6), np.float32)


def _first(group: npt.NDArray[np.intp], place: int) -> int:
    while group[place] != place:
        group[place] = place = int(group[group[place]])
    return place


def _join(group: npt.NDArray[np.intp], one: int, two: int) -> None:
    one, two = _first(group, one), _first(group, two)
    group[max(one, two)] = min(one, two)


def _matches(store: Store, rows: Rows, ids: list[int]) -> list[Match]:
    """The photos of a group, the largest first."""
    photos = sorted(((*store.photo(id_), id_) for id_ in ids), key=lambda each: (-each[1] * each[2], each[0]))
    places = [int(np.flatnonzero(rows.ids == id_)[0]) for *_, id_ in photos]
    features = rows.features(np.array(places))
    cosines = np.minimum(features @ features[0], 1.0)
    return [
        Match(path, float(cosine), None, width, height, None)
        for (path, width, height, _), cosine in zip(photos, cosines, strict=True)
    ]
