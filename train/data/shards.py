"""Tar shards: where their files lie, and their bytes.

A plain tar can be read anywhere. A compressed one is read from its beginning to its end, or unpacked once.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import re
import shutil
import tarfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple

from samclip_edge.errors import InputError, one_line

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
SPARE = 1 << 30  # bytes that unpacking leaves free on the disk
_BLOCK = 1 << 24
# By their first bytes, whatever their name ends in. A plain tar begins with the name of its first file.
_COMPRESSED: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (rb"\x1f\x8b\x08", gzip.open),
    (rb"BZh[1-9]1AY&SY", bz2.open),
    (rb"\xfd7zXZ\x00", lzma.open),
)


class DamagedShard(InputError):
    """A shard is not whole. What was read of it before is."""


class Place(NamedTuple):
    """Where a file lies in a plain tar shard: its name, its first byte and its length in bytes."""

    name: str
    offset: int
    length: int


def is_shard(path: PurePath) -> bool:
    """Whether a path ends as those of tar shards do, in whatever case."""
    return path.name.lower().endswith(ENDINGS)


@contextmanager
def damage_told(shard: Path) -> Iterator[None]:
    """Whatever reading a shard in the block may raise becomes a DamagedShard that names it."""
    faults = (tarfile.TarError, OSError, ValueError, ArithmeticError, EOFError, MemoryError, RecursionError)
    try:
        yield
    except DamagedShard:
        raise
    except (*faults, zlib.error, lzma.LZMAError) as error:
        raise DamagedShard(f"{shard}: not a whole tar shard ({one_line(error)}); fetch it again") from None


class _Header(tarfile.TarInfo):
    """A header in a tar. tarfile takes a damaged one for the end, and would lose what follows without a word."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tar)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"damaged at byte {tar.offset}") from None


def contents(file: BinaryIO, shard: Path) -> Iterator[Place]:
    """The files of a tar shard, in order. file: the tar, opened; it may be moved in between. shard: its path.

    The tar is never read backwards, so that `file` may be one that unpacks. Raises DamagedShard where it is damaged or
    cut short, after the files before that place.
    """
    with damage_told(shard), tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
            if member.isfile() and member.size >= 0:
                yield Place(member.name, member.offset_data, member.size)


def open_shard(shard: Path) -> tuple[BinaryIO, bool]:
    """A shard opened as the plain tar that it is or unpacks to, and whether it unpacks. Raises DamagedShard."""
    opener = _unpacker(shard)
    with damage_told(shard):
        return (opener or Path.open)(shard, "rb"), opener is not None  # type: ignore[operator]


def part(file: BinaryIO | FileIO, offset: int, length: int) -> bytes:
    """Some bytes of an opened shard. Raises OSError when it ends before them."""
    file.seek(offset)
    data = file.read(length)
    if len(data) < length:
        raise OSError("the tar shard ends before it does")
    return data


_OPEN = 64  # plain shards that a process keeps open for `read_part`
_opened: OrderedDict[tuple[int, Path], FileIO] = OrderedDict()


def read_part(path: Path, offset: int, length: int) -> bytes:
    """Some bytes of a plain shard, which stays open for the next ones. Raises OSError when the shard ends before."""
    key = os.getpid(), path  # a fork would share the place of the files that it inherits
    file = _opened.pop(key, None) or path.open("rb", buffering=0)
    _opened[key] = file  # now the last that was used
    if len(_opened) > _OPEN:
        _opened.popitem(last=False)[1].close()
    return part(file, offset, length)


def _unpacker(shard: Path) -> Callable[..., Any] | None:
    """What unpacks a shard, by its first bytes; None for a plain one. Raises DamagedShard when it cannot be read."""
    try:
        with shard.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DamagedShard(f"{shard}: cannot be read ({one_line(error)}); fetch it again") from None
    return next((opener for magic, opener in _COMPRESSED if re.match(magic, start)), None)


def plain(shard: Path, cache: Path) -> Path:
    """The plain tar of a shard: the shard itself, or what it unpacks to, which is written into `cache` once.

    Raises DamagedShard when it cannot be read or is damaged, and InputError when it would fill the disk.
    """
    opener = _unpacker(shard)
    if opener is None:
        return shard
    facts = shard.stat()
    key = repr((str(shard.absolute()), facts.st_size, facts.st_mtime_ns))
    unpacked = cache / f"shard-{hashlib.sha256(key.encode()).hexdigest()[:12]}.tar"
    if not unpacked.is_file():
        _unpack(shard, opener, unpacked)
    return unpacked


def _unpack(shard: Path, opener: Callable[..., Any], target: Path) -> None:
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        with opener(shard) as packed, partial.open("wb") as file:
            while block := packed.read(_BLOCK):
                if shutil.disk_usage(target.parent).free < len(block) + SPARE:
                    raise InputError(
                        f"{shard}: unpacked into {target.parent} it leaves less than {SPARE >> 30} GiB free; free some "
                        "space, or unpack it elsewhere and name the plain tar"
                    )
                file.write(block)
        os.replace(partial, target)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        kind = InputError if getattr(error, "errno", None) else DamagedShard  # a fault of the disk, or of the shard
        raise kind(
            f"{shard}: cannot be unpacked into {target.parent} ({one_line(error)}); fetch it again if it is damaged"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
