"""Photos, things and features in a library's file: what each statement of SQL means, and none stands elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.sizes import of_sides, sides
from samclip_edge.library.file import LibraryFile
from samclip_edge.library.rows import Floats, Ids, Rows, empty, planes, rows_of
from samclip_edge.library.sources import absolute
from samclip_edge.photo.elsewhere import Source
from samclip_edge.photo.masks import Box, Rle

Kind = Literal["photo", "thing"]
DISPLACED = ":displaced/"  # in place of the folder of a photo whose path is another's now
_MOST = 2**32 - 1  # pixels of a photo, as of a mask
_COLUMNS = (("ids", "<i8"), ("photos", "<i8"), ("vectors", "i1"), ("lengths", "<f4"), ("quarters", "u1"))


class Thing(NamedTuple):
    """A thing of a photo."""

    box: Box  # x0, y0, x1, y1 in pixels of the photo
    predicted_iou: float
    mask: Rle  # of the photo made smaller: its `size` says how small


class Entry(NamedTuple):
    """What the model says of a photo."""

    width: int  # of the photo
    height: int
    thumbnail: bytes  # see `photo.elsewhere.thumbnail`
    features: Floats  # (1,E)
    things: Sequence[Thing]
    thing_features: Floats  # (T,E)


class Known(NamedTuple):
    """A photo of the library."""

    id: int
    path: str
    size: int  # bytes
    modified: int
    vanished: bool


class Store:
    """The photos of a library. Used by one thread at a time, inside `file.reading()` or `file.writing()`."""

    def __init__(self, file: LibraryFile) -> None:
        self.file = file
        with file.reading():
            self.about: Mapping[str, str] = dict(file.rows("SELECT key, value FROM about"))
            self.width = int(self.about["features"])
            if self.width < 1 or not {"bundle", "model", "name", "size", "things"} <= self.about.keys():
                raise ValueError("what it is made of is missing")
            of_sides(*sides(self.about["size"])), int(self.about["things"])
        self._seen = -1  # the file's version when rows were read
        self._rows: dict[Kind, Rows] = {}
        self._vanished: Ids = np.zeros(0, np.int64)

    # What is there.

    def count(self, kind: Kind) -> int:
        """How many photos, or things, the library holds."""
        return int(self.file.row(f"SELECT count(*) FROM {kind}s")[0])

    def count_vanished(self) -> int:
        """How many of the photos are marked."""
        return int(self.file.row("SELECT count(*) FROM photos WHERE vanished IS NOT NULL")[0])

    def every(self) -> Iterator[Known]:
        """All photos."""
        return self._known("1")

    def known(self, path: str) -> Known | None:
        """The photo of a path."""
        return next(self._known("path = ?", path), None)

    def alike(self, sha256: bytes) -> list[Known]:
        """The photos whose files are the same."""
        return list(self._known("sha256 = ?", sha256))

    def under(self, folder: str) -> Iterator[Known]:
        """The photos of a folder or a tar, which ends with a separator."""
        return self._known("path >= ? AND path < ?", folder, _after(folder))

    def vanished(self) -> list[int]:
        """The photos that were not there when last looked for."""
        return [row[0] for row in self.file.rows("SELECT id FROM photos WHERE vanished IS NOT NULL")]

    def thumbnails(self) -> list[tuple[int, bytes, bytes]]:
        """The id, the sha256 and the thumbnail of every photo that has not vanished."""
        return list(self.file.rows("SELECT id, sha256, thumbnail FROM photos WHERE vanished IS NULL ORDER BY id"))

    def digests(self) -> Iterator[bytes]:
        """The sha256 of every file."""
        return (row[0] for row in self.file.rows("SELECT sha256 FROM photos"))

    def entry(self, id_: int) -> Entry:
        """What was said of a photo, for a copy of it."""
        width, height, thumbnail = self.file.row("SELECT width, height, thumbnail FROM photos WHERE id = ?", id_)
        found = self.file.rows("SELECT id FROM things WHERE photo = ? ORDER BY id", id_)
        things = [self.thing(thing) for (thing,) in list(found)]
        features: dict[str, Floats] = {}
        for kind in ("photo", "thing"):
            blocks = list(self.file.rows("SELECT id, photos FROM blocks WHERE kind = ?", kind))
            holding = (block for block, ids in blocks if (np.frombuffer(ids, "<i8") == id_).any())
            parts = [self._block(row) for block in holding for row in self._blocks("id = ?", block)]
            rows = parts[0] if parts else empty(0, self.width)
            own = np.flatnonzero(rows.photos == id_)
            features[kind] = rows.features(own)
        return Entry(width, height, thumbnail, features["photo"], things, features["thing"])

    def _known(self, where: str, *values: object) -> Iterator[Known]:
        found = self.file.rows(f"SELECT id, path, bytes, modified, vanished FROM photos WHERE {where}", *values)
        return (Known(row[0], row[1], row[2], row[3], row[4] is not None) for row in found)

    def photo(self, id_: int) -> tuple[str, int, int]:
        """The path, width and height of a photo."""
        path, width, height = self.file.row("SELECT path, width, height FROM photos WHERE id = ?", id_)
        if not (int(width) > 0 and int(height) > 0 and width * height <= _MOST):
            raise ValueError(f"a photo of {width}x{height}")
        return path, width, height

    def thing(self, id_: int) -> Thing:
        """A thing."""
        row = self.file.row(
            "SELECT x0, y0, x1, y1, predicted_iou, mask_height, mask_width, mask FROM things WHERE id = ?", id_
        )
        return Thing(row[:4], row[4], {"size": list(row[5:7]), "counts": row[7]})

    def rows(self, kind: Kind) -> Rows:
        """The features of all photos that have not vanished, or of their things; kept until the file changes."""
        version = self.file.version
        if version != self._seen:
            self._rows.clear()
            self._vanished, self._seen = np.array(self.vanished(), np.int64), version
        if kind not in self._rows:
            rows = self._joined(kind)
            if self._vanished.size:
                rows = _those(rows, ~np.isin(rows.photos, self._vanished))
            self._rows[kind] = rows
        return self._rows[kind]

    def within(self, folder: str) -> Ids:
        """The ids of the photos of a folder or a tar."""
        folder = os.path.join(absolute(folder), "")
        rows = self.file.rows("SELECT id FROM photos WHERE path >= ? AND path < ?", folder, _after(folder))
        return np.fromiter((row[0] for row in rows), np.int64)

    def _blocks(self, where: str, *values: object) -> Iterator[tuple[object, ...]]:
        columns = ", ".join(name for name, _ in _COLUMNS)
        return self.file.rows(f"SELECT {columns} FROM blocks WHERE {where} ORDER BY id", *values)

    def _joined(self, kind: Kind) -> Rows:
        """The rows of all blocks, which are read into their places: there may be gigabytes."""
        (count,) = self.file.row("SELECT coalesce(sum(length(ids) / 8), 0) FROM blocks WHERE kind = ?", kind)
        rows, start = empty(count, self.width), 0
        for block in map(self._block, self._blocks("kind = ?", kind)):
            end = start + len(block.ids)
            for name, _ in _COLUMNS:
                getattr(rows, name)[start:end] = getattr(block, name)
            start = end
        if kind == "photo" and count != self.count("photo"):
            raise ValueError(f"features of {count} photos, of {self.count('photo')}")
        return rows

    def _block(self, row: Sequence[Any]) -> Rows:
        found = [np.frombuffer(each, form) for each, (_, form) in zip(row, _COLUMNS, strict=True)]
        ids, photos, vectors, lengths, quarters = found
        count = len(ids)
        if not count == len(photos) == len(lengths):
            raise ValueError("a block of several lengths")
        packed = quarters.reshape(count, planes(self.width))
        return Rows(ids, photos, vectors.reshape(count, self.width), lengths, packed)

    # What changes.

    def add(self, added: Iterable[tuple[Source, bytes, Entry]]) -> None:
        """Put photos, with the sha256 of each, into the library. No other has their paths."""
        photos: list[tuple[int, Entry]] = []
        things: list[int] = []
        for source, sha256, entry in added:
            id_ = self._put_photo(source, sha256, entry)
            photos.append((id_, entry))
            for (x0, y0, x1, y1), predicted_iou, mask in entry.things:
                values = (id_, x0, y0, x1, y1, predicted_iou, *mask["size"], mask["counts"])
                things.append(self.file.put(f"INSERT INTO things VALUES (NULL{', ?' * len(values)})", *values))
        if photos:
            ids, entries = [id_ for id_, _ in photos], [entry for _, entry in photos]
            of_photos = rows_of(ids, ids, _all(e.features for e in entries))
            self.put_block("photo", of_photos)
            if things:
                owners = [id_ for id_, entry in photos for _ in entry.things]
                parts = [entry for entry in entries if entry.things]
                self.put_block("thing", rows_of(things, owners, _all(e.thing_features for e in parts)))

    def remove(self, ids: Iterable[int]) -> None:
        """Take photos and all that is of them out of the library."""
        gone = list(ids)
        if not gone:
            return
        self._drop(gone)
        self.file.put_many("DELETE FROM photos WHERE id = ?", [(id_,) for id_ in gone])

    def displace(self, known: Known) -> None:
        """Note that a photo's path is another's now. It answers nothing until it is found again."""
        path = f"{DISPLACED}{known.id}"
        self.file.put("UPDATE photos SET path = ?, vanished = ? WHERE id = ?", path, int(time.time()), known.id)

    def mark(self, known: Known, source: Source | None) -> None:
        """Note where a known photo is now; that it has vanished, where `source` is None."""
        if source is None:
            self.file.put("UPDATE photos SET vanished = ? WHERE id = ?", int(time.time()), known.id)
        else:
            values = (source.path, source.size, source.modified, known.id)
            self.file.put("UPDATE photos SET path = ?, bytes = ?, modified = ?, vanished = NULL WHERE id = ?", *values)

    def _put_photo(self, source: Source, sha256: bytes, entry: Entry) -> int:
        """The id of a photo, whose row is new."""
        of_file = (source.path, source.size, source.modified, sha256)
        values = (*of_file, entry.width, entry.height, entry.thumbnail)
        return self.file.put("INSERT INTO photos VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, NULL)", *values)

    def put_block(self, kind: Kind, rows: Rows) -> None:
        """Put features into the file, those of one batch together."""
        values = [np.ascontiguousarray(getattr(rows, name).astype(form)).tobytes() for name, form in _COLUMNS]
        names = ", ".join(name for name, _ in _COLUMNS)
        self.file.put(f"INSERT INTO blocks (kind, {names}) VALUES (?, ?, ?, ?, ?, ?)", kind, *values)

    def _drop(self, photos: Sequence[int]) -> None:
        """Take the features and things of photos out. A block that holds others too is written anew without them."""
        gone = np.array(photos, np.int64)
        for id_, kind, ids in list(self.file.rows("SELECT id, kind, photos FROM blocks")):
            stays = ~np.isin(np.frombuffer(ids, "<i8"), gone)
            if stays.all():
                continue
            (block,) = map(self._block, list(self._blocks("id = ?", id_)))
            self.file.put("DELETE FROM blocks WHERE id = ?", id_)
            if stays.any():
                self.put_block(kind, _those(block, stays))
        self.file.put_many("DELETE FROM things WHERE photo = ?", [(id_,) for id_ in photos])


def _after(folder: str) -> str:
    """The first text behind all that begin with a folder's path, which ends with a separator."""
    return folder[:-1] + chr(ord(folder[-1]) + 1)


def _those(rows: Rows, which: npt.NDArray[np.bool_]) -> Rows:
    ids, photos, vectors, lengths, quarters = rows
    return Rows(ids[which], photos[which], vectors[which], lengths[which], quarters[which])


def _all(parts: Iterable[Floats]) -> Floats:
    return np.concatenate(list(parts))
