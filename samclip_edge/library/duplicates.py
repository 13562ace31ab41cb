"""Photos of a library that show the same."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from samclip_edge.library.matches import Match
from samclip_edge.library.store import Store
from samclip_edge.progress import Progress

SAME = 0.97  # the least cosine of two photos that show the same
_STEP = 1024  # photos that are compared with all behind them at once


def groups_of(store: Store, progress: Progress) -> list[list[Match]]:
    """See `Library.duplicates`."""
    rows = store.rows("photo")
    group = np.arange(len(rows.ids))  # the first photo of the group that each is of
    everyone = np.arange(len(rows.ids))
    for start in progress(range(0, len(rows.ids), _STEP), "comparing"):
        some = rows.features(everyone[start : start + _STEP])
        for other in range(start, len(rows.ids), _STEP):
            cosines = some @ rows.features(everyone[other : other + _STEP]).T
            for one, two in zip(*np.nonzero(cosines >= SAME), strict=True):
                _join(group, start + int(one), other + int(two))
    members = defaultdict(list)
    for place in everyone.tolist():
        members[_first(group, place)].append(place)
    groups = []
    for places in members.values():
        if len(places) == 1:
            continue
        photos = [(place, *store.photo(int(rows.ids[place]))) for place in places]
        photos.sort(key=lambda each: (-each[2] * each[3], each[1]))
        features = rows.features(np.array([place for place, *_ in photos]))
        cosines = np.minimum(features @ features[0], 1.0)
        groups.append(
            [
                Match(path, float(cosine), None, width, height, None)
                for (_, path, width, height), cosine in zip(photos, cosines, strict=True)
            ]
        )
    return groups


def _first(group: npt.NDArray[np.intp], place: int) -> int:
    while group[place] != place:
        group[place] = place = int(group[group[place]])
    return place


def _join(group: npt.NDArray[np.intp], one: int, two: int) -> None:
    one, two = _first(group, one), _first(group, two)
    group[max(one, two)] = min(one, two)
