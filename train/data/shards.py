"""Tar shards: where their files lie. A compressed one is unpacked once, because only a plain tar is read anywhere."""

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
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from samclip_edge.errors import InputError, one_line

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
SPARE = 1 << 30  # bytes that unpacking leaves free on the disk
_BLOCK = 1 << 24
# By their first bytes, whatever their name ends in. A plain tar begins with the name of its first file.
_COMPRESSED: tuple[tuple[bytes, Callable[[Path], Any]], ...] = (
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


def contents(path: Path, shard: Path) -> Iterator[Place]:
    """The files of a plain tar shard, in order. path: where it lies. shard: what its user calls it.

    Raises DamagedShard where it is damaged or cut short, after the files before that place.
    """
    try:
        with tarfile.open(path, "r:") as tar, path.open("rb") as file:
            for member in tar:
                if member.isfile() and member.size >= 0:
                    yield Place(member.name, member.offset_data, member.size)
            file.seek(tar.offset)  # tarfile takes a damaged header for the end, which has a block of zeros
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"damaged at byte {tar.offset}")
    except (tarfile.TarError, OSError, ValueError, ArithmeticError, EOFError, MemoryError, RecursionError) as error:
        raise DamagedShard(f"{shard}: not a whole tar shard ({one_line(error)}); fetch it again") from None


def plain(shard: Path, cache: Path) -> Path:
    """The plain tar of a shard: the shard itself, or what it unpacks to, which is written into `cache` once.

    Raises DamagedShard when it cannot be read or is damaged, and InputError when it would fill the disk.
    """
    try:
        facts = shard.stat()
        with shard.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DamagedShard(f"{shard}: cannot be read ({one_line(error)}); fetch it again") from None
    openers = [opener for magic, opener in _COMPRESSED if re.match(magic, start)]
    if not openers:
        return shard
    key = repr((str(shard.absolute()), facts.st_size, facts.st_mtime_ns))
    unpacked = cache / f"shard-{hashlib.sha256(key.encode()).hexdigest()[:12]}.tar"
    if not unpacked.is_file():
        _unpack(shard, openers[0], unpacked)
    return unpacked


def _unpack(shard: Path, opener: Callable[[Path], Any], target: Path) -> None:
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
