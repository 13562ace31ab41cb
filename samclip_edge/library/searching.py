"""Which photos of a library answer: by words, with the chance that they are shown, or by a feature.

Photos are ranked by the cosine of their feature and of what is asked for. Where their things answer too, the rank is
the mean of that cosine and of the nearest thing's: the photo says what it is of, and the thing that it is in it. Of
words, the photos that come out best are then judged as `classify` and `find` judge a photo and a mask: the chance that
the words are shown is the higher of the photo's and of that thing's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

import numpy as np

from samclip_edge.bundle.sizes import of_sides, sides
from samclip_edge.errors import InputError
from samclip_edge.library.matches import Found, Match
from samclip_edge.library.rows import Floats, Ids, Rows, best
from samclip_edge.library.store import Kind, Thing
from samclip_edge.pipeline import SamClip
from samclip_edge.text.names import BACKGROUND_NAMES

_COMPARED = 4  # photos that are compared again and judged, for each that is asked for
_LEAST = 256  # and at least so many


class Asked(NamedTuple):
    """What is asked for, beside the words or the feature."""

    n: int  # photos at most
    photos: bool  # whether photos answer for themselves
    things: bool  # whether their things do
    under: str | None  # a folder or a tar that they are of


class Searched(Protocol):
    """What holds the rows: the whole library, or of one that lies elsewhere those that may answer."""

    about: Mapping[str, str]

    def rows(self, kind: Kind) -> Rows:
        """The features of photos, or of their things."""
        ...

    def photo(self, id_: int) -> tuple[str, int, int]:
        """The path, width and height of a photo."""
        ...

    def thing(self, id_: int) -> Thing:
        """A thing."""
        ...

    def within(self, folder: str) -> Ids:
        """The ids of the photos of a folder or a tar."""
        ...


class _Near(NamedTuple):
    """A photo that comes near."""

    place: int  # among the rows of photos
    similarity: float
    thing: int | None  # the place of its nearest thing among the rows of things


def by_words(store: Searched, model: SamClip, name: str, asked: Asked, min_score: float) -> Found:
    """Photos that show what a name says; see `Library.search`."""
    (wanted,) = model.words.features([name])
    near = _nearest(store, wanted, asked)
    scored = list(zip(near, _scores(store, model, name, near), strict=True))
    sure = [(each, score) for each, score in scored if score >= min_score]
    answer = [_match(store, *each) for each in (sure or scored)[: asked.n]]
    return Found(answer, []) if sure else Found([], answer)


def by_feature(store: Searched, feature: Floats, asked: Asked) -> list[Match]:
    """Photos that come nearest to a feature (E,); see `Library.like`."""
    return [_match(store, each, None) for each in _nearest(store, feature, asked)[: asked.n]]


def _nearest(store: Searched, feature: Floats, asked: Asked) -> list[_Near]:
    """The photos that come nearest to a feature, nearest first, a few times as many as are asked for."""
    photos = store.rows("photo")
    ranks = photos.cosines(feature)
    of_things = _Things.of(store.rows("thing"), photos, feature) if asked.things else None
    if of_things is not None:
        own = ranks if asked.photos else of_things.cosines
        ranks = np.where(np.isnan(of_things.cosines), ranks if asked.photos else -np.inf, (own + of_things.cosines) / 2)
    if asked.under is not None:
        inside = store.within(asked.under)
        if not inside.size:
            raise InputError(f" {asked.under}: no photo of the library lies in it", "under")
        ranks[~np.isin(photos.ids, inside)] = -np.inf
    count = max(_COMPARED * asked.n, _LEAST)
    places = best(ranks, count)
    if of_things is not None and asked.photos:  # and those of a thing that comes near in a photo that does not
        alone = np.where(np.isnan(of_things.cosines) | (ranks == -np.inf), -np.inf, of_things.cosines)
        places = np.unique(np.concatenate([places, best(alone, count)]))
    things = [of_things and of_things.nearest(place) for place in places.tolist()]
    cosines = photos.features(places) @ feature
    which = [k for k, thing in enumerate(things) if thing is not None]
    if which:
        of_thing = store.rows("thing").features(np.array([things[k] for k in which])) @ feature
        cosines[which] = (cosines[which] + of_thing) / 2 if asked.photos else of_thing
    order = np.argsort(-cosines, kind="stable").tolist()
    return [_Near(int(places[k]), float(cosines[k]), things[k]) for k in order]


class _Things(NamedTuple):
    """How near the things of N photos come."""

    cosines: Floats  # (N,) of the nearest thing of each photo; NaN where it has none
    all: Floats  # (T,)
    first: Ids  # (N,) where the things of each photo lie among them all
    last: Ids

    @classmethod
    def of(cls, things: Rows, photos: Rows, feature: Floats) -> _Things:
        """Held against a feature (E,). The things of one photo lie together."""
        count = len(photos.ids)
        cosines, first, last = np.full(count, np.nan, np.float32), np.zeros(count, np.int64), np.zeros(count, np.int64)
        every = things.cosines(feature)
        starts = np.flatnonzero(np.diff(things.photos, prepend=-1))
        if starts.size and count:
            order = np.argsort(photos.ids, kind="stable")
            found = np.searchsorted(photos.ids, things.photos[starts], sorter=order)
            place = order[np.minimum(found, count - 1)]
            cosines[place] = np.maximum.reduceat(every, starts)
            first[place], last[place] = starts, np.append(starts[1:], len(every))
        return cls(cosines, every, first, last)

    def nearest(self, place: int) -> int | None:
        """The place of a photo's nearest thing among all things."""
        part = self.all[self.first[place] : self.last[place]]
        return int(self.first[place] + part.argmax()) if part.size else None


def _scores(store: Searched, model: SamClip, name: str, near: list[_Near]) -> list[float]:
    """The chance of each photo that it shows what a name says, or that its nearest thing does."""
    judge, size = model.judge, of_sides(*sides(store.about["size"]))

    def chances(rows: Rows, places: list[int], kind: Literal["photo", "mask"]) -> list[float]:
        odds = judge.log_odds(rows.features(np.array(places, np.intp)), [name], BACKGROUND_NAMES)[:, 0]
        return judge.chance(kind, size, odds).tolist()

    scores = chances(store.rows("photo"), [each.place for each in near], "photo")
    with_thing = [k for k, each in enumerate(near) if each.thing is not None]
    if with_thing:
        things = [each.thing for each in near if each.thing is not None]
        for k, chance in zip(with_thing, chances(store.rows("thing"), things, "mask"), strict=True):
            scores[k] = max(scores[k], chance)
    return scores


def _match(store: Searched, near: _Near, score: float | None) -> Match:
    path, width, height = store.photo(int(store.rows("photo").ids[near.place]))
    thing = None if near.thing is None else store.thing(int(store.rows("thing").ids[near.thing]))
    return Match(path, near.similarity, score, width, height, thing)
