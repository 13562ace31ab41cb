"""Reads images by number from folders and tar shards, in any order and from any process.

That is for what has to be numbered: folders, `held_out`, and data with stored answers. Else tar shards are a stream
(`stream`), of which nothing is listed.

The place of each file is looked up once and kept in an index file in the run's folder. Processes map the index into
memory. It takes 24 bytes for each image (48 with annotations) and has no names, so that it stays small with forty
million images. A plain tar is read where it lies; a compressed one is unpacked into the run's folder once.

Whatever a file of somebody else's can do wrong while it is read and decoded ends as a `BrokenSample`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.decode import has_end
from samclip_edge.photo.read import read_photo
from samclip_edge.train.data.annotations import Annotation, Bits, Segmentation, annotations_of, bits_of
from samclip_edge.train.data.pairs import Pairs
from samclip_edge.train.data.places import IMAGES, all_under, is_litter
from samclip_edge.train.data.shards import DamagedShard, contents, damage_told, is_shard, plain, read_part

log = logging.getLogger(__name__)

TRIES = 100  # broken samples in a row before a run gives up on its data
Row = tuple[int, ...]


class BrokenSample(Exception):
    """A sample cannot be used. The text names it and says why."""


class Raw:
    """An image as its file holds it, and its annotations where they are wanted; nothing of it is read yet.

    Whatever is done with it may raise BrokenSample, which names it.
    """

    def __init__(self, name: str, image: Callable[[], bytes], annotations: Callable[[], bytes] | None = None) -> None:
        """name: for messages. image, annotations: read the bytes of their files."""
        self.name, self._image, self._annotations = name, image, annotations

    @contextlib.contextmanager
    def reading(self, fault: str = "cannot be used") -> Iterator[None]:
        """What is done inside with the sample may fail in any way: it raises BrokenSample.

        The bytes are somebody else's, and decoders raise whatever they like over them.
        """
        try:
            yield
        except (BrokenSample, ImportError):
            raise
        except Exception as error:
            raise BrokenSample(f"{self.name}: {fault} ({one_line(error)})") from error

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The image (H,W,3) RGB. A JPEG without its end is broken."""
        with self.reading():
            data = self._image()
            if data.startswith(b"\xff\xd8") and not has_end(data):
                raise ValueError("the JPEG is truncated: it has no end mark")
            return read_photo(data)

    def annotations(self) -> list[Annotation]:
        """All that is annotated on the image, crowds too."""
        assert self._annotations
        with self.reading("annotations cannot be read"):
            return annotations_of(self._annotations())

    def masks(self) -> list[Annotation]:
        """The annotated masks of the image, at least one; without crowds."""
        found = [each for each in self.annotations() if not each.crowd]
        if not found:
            raise BrokenSample(f"{self.name}: no annotations")
        return found

    def bits(self, segmentation: Segmentation, shape: tuple[int, int]) -> Bits:
        """Decode a mask (H,W) of the image, whose shape is (H,W). One of another size is broken."""
        with self.reading("a mask cannot be used"):
            return bits_of(segmentation, shape)


class Member(NamedTuple):
    """One file, on its own or inside a tar shard: the index of its path, its first byte there, its length in bytes."""

    shard: int
    offset: int
    length: int


