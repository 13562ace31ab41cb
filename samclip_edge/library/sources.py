"""Which photos are meant: those of folders, of lists, of tar shards, and single ones."""

from __future__ import annotations

import errno
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.elsewhere import Source

PHOTOS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif"),
)


class Failed(NamedTuple):
    """A photo that could not be used, and why."""

    path: str
    error: str


class Listed(NamedTuple):
    """What was found."""

    sources: list[Source]  # each path once
    roots: list[str]  # folders and tars, whose photos are listed; each ends with a separator
    failed: list[Failed]
    unlisted: list[str]  # parts of them that could not be listed to their ends


def listed(given: Sequence[str | os.PathLike[str]]) -> Listed:
    """The photos of folders and what lies in them, of tars, of lists with a path a line, and single ones.

    A path of a list counts from the current folder, as it does in a shell. Names that begin with a dot are left out, as
    are links to folders. Raises InputError for what is not there, and for what is none of these.
    """
    found: dict[str, Source] = {}
    roots: list[str] = []
    failed: list[Failed] = []
    unlisted: list[str] = []

    def take(path: str) -> None:
        try:
            path.encode()
            about = os.stat(path)
        except UnicodeEncodeError:
            failed.append(_misnamed(path))
        except (OSError, ValueError) as error:
            failed.append(Failed(path, f"cannot be read ({one_line(error)})"))
        else:
            if stat.S_ISREG(about.st_mode):
                found[path] = Source(path, about.st_size, about.st_mtime_ns)
            else:
                failed.append(Failed(path, "is no file, but a pipe, a folder or a device"))

    for name in given:
        each = os.fspath(name)
        path = absolute(each)
        if os.path.isdir(path):
            roots.append(os.path.join(path, ""))
            for photo in _under(path, failed, unlisted):
                take(photo)
        elif path.lower().endswith(".tar") and os.path.isfile(path):
            roots.append(path + os.sep)
            found |= {source.path: source for source in _in_tar(path, failed, unlisted)}
        elif path.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")):
            raise InputError(
                f"{each}: a compressed tar, which cannot be read in part; unpack it, or make it a plain tar"
            )
        elif path.lower().endswith(PHOTOS) and os.path.isfile(path):
            take(path)
        else:
            for photo in _in_list(each):
                take(os.path.abspath(photo))
    return Listed(list(found.values()), roots, failed, unlisted)


def tar_of(path: str) -> str | None:
    """The tar that the path of a photo leads through; None where there is none."""
    ends = (found.end() for found in re.finditer(r"(?i)\.tar(?=[/\\])", path))
    return next((path[:end] for end in ends if os.path.isfile(path[:end])), None)


def source_of(path: str) -> Source:
    """Where a photo of a library lies, which may be in a tar. Raises OSError where it is not there any more."""
    with suppress(OSError):
        about = os.stat(path)
        return Source(path, about.st_size, about.st_mtime_ns)
    tar = tar_of(path)
    for source in _in_tar(tar, [], []) if tar else ():
        if source.path == path:
            return source
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def absolute(path: str | os.PathLike[str]) -> str:
    """A path that a library can hold. Raises InputError for one that is no UTF-8."""
    whole = os.path.abspath(os.fspath(path))
    try:
        whole.encode()
    except UnicodeEncodeError:
        raise InputError(f"{_misnamed(whole).path}: its name is no UTF-8; rename it") from None
    return whole


def _misnamed(path: str) -> Failed:
    return Failed(path.encode(errors="replace").decode(), "its name is no UTF-8; rename it")


def _under(folder: str, failed: list[Failed], unlisted: list[str]) -> Iterator[str]:
    def tell(error: OSError) -> None:
        unlisted.append(os.path.join(str(error.filename), ""))
        failed.append(Failed(str(error.filename), f"cannot be read ({one_line(error)})"))

    for where, folders, names in os.walk(folder, onerror=tell):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(PHOTOS) and not name.startswith("."):
                yield os.path.join(where, name)


def _in_tar(path: str, failed: list[Failed], unlisted: list[str]) -> Iterator[Source]:
    modified = os.stat(path).st_mtime_ns
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if member.isreg() and name.lower().endswith(PHOTOS) and not name.rpartition("/")[2].startswith("."):
                    whole = os.path.join(path, *name.split("/"))
                    try:
                        whole.encode()
                    except UnicodeEncodeError:
                        failed.append(_misnamed(whole))
                        continue
                    yield Source(whole, member.size, modified, path, member.offset_data)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        unlisted.append(path + os.sep)
        failed.append(Failed(path, f"breaks off or is no plain tar ({one_line(error)})"))


def _in_list(given: str) -> Iterator[str]:
    mend = "give a folder, a tar, a photo, or a list with a path a line"
    try:
        lines = Path(given).read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise InputError(f"{given}: no such folder or file; {mend}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{given}: no list of photos ({one_line(error)}); {mend}") from None
    for line in filter(None, map(str.strip, lines)):
        if not line.lower().endswith(PHOTOS):
            raise InputError(f"{given}: {line[:80]!r} is no photo's name; {mend}")
        yield line
