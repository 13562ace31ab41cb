"""Brings each image together with its annotations, by their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Generic, TypeVar

Member = TypeVar("Member")


class Pairs(Generic[Member]):
    """Those of a folder, or of a shard. A `Member` is whatever stands for a file."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[bool, Member]] = {}  # by the name without its ending; True: the image

    def add(self, name: str, member: Member) -> Iterator[tuple[Member, Member]]:
        """Yield an image and its annotations, when this file makes the pair whole."""
        stem, ending = os.path.splitext(name)
        pair = self._waiting.setdefault(stem, {})
        pair[ending.lower() != ".json"] = member
        if len(pair) == 2:
            yield pair[True], pair[False]
            del self._waiting[stem]

    def left(self) -> Iterator[tuple[Member, Member]]:
        """Yield pairs such as `0001.jpg` and `0001.seg.json`, by webdataset's rule: the key of a file is
        its name up to the first dot. It holds for an image and a json alone with a key, one of them named by it.
        """
        keyed: dict[str, list[str]] = {}
        for stem in self._waiting:
            folder, name = os.path.split(stem)
            keyed.setdefault(os.path.join(folder, name.partition(".")[0]), []).append(stem)
        for key, stems in keyed.items():
            both = {kind: member for stem in stems for kind, member in self._waiting[stem].items()}
            if len(stems) == len(both) == 2 and key in stems:
                yield both[True], both[False]
