"""A library of photos, and what it can be asked.

library = Library.open("library.db", SamClip.load(), things=True)
library.add(["photos/"])                       # what is new is encoded; what is known is not
library.search("a red mug", things=True)       # photos that show it, best first; or none, and the nearest
library.like(model.look("mug.jpg"))            # photos that look like another, or like a thing in it
library.duplicates()
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.errors import InputError
from samclip_edge.library.adding import Added, add_photos, not_there
from samclip_edge.library.answering import Answering
from samclip_edge.library.duplicates import groups_of
from samclip_edge.library.file import LibraryFile
from samclip_edge.library.made_by import AGAIN, about, check
from samclip_edge.library.matches import Match
from samclip_edge.library.rows import Floats
from samclip_edge.library.searching import Asked, Searched
from samclip_edge.library.sources import absolute
from samclip_edge.library.store import Store
from samclip_edge.photo.read import MAX_PIXELS
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent


class Library(Answering):
    """A library file and the model that made it. May be asked from several threads."""

    def __init__(self, path: Path, model: SamClip, things: bool, size: Size | None) -> None:
        self.path, self.model = path, model
        self._things, self._size = things, size
        self._opened: Store | None = None
        if path.exists():
            self._take(LibraryFile(path))

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], model: SamClip, things: bool = False, size: Size | None = None
    ) -> Library:
        """Open a library. Where there is none, the first `add` makes it.

        things: have the things of each photo in it; one that was made so stays so. size: the input size that photos are
        looked at in; None: the one that it was made with, and for a new one the model's `names_size`, or with things
        its largest. Raises InputError for a file that is no library, is damaged, or of a newer format, and for one that
        was made by another model or with other settings.
        """
        return cls(Path(path), model, things, None if size is None else model.size_of(size))

    def _take(self, file: LibraryFile) -> None:
        with file.faults():
            store = Store(file)
        try:
            check(os.fspath(self.path), store.about, self.model)
            if self._things and not int(store.about["things"]):
                raise InputError(f"{self.path}: was made without things; {AGAIN}")
            if self._size is not None and str(self._size) != store.about["size"]:
                raise InputError(f" {self._size}: {self.path} was made at {store.about['size']}; {AGAIN}", "size")
        except InputError:
            file.close()
            raise
        self._opened = store

    @property
    def store(self) -> Store:
        """The opened file. Raises InputError where there is none."""
        if self._opened is None:
            if not self.path.exists():
                make = f"make it with `samclip-edge index FOLDER -o {self.path}`"
                raise InputError(f"{self.path}: no such library; {make}")
            self._take(LibraryFile(self.path))
        assert self._opened is not None
        return self._opened

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            self._opened.file.close()
            self._opened = None

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """How many photos it holds, without those that have vanished."""
        with self.store.file.reading():
            return self.store.count("photo") - self.store.count_vanished()

    @property
    def vanished(self) -> int:
        """How many photos more are marked, because they are not there any more."""
        with self.store.file.reading():
            return self.store.count_vanished()

    @property
    def things(self) -> int | None:
        """How many things it holds; None where it was made without."""
        store = self.store
        with store.file.reading():
            return store.count("thing") if int(store.about["things"]) else None

    @property
    def size(self) -> Size:
        """The input size that its photos are looked at in."""
        return of_sides(*sides(self.store.about["size"]))

    def add(
        self,
        photos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        max_pixels: int = MAX_PIXELS,
        progress: Progress = silent,
    ) -> Added:
        """Bring the library up to date with photos: folders, `.tar` shards, lists with a path a line, photo files.

        A file of the size and time that are known, or else of a known sha256, is not encoded again; one that was moved
        keeps its row. Photos of the folders and tars that are gone are marked, and answer no search. What is in hand
        goes into the file every few seconds: a stop at any moment loses no more. Returns what became of the photos,
        those that cannot be read among them; they are tried again the next time.
        Raises InputError where another process writes, the file cannot be written, or the disk is full.
        """
        if isinstance(photos, str | os.PathLike):
            photos = [photos]
        if self._opened is None and not self.path.exists():
            size = self._size or (self.model.sizes[-1] if self._things else self.model.names_size)
            self._take(LibraryFile.create(self.path, about(self.model, size, self._things)))
        return add_photos(self.store, self.model, photos, max_pixels, progress)

    def remove(self, photos: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> int:
        """Take photos out of the library, by their paths or those of their folders. Returns how many there were.

        Raises InputError for an empty path.
        """
        if isinstance(photos, str | os.PathLike):
            photos = [photos]
        if not all(map(os.fspath, photos)):
            raise InputError(": an empty path; name a photo or a folder", "photos")
        store, gone = self.store, set[int]()
        with store.file.writing():
            for path in map(absolute, photos):
                known = store.known(path)
                gone |= {known.id} if known else set(store.within(path).tolist())
            store.remove(gone)
        return len(gone)

    def prune(self) -> int:
        """Take the photos out that are marked, or not there any more. Returns how many there were."""
        store = self.store
        with store.file.writing():
            gone = not_there(store)
            store.remove(gone)
        return len(gone)

    @contextmanager
    def near(self, feature: Floats, asked: Asked) -> Iterator[Searched]:
        """See `Answering.near`: all rows, as they are in one moment."""
        store = self.store
        with store.file.reading():
            yield store

    def duplicates(self, progress: Progress = silent) -> list[list[Match]]:
        """Groups of photos that are the same picture: copies, and files that were resized or compressed again.

        They are known by thumbnails that correlate by `SAME` or more. The largest photo of a group comes first;
        `similarity` of each is the cosine of its feature and that one's.
        """
        return groups_of(self.store, progress)

    def write(self, path: str | os.PathLike[str], progress: Progress = silent) -> None:
        """Write all that it holds to a Parquet file, for other tools (`pip install 'samclip-edge[library]'`).

        Raises InputError where that cannot be written.
        """
        from samclip_edge.library.tables import write_parquet

        write_parquet(self.store, os.fspath(path), progress)
