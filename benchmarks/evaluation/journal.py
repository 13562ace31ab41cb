"""What a run found so far, in the cache folder: one line of JSON a sample. A run that was stopped goes on from it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from samclip_edge import cache

_FOLDER = "evaluations"
_MOST = 100  # journals of runs that nobody finished


class Journal:
    """The outcomes of a run, by the keys of its samples. Keeps nothing on disk where there is no cache folder."""

    def __init__(self, key: str) -> None:
        """key: all that decides the outcomes."""
        place = cache.folder()
        self.path: Path | None = None if place is None else place / _FOLDER / cache.name_of(key)
        self.found: dict[str, Any] = {}
        self._file: Any = None

    def __enter__(self) -> Journal:
        """Read what a run before found. A last line that was cut off is dropped."""
        if self.path is not None:
            with suppress(OSError):
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                whole = self._read(self.path)
                cache.drop_oldest(self.path.parent, _MOST)
                self._file = self.path.open("ab")
                self._file.truncate(whole)
        return self

    def _read(self, path: Path) -> int:
        """Take the whole lines of a journal. Returns their length in bytes."""
        whole = 0
        if path.is_file():
            for line in path.read_bytes().splitlines(keepends=True):
                try:
                    key, outcome = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                self.found[key] = outcome
                whole += len(line)
        return whole

    def add(self, outcomes: Mapping[str, Any]) -> None:
        """Take outcomes by key, and write them down. What cannot be written is found again by the next run."""
        self.found.update(outcomes)
        if self._file is not None:
            with suppress(OSError):
                self._file.write(b"".join(json.dumps([key, each]).encode() + b"\n" for key, each in outcomes.items()))
                self._file.flush()

    def of(self, keys: Iterable[str]) -> dict[str, Any]:
        """The outcomes of those keys that have one, in their order."""
        return {key: self.found[key] for key in keys if key in self.found}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; and remove it where the run came to its end."""
        if self._file is not None:
            self._file.close()
        if kind is None and self.path is not None:
            with suppress(OSError):
                os.unlink(self.path)
