"""Which photos of a library answer: by words, with the chance that they are shown, or by a feature.

All rows are compared with what is asked for. For words, those that come out best are then judged as `classify` and
`find` judge a photo and a mask, so that chances of photos and of things are on one scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.errors import InputError
from samclip_edge.library.matches import Found, Match
from samclip_edge.library.rows import Floats, Ids, Rows, best
from samclip_edge.library.store import Kind, Store
from samclip_edge.pipeline import SamClip
from samclip_edge.text.judge import sigmoid
from samclip_edge.text.names import BACKGROUND_NAMES

_POOL = {"photo": 4, "thing": 40}  # rows that are judged, for each photo that is asked for
_LEAST = 256  # and at least so many


class Asked(NamedTuple):
    """What is asked for, beside the words or the feature."""

    n: int  # photos at most
    kinds: tuple[Kind, ...]  # what may answer
    under: str | None  # a folder or a tar that they are of


class _Near(NamedTuple):
    rank: float  # the higher the better, over both kinds
    similarity: float
    score: float | None
    photo: int
    thing: int | None


def by_words(store: Store, model: SamClip, name: str, asked: Asked, min_score: float) -> Found:
    """Photos that show what a name says; see `Library.search`."""
    judge, size = model.judge, _size(store)
    (wanted,) = model.words.features([name])
    inside, near = _inside(store, asked), list[_Near]()
    for kind in asked.kinds:
        rows = store.rows(kind)
        keys = model.words.logit_scale * rows.cosines(wanted) - rows.rivals
        top = best(_among(keys, rows, inside), max(_POOL[kind] * asked.n, _LEAST))
        features = rows.features(top)
        log_odds = judge.log_odds(features, [name], BACKGROUND_NAMES)[:, 0]
        ranks = judge.calibrated("photo" if kind == "photo" else "mask", size, log_odds)
        near += _near(kind, rows, top, ranks, features @ wanted, sigmoid(ranks))
    found = _best(near)
    sure = [each for each in found if each.score is not None and each.score >= min_score]
    matches = [_match(store, each) for each in (sure or found)[: asked.n]]
    return Found(matches, []) if sure else Found([], matches)


def by_feature(store: Store, feature: Floats, asked: Asked) -> list[Match]:
    """Photos that come nearest to a feature (E,); see `Library.like`."""
    inside, near = _inside(store, asked), list[_Near]()
    for kind in asked.kinds:
        rows = store.rows(kind)
        cosines = rows.cosines(feature)
        top = best(_among(cosines.copy(), rows, inside), max(_POOL[kind] * asked.n, _LEAST))
        near += _near(kind, rows, top, cosines[top], cosines[top], None)
    return [_match(store, each) for each in _best(near)[: asked.n]]


def _inside(store: Store, asked: Asked) -> Ids | None:
    if asked.under is None:
        return None
    inside = store.within(asked.under)
    if not inside.size:
        raise InputError(f" {asked.under}: no photo of the library lies in it", "under")
    return inside


def _among(values: Floats, rows: Rows, inside: Ids | None) -> Floats:
    if inside is not None:
        values[~np.isin(rows.photos, inside)] = -np.inf
    return values


def _near(
    kind: Kind, rows: Rows, top: Ids, ranks: Floats, cosines: Floats, scores: Iterable[float] | None
) -> list[_Near]:
    return [
        _Near(float(rank), float(cosine), None if score is None else float(score), int(rows.photos[at]), thing)
        for at, rank, cosine, score, thing in zip(
            top,
            ranks,
            cosines,
            [None] * len(top) if scores is None else scores,
            rows.ids[top].tolist() if kind == "thing" else [None] * len(top),
            strict=True,
        )
    ]


def _best(near: Iterable[_Near]) -> list[_Near]:
    """The best of each photo, best first."""
    found: dict[int, _Near] = {}
    for each in sorted(near, key=lambda each: -each.rank):
        found.setdefault(each.photo, each)
    return list(found.values())


def _match(store: Store, near: _Near) -> Match:
    path, width, height = store.photo(near.photo)
    thing = None if near.thing is None else store.thing(near.thing)
    return Match(path, near.similarity, near.score, width, height, thing)


def _size(store: Store) -> Size:
    return of_sides(*sides(store.about["size"]))
