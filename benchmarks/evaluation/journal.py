"""What a run found so far, in the cache folder: one line of JSON a sample. A run that was stopped goes on from it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from samclip_edge import cache

_FOLDER = "evaluations"
_MOST = 100  # journals of runs that nobody finished


class Journal:
    """The outcomes of a run, by the stamps of its samples. Keeps nothing on disk where there is no cache folder."""

    def __init__(self, key: str, only: Collection[str] | None = None) -> None:
        """key: all that decides the outcomes, besides the samples. only: the stamps of a part of the samples, where it
        is not about all of them."""
        self._only = only
        place = cache.folder()
        self._path = None if place is None else place / _FOLDER / cache.name_of(key)
        self._file: Any = None
        self.found: dict[str, Any] = {}

    def __enter__(self) -> Journal:
        """Read what a run before found."""
        self.found = self._held()
        return self

    def _held(self) -> dict[str, Any]:
        if self._path is not None:
            with suppress(OSError):
                return dict(filter(None, map(_read, self._path.read_bytes().split(b"\n"))))
        return {}

    def add(self, outcomes: Mapping[str, Any]) -> None:
        """Take outcomes by stamp, and write them down. What cannot be written is found again by the next run."""
        self.found.update(outcomes)
        if self._path is not None:
            with suppress(OSError):
                self._open(self._path).write(b"".join(_written(stamp, each) for stamp, each in outcomes.items()))

    def _open(self, path: Path) -> Any:
        """The file, to be added to; with room for it among the others."""
        if self._file is None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)  # nothing is left to be written, and to fail, at the end
            path.touch()
            cache.drop_oldest(path.parent, _MOST)
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it. It stays until `remove`."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Remove it, once what came of it is kept elsewhere. What it holds of other samples stays, and it with them."""
        of_others = self._only is not None and not self._held().keys() <= set(self._only)
        if self._path is not None and not of_others:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def _written(stamp: str, outcome: Any) -> bytes:
    """A line behind its checksum. It begins with the break, which also ends what a full disk or a kill cut off."""
    line = json.dumps([stamp, outcome]).encode()
    return b"\n%08x %b" % (zlib.crc32(line), line)


def _read(line: bytes) -> tuple[str, Any] | None:
    """A stamp and its outcome; None for a line that is not as it was written."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text) or not text:
        return None
    stamp, outcome = json.loads(text)
    return stamp, outcome
