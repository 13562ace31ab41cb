"""Indexing against encoding alone, and what the things of a photo cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.bundle.sizes import Size
from samclip_edge.library import Library
from samclip_edge.library import things as of_things
from samclip_edge.library.entries import entries_of, wanted_by
from samclip_edge.library.sources import listed
from samclip_edge.photo.elsewhere import decode
from samclip_edge.photo.read import MAX_PIXELS
from samclip_edge.pipeline import SamClip
from samclip_edge.together import at_once

ROUNDS = 3


class Rates(NamedTuple):
    """Photos a second, each round's."""

    bundle: str
    size: Size
    photos: int
    encoding: list[float]
    indexing: list[float]  # the photos are read and decoded too, and a library is written
    things: list[float]  # indexing with things
    found: float  # things a photo

    @property
    def share(self) -> float:
        """The rate of indexing over that of encoding: the median of the rounds'."""
        return float(np.median(np.divide(self.indexing, self.encoding)))

    @property
    def cost(self) -> float:
        """The time of a photo with its things over that of encoding it: the median of the rounds'."""
        return float(np.median(np.divide(self.encoding, self.things)))


def rates(name: str, model: SamClip, size: Size, photos: Sequence[str], folder: Path, trained: bool) -> Rates:
    """Measure a model. photos: files. trained: else the masks of random weights count as good ones, all that there is
    room for: so things cost what they cost where a photo is full of them."""
    decoded = [decode(each, wanted_by(model, size, MAX_PIXELS), frozenset()) for each in listed(photos).sources]
    most = at_once(model.bundle, size, named=True)
    found = Rates(name, size, len(photos), [], [], [], 0)
    kept = of_things.PREDICTED_IOU, of_things.STABILITY, of_things.OVERLAP
    if not trained:
        of_things.PREDICTED_IOU, of_things.STABILITY, of_things.OVERLAP = -np.inf, 0.0, 1.0

    def encode(some: int) -> None:
        for start in range(0, some, most):
            entries_of(model, decoded[start : start + most], size, with_things=False)

    def index(things: bool) -> tuple[float, int]:
        place = folder / "indexing.db"
        place.unlink(missing_ok=True)
        start = time.perf_counter()
        with Library.open(place, model, things, size) as library:
            library.add(photos)
            taken = time.perf_counter() - start
            return len(photos) / taken, library.things or 0

    try:
        encode(most)  # opens the graphs
        entries_of(model, decoded[:1], size, with_things=True)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            encode(len(decoded))
            found.encoding.append(len(decoded) / (time.perf_counter() - start))
            found.indexing.append(index(things=False)[0])
            rate, things = index(things=True)
            found.things.append(rate)
    finally:
        of_things.PREDICTED_IOU, of_things.STABILITY, of_things.OVERLAP = kept
        (folder / "indexing.db").unlink(missing_ok=True)
    return found._replace(found=things / len(photos))


def loaded(bundle: Path | str | None, threads: int) -> SamClip:
    """A model on so many threads."""
    model = SamClip.load(bundle)
    return SamClip(model.bundle, SessionOptions(threads))


def plain(found: Rates) -> dict[str, Any]:
    """As a dictionary."""
    return found._asdict() | {"share": found.share, "cost": found.cost}
