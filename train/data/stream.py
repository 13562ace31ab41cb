"""Reads tar shards as a stream: nothing is listed first, and a shard is read from its beginning to its end.

Only the names of the shards are known. In each epoch they stand in another order, and all epochs, one after the other,
are one endless row. The row is dealt like cards to the *lanes*, which are the loader processes of all processes of a
run: so every image comes once an epoch, and all lanes take as many shards. Where there are fewer shards than lanes, a
card is not a whole shard but every n-th sample of one.

A lane has several shards open and takes each sample from one of them, drawn at random. This mixes shards that are
sorted by class. No samples are buffered, so that where a lane stands is a few numbers (`Position`); to go on from them,
it passes over what was taken of the open shards, by their headers where they are plain tars.

webdataset reads the same layout (1.0.2 was looked at). But its streams cannot go on from where they were, its reader
takes a damaged header for the end of a shard without a word, and it wants the files of a sample side by side.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeInt

from samclip_edge.errors import InputError
from samclip_edge.train.data.files import TRIES, BrokenSample, Raw
from samclip_edge.train.data.pairs import Pairs
from samclip_edge.train.data.places import IMAGES, all_under, digest, is_litter
from samclip_edge.train.data.shards import DamagedShard, contents, damage_told, is_shard, open_shard, part
from samclip_edge.train.data.sources import Masked, Picture, Source, View, generator, masked, pictured
from samclip_edge.train.recipe import Batch, Data

OPEN = 16  # shards that a lane has open, where there are so many


class Drawn(NamedTuple):
    """A sample of a stream."""

    key: tuple[int, int, int]  # its shard, its number in the shard, and the epoch: its crop and prompts depend on them
    raw: Raw


class Position(NamedTuple):
    """Where a lane stands."""

    following: NonNegativeInt  # the place in the row of the next shard to open
    drawn: NonNegativeInt  # how often a shard was drawn
    opened: list[
        tuple[NonNegativeInt, NonNegativeInt]
    ]  # its place in the row, and the samples taken, of each open shard


class Stood(NamedTuple):
    """Where data stood when a run was stopped."""

    names: str  # the digest of what it was (`Stream.names`, `Source.names`)
    shards: NonNegativeInt
    lanes: list[Position]  # of a stream; data by number has none


class Stream:
    """The images in tar shards, as endless lanes of samples; with annotations beside them if `annotated` (SA-1B)."""

    def __init__(self, paths: Sequence[Path], seed: int, annotated: bool, images: int | None) -> None:
        """images: how many there are in all, if that is known (`Data.images`)."""
        self.paths, self.seed, self.annotated, self.images = list(paths), seed, annotated, images
        self.damaged: set[str] = set()  # what was said of shards that are not whole

    def __len__(self) -> int:
        """How many images there are; 0 if that is not known."""
        return self.images or 0

    def picture(self, sample: Drawn, shape: Batch, templates: Sequence[str], view: View | None) -> Picture:
        """See `Source.picture`."""
        return pictured(sample.raw, shape, generator(self.seed, "crop", *sample.key), view)

    def masked(self, sample: Drawn, shape: Batch, most: int) -> Masked:
        """See `Source.masked`."""
        return masked(sample.raw, shape.size, most, generator(self.seed, "prompt", *sample.key))

    @functools.cached_property
    def names(self) -> list[str]:
        """What a position depends on: the shards."""
        return [str(path) for path in self.paths]

    def starts(self, lanes: int, stood: Stood | None = None) -> list[Position]:
        """Where each lane starts. stood: where they stood when the run was stopped, if it was.

        If there were not as many lanes, or other shards, they start with an epoch that none has begun. What is lost is
        the rest of the last epochs that were begun, at most one in most cases.
        """
        if stood and stood.names == digest(self.names) and len(stood.lanes) == lanes:
            return stood.lanes
        first = 0
        if stood and stood.lanes:
            before = len(stood.lanes)
            reached = max(each.following - before for each in stood.lanes)
            first = 1 + reached // (stood.shards * cut(stood.shards, before))
        return [Position(first * len(self.paths) * cut(len(self.paths), lanes) + lane, 0, []) for lane in range(lanes)]


def cut(shards: int, lanes: int) -> int:
    """Into how many cards each shard is cut, so that every lane has one in an epoch."""
    return -(-lanes // shards)


def open_data(data: Data, seed: int, annotated: bool, cache: Path) -> Source | Stream:
    """The data of a recipe for training: a stream where all its images are in tar shards and no answers are stored, by
    number. What else lies there does not matter, as img2dataset's `00000_stats.json` beside each shard."""
    if data.files and not data.variants:
        paths = all_under(data.files)
        shards = [path for path in paths if is_shard(path)]
        if shards and not any(path.suffix.lower() in IMAGES for path in paths):
            return Stream(shards, seed, annotated, data.images)
    return Source(data, seed, annotated, cache)