class Files:
    """The images in folders, files and tar shards. If `annotated`, only those with a json of the same name (SA-1B)."""

    def __init__(self, places: Sequence[str], annotated: bool, cache: Path) -> None:
        """places: see `places.under`. cache: the folder where the index, and what is unpacked, is kept.

        A damaged tar shard costs what lies behind the damage; a warning names it. Raises InputError for a place that is
        not there, or places without images.
        """
        asked = [(path, _facts(path)) for path in all_under(places)]
        listed = [(path, facts) for path, facts in asked if facts is not None]
        self.paths = [path for path, _ in listed]
        self.annotated = annotated
        self._opened: dict[int, Path] = {}
        self._damaged: list[DamagedShard] = []
        for shard, path in enumerate(self.paths):
            if is_shard(path):
                with self._told():
                    self._opened[shard] = path  # of which nothing is read, where it cannot be unpacked
                    self._opened[shard] = plain(path, cache)
        key = json.dumps([annotated, [(str(path), *facts) for path, facts in listed]])
        index = cache / f"index-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npy"
        rows = _mapped(index)
        if rows is None:
            rows = np.array(list(self._scan()), np.int64).reshape(-1, 6 if annotated else 3)
            if len(rows):
                _write_rows(index, rows)
                rows = np.load(index, mmap_mode="r")
        self._rows = rows
        if not len(rows):
            if self._damaged:
                raise self._damaged[0]
            wanted = "images with a json of annotations beside them" if annotated else "images"
            raise InputError(f"files {', '.join(places)}: hold no {wanted}")

    def _scan(self) -> Iterator[Row]:
        """Yield an index row for each image: its `Member`, then, if annotated, that of its annotations."""
        beside: Pairs[Member] = Pairs()
        for shard, path in enumerate(self.paths):
            if shard not in self._opened:
                yield from self._found(str(path), Member(shard, 0, 0), beside)
                continue
            inside: Pairs[Member] = Pairs()  # an image and its json lie in the same shard
            with self._told(), damage_told(path), self._opened[shard].open("rb") as file:
                for name, offset, length in contents(file, path):
                    if not is_litter(name):
                        yield from self._found(name, Member(shard, offset, length), inside)
            yield from _rows(inside.left())
        yield from _rows(beside.left())

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Go on behind a damaged shard, once, with a warning that names it."""
        try:
            yield
        except DamagedShard as error:
            if not any(str(error).partition(": ")[0] == str(each).partition(": ")[0] for each in self._damaged):
                log.warning("%s; the run goes on with what is whole", error)
            self._damaged.append(error)

    def _found(self, name: str, member: Member, pairs: Pairs[Member]) -> Iterator[Row]:
        ending = os.path.splitext(name)[1].lower()
        if not self.annotated and ending in IMAGES:
            yield member
        elif self.annotated and ending in (*IMAGES, ".json"):
            yield from _rows(pairs.add(name, member))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Raw:
        """A sample. Its name is its path, with its bytes in a tar shard."""
        row = [int(value) for value in self._rows[index]]
        shard, offset, length = row[:3]
        name = str(self.paths[shard])
        if shard in self._opened:
            unpacked = "" if self._opened[shard] == self.paths[shard] else " once unpacked"
            name = f"{name} (bytes {offset} to {offset + length}{unpacked})"
        annotations = functools.partial(self._bytes, *row[3:]) if self.annotated else None
        return Raw(name, functools.partial(self._bytes, *row[:3]), annotations)

    def _bytes(self, shard: int, offset: int, length: int) -> bytes:
        if shard not in self._opened:
            return self.paths[shard].read_bytes()
        return read_part(self._opened[shard], offset, length)


def _rows(pairs: Iterator[tuple[Member, Member]]) -> Iterator[Row]:
    return ((*image, *annotations) for image, annotations in pairs)


def _facts(path: Path) -> tuple[int, int] | None:
    """The size of a file in bytes and the time it was written, for the key of the index: zeros where it does not say,
    so that it is named when it is drawn. None for a pipe or a device, which a folder may hold too."""
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return (facts.st_size, facts.st_mtime_ns) if stat.S_ISREG(facts.st_mode) else None


def _mapped(index: Path) -> npt.NDArray[np.int64] | None:
    """An index that is there and whole."""
    try:
        return np.load(index, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None


def _write_rows(index: Path, rows: npt.NDArray[np.int64]) -> None:
    partial = index.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.save(file, rows)
        os.replace(partial, index)
    finally:
        partial.unlink(missing_ok=True)
