"""The cache folder: what takes long to find out and comes out the same each time (docs/bundle.md, "The cache").

Losing it costs time and nothing else: an entry that is missing, cut short or somebody else's counts as not there, and a
folder that cannot be written keeps nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from samclip_edge.files import sha256, write_whole

VARIABLE = "SAMCLIP_EDGE_CACHE"  # a folder; empty or "off" keeps nothing
_NAME = re.compile(r"\.?[0-9a-f]{64}(\.\d+\.partial)?")  # of an entry, or of what a crash left of one
_DIGEST = 32  # bytes of a sha256
_SETTLED = 2_000_000_000  # nanoseconds: the coarsest clock of a file system, FAT's


def folder() -> Path | None:
    """Where things are kept: the folder that `SAMCLIP_EDGE_CACHE` names, or the user's own; None keeps nothing."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return None if given.strip().lower() in ("", "off") else Path(os.path.abspath(os.path.expanduser(given)))
    home = Path(os.path.expanduser("~"))
    places = {"Windows": ("LOCALAPPDATA", home / "AppData" / "Local"), "Darwin": ("", home / "Library" / "Caches")}
    variable, usual = places.get(platform.system(), ("XDG_CACHE_HOME", home / ".cache"))
    place = Path(os.environ.get(variable) or usual)
    return place / "samclip-edge" if place.is_absolute() else None  # else there is no home


def size() -> int:
    """Bytes of all that is kept."""
    place = folder()
    walked = os.walk(place) if place else ()
    total = 0
    for where, _, names in walked:
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total


class Shelf:
    """Entries of one kind: files named by the sha256 of their keys, each begun by the sha256 of key and content.

    A key says all that decides the content. Any number of processes may read and write at once.
    """

    def __init__(self, name: str, most: int) -> None:
        """name: of its folder in the cache. most: how many entries are kept; beyond that the oldest go."""
        self._name, self._most = name, most

    def read(self, key: str) -> bytes | None:
        """The content under a key; None where there is none."""
        place = folder()
        if place is None:
            return None
        try:
            read = self._path(place, key).read_bytes()
        except OSError:
            return None
        content = read[_DIGEST:]
        return content if read[:_DIGEST] == _seal(key, content) else None

    def write(self, entries: Mapping[str, bytes]) -> None:
        """Keep contents by their keys, if that can be done."""
        place = folder()
        if place is None or not entries:
            return
        with suppress(OSError):
            (place / self._name).mkdir(mode=0o700, parents=True, exist_ok=True)
            for key, content in entries.items():
                write_whole(self._path(place, key), _seal(key, content) + content, follow=False)
            drop_oldest(place / self._name, self._most)

    def _path(self, place: Path, key: str) -> Path:
        return place / self._name / name_of(key)


def drop_oldest(place: Path, most: int) -> None:
    """Remove the oldest entries of a folder, files or folders, so that `most` stay. Raises OSError.

    Nothing else of it is touched: a user may have named a folder that holds files of their own.
    """
    with os.scandir(place) as listed:
        ours = [each for each in listed if _NAME.fullmatch(each.name)]
    if len(ours) <= most:
        return
    for each in sorted(ours, key=lambda each: each.stat(follow_symlinks=False).st_mtime_ns)[: len(ours) - most]:
        if each.is_dir(follow_symlinks=False):
            shutil.rmtree(each.path, ignore_errors=True)
        else:
            os.unlink(each.path)


def name_of(key: str) -> str:
    """The name of the entry under a key: its sha256, in hexadecimal."""
    return hashlib.sha256(_bytes(key)).hexdigest()


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")  # a path may hold bytes that are no UTF-8


def _seal(key: str, content: bytes) -> bytes:
    return hashlib.sha256(b"%d %b%b" % (len(key), _bytes(key), content)).digest()


_HASHES = Shelf("sha256", most=4_000)


def known_sha256(path: Path, fresh: bool = False) -> str:
    """The sha256 of a file, in hexadecimal: the kept one while the file's size, inode and times are what they were.

    fresh: read the file in any case, and correct what is kept. A file that was written less than two seconds ago is
    not remembered: it could be written again without another time to show for it. Raises OSError.
    """
    before = _stamp(path)
    kept = None if fresh else _HASHES.read(before)
    if kept is not None:
        return kept.hex()
    now, stat = time.time_ns(), path.stat()
    found = sha256(path)
    if now - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED and _stamp(path) == before:
        _HASHES.write({before: bytes.fromhex(found)})
    return found


def _stamp(path: Path) -> str:
    """What changes with a file's bytes. (Of Windows, ctime is the time when it was made.)"""
    stat = path.stat()
    facts = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return "\n".join([os.path.realpath(path), *map(str, facts)])