def names_in(sam_data: Source | Stream) -> list[str]:
    """The names that the masks of D_SAM have. Raises InputError where they cannot be listed, or there is none."""
    if isinstance(sam_data, Stream):
        raise InputError("recipe: names are listed first, and sam_data is tar shards, which are not; name folders")
    found = list(sam_data.kinds())
    if not found:
        raise InputError("recipe: no mask of sam_data has a name; leave out names, or name other files")
    return found


class _Card:
    """A shard, or every n-th sample of one, at its place in the row, being read."""

    def __init__(self, stream: Stream, cut: int, row: int, taken: int) -> None:
        self.row, self.taken = row, taken
        self.epoch, place = divmod(row, len(stream.paths) * cut)
        self.shard, offset = divmod(int(_order(stream.seed, self.epoch, len(stream.paths) * cut)[place]), cut)
        self.path = stream.paths[self.shard]
        self.held = False  # whether the shard is known to hold a sample, be it of another card
        self._samples = itertools.islice(self._all(stream.annotated), offset + taken * cut, None, cut)

    def _all(self, annotated: bool) -> Iterator[tuple[int, Raw]]:
        for number, raw in enumerate(samples_of(self.path, annotated)):
            self.held = True
            yield number, raw

    def take(self) -> Drawn | None:
        """The next sample, or None at the end. Raises DamagedShard where the shard is damaged."""
        number, raw = next(self._samples, (0, None))
        if raw is None:
            return None
        self.taken += 1
        return Drawn((self.shard, number, self.epoch), raw)


class Lane(Iterator[Drawn]):
    """What one loader process reads of a stream, without end."""

    def __init__(self, stream: Stream, lanes: int, start: Position) -> None:
        """lanes: how many there are in all. start: where this one starts, one of `Stream.starts`."""
        self.stream, self.lanes, self._cut = stream, lanes, cut(len(stream.paths), lanes)
        self.damaged: list[str] = []  # what is to be said of shards that are not whole
        self._width = max(1, min(OPEN, len(stream.paths) * self._cut // lanes))
        self._following, self._drawn = start.following, start.drawn
        self._cards = [_Card(stream, self._cut, *each) for each in start.opened]

    @property
    def position(self) -> Position:
        """Where it stands: `Lane` goes on from there."""
        return Position(self._following, self._drawn, [(card.row, card.taken) for card in self._cards])

    def _deal(self) -> _Card:
        self._following += self.lanes
        return _Card(self.stream, self._cut, self._following - self.lanes, 0)

    def __next__(self) -> Drawn:
        """Raises BrokenSample when many shards in a row hold nothing."""
        while len(self._cards) < self._width:
            self._cards.append(self._deal())
        empty = 0  # shards in a row without a sample; one with fewer samples than cards is none of them
        while empty < TRIES:
            random = generator(self.stream.seed, "card", self._following % self.lanes, self._drawn)
            place = int(random.integers(len(self._cards)))
            self._drawn += 1
            card = self._cards[place]
            try:
                sample = card.take()
            except DamagedShard as error:
                self.damaged.append(str(error))
                sample = None
            if sample is not None:
                return sample
            empty = 0 if card.held else empty + 1
            self._cards[place] = self._deal()
        wanted = "image with a json of annotations beside it" if self.stream.annotated else "image"
        last = self.damaged[-1] if self.damaged else str(card.path)
        raise BrokenSample(f"{TRIES} shards in a row hold no {wanted}; the last: {last}")


@functools.lru_cache(maxsize=8)
def _order(seed: int, epoch: int, cards: int) -> npt.NDArray[np.int64]:
    return generator(seed, "shards", epoch).permutation(cards)


def samples_of(shard: Path, annotated: bool) -> Iterator[Raw]:
    """The images of a tar shard, in order; if `annotated`, those with a json of the same name.

    The bytes of a plain tar are read when they are asked for, so a sample must be used before the next one is taken.
    Those of a compressed one are read as it unpacks; of files that lie apart from their pair, it holds them until then.
    Raises DamagedShard where it is damaged, after the samples before that place.
    """
    file, unpacks = open_shard(shard)
    pairs: Pairs[tuple[str, Callable[[], bytes]]] = Pairs()
    damage: DamagedShard | None = None

    def raw(image: tuple[str, Callable[[], bytes]], *annotations: tuple[str, Callable[[], bytes]]) -> Raw:
        return Raw(f"{shard} ({image[0]})", image[1], *(read for _, read in annotations))

    with file:
        try:
            for name, offset, length in contents(file, shard):
                ending = os.path.splitext(name)[1].lower()
                if is_litter(name) or not (ending in IMAGES or (annotated and ending == ".json")):
                    continue
                read = functools.partial(part, file, offset, length)
                if unpacks:
                    with damage_told(shard):
                        read = functools.partial(bytes, read())
                if not annotated:
                    yield raw((name, read))
                for pair in pairs.add(name, (name, read)) if annotated else ():
                    yield raw(*pair)
        except DamagedShard as error:
            damage = error
        for pair in pairs.left():
            yield raw(*pair)
    if damage is not None:
        raise damage
