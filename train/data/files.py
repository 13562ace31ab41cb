"""Reads images by number from folders and tar shards, in any order and from any process.

The place of each file is looked up once and kept in an index file in the run's folder. Processes map the index into
memory. It takes 24 bytes for each image (48 with annotations) and has no names, so that it stays small with forty
million images. A plain tar is read where it lies; a compressed one is unpacked into the run's folder once.

Whatever a file of somebody else's can do wrong while it is read and decoded ends as a `BrokenSample`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.decode import has_end
from samclip_edge.photo.read import read_photo
from samclip_edge.train.data.annotations import Bits, Segmentation, bits_of, segmentations
from samclip_edge.train.data.places import IMAGES, is_litter, under
from samclip_edge.train.data.shards import DamagedShard, contents, is_shard, plain

log = logging.getLogger(__name__)

Row = tuple[int, ...]


class BrokenSample(Exception):
    """A sample cannot be used. The text names it and says why."""


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
        asked = [(path, _facts(path)) for place in places for path in under(place)]
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
        beside = _Pairs()
        for shard, path in enumerate(self.paths):
            if shard not in self._opened:
                yield from self._found(str(path), Member(shard, 0, 0), beside)
                continue
            inside = _Pairs()  # an image and its json lie in the same shard
            with self._told():
                for name, offset, length in contents(self._opened[shard], path):
                    if not is_litter(name):
                        yield from self._found(name, Member(shard, offset, length), inside)
            yield from inside.left()
        yield from beside.left()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Go on behind a damaged shard, once, with a warning that names it."""
        try:
            yield
        except DamagedShard as error:
            if not any(str(error).partition(": ")[0] == str(each).partition(": ")[0] for each in self._damaged):
                log.warning("%s; the run goes on with what is whole", error)
            self._damaged.append(error)

    def _found(self, name: str, member: Member, pairs: _Pairs) -> Iterator[Row]:
        ending = os.path.splitext(name)[1].lower()
        if not self.annotated and ending in IMAGES:
            yield member
        elif self.annotated and ending in (*IMAGES, ".json"):
            yield from pairs.add(name, member)

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        """The path of a sample, and its bytes in a tar shard, for messages."""
        shard, offset, length = (int(value) for value in self._rows[index][:3])
        path = self.paths[shard]
        if shard not in self._opened:
            return str(path)
        unpacked = "" if self._opened[shard] == path else " once unpacked"
        return f"{path} (bytes {offset} to {offset + length}{unpacked})"

    @contextlib.contextmanager
    def reading(self, index: int, fault: str = "cannot be used") -> Iterator[None]:
        """What is done inside with a sample may fail in any way: it raises BrokenSample, which names the sample.

        The bytes are somebody else's, and decoders raise whatever they like over them.
        """
        try:
            yield
        except (BrokenSample, ImportError):
            raise
        except Exception as error:
            raise BrokenSample(f"{self.name(index)}: {fault} ({one_line(error)})") from error

    def _bytes(self, row: npt.NDArray[np.int64]) -> bytes:
        shard, offset, length = (int(value) for value in row)
        if shard not in self._opened:
            return self.paths[shard].read_bytes()
        with self._opened[shard].open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) < length:
            raise OSError("the tar shard ends before it does")
        return data

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image (H,W,3) RGB. Raises BrokenSample when it cannot be decoded, or is a JPEG without its end."""
        with self.reading(index):
            data = self._bytes(self._rows[index][:3])
            if data.startswith(b"\xff\xd8") and not has_end(data):
                raise ValueError("the JPEG is truncated: it has no end mark")
            return read_photo(data)

    def masks(self, index: int) -> list[Segmentation]:
        """The annotated masks of an image as they are stored. Raises BrokenSample when none can be read."""
        with self.reading(index, "annotations cannot be read"):
            found = segmentations(self._bytes(self._rows[index][3:]))
        if not found:
            raise BrokenSample(f"{self.name(index)}: no annotations")
        return found

    def bits(self, index: int, segmentation: Segmentation, shape: tuple[int, int]) -> Bits:
        """Decode a mask (H,W) of an image of `shape` (H,W). Raises BrokenSample if it is damaged or of another size."""
        with self.reading(index, "a mask cannot be used"):
            return bits_of(segmentation, shape)


class _Pairs:
    """Brings each image together with its annotations, by their names."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[bool, Member]] = {}  # by the name without its ending; True: the image

    def add(self, name: str, member: Member) -> Iterator[Row]:
        """Yield the index row of a pair, when this file makes it whole."""
        stem, ending = os.path.splitext(name)
        pair = self._waiting.setdefault(stem, {})
        pair[ending.lower() != ".json"] = member
        if len(pair) == 2:
            yield (*pair[True], *pair[False])
            del self._waiting[stem]

    def left(self) -> Iterator[Row]:
        """Yield the rows of pairs such as `0001.jpg` and `0001.seg.json`, by webdataset's rule: the key of a file is
        its name up to the first dot. It holds for an image and a json alone with a key, one of them named by it.
        """
        keyed: dict[str, list[str]] = {}
        for stem in self._waiting:
            folder, name = os.path.split(stem)
            keyed.setdefault(os.path.join(folder, name.partition(".")[0]), []).append(stem)
        for key, stems in keyed.items():
            both = {kind: member for stem in stems for kind, member in self._waiting[stem].items()}
            if len(stems) == len(both) == 2 and key in stems:
                yield (*both[True], *both[False])


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
