"""Writing a folder: beside what is there, which it replaces when it is whole. Nothing that is not ours gets lost.

A folder of ours, a bundle or a site, has a manifest, which lists its files. The new one grows in a hidden folder beside
the old one. At the end, other people's files (`.git`, README.md, notes) are hard-linked into it, and the two folders
change names at once: a crash leaves the old one or the new one, each with those files. Where that cannot be (the folder
is a mount point or somebody's current directory, its parent is read-only, the file system has no such call), our files
are moved one by one, the manifest last, and the others are not touched; what fails on the way is undone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.errors import InputError, one_line

_STALE = 3600  # seconds after which what a dead process left is removed: it may live on another machine


class Kind(NamedTuple):
    """A kind of folder that we write."""

    what: str
    manifest: str  # the name of its manifest
    listed: Callable[[Path], Iterable[str]]  # the paths that the manifest lists. Raises InputError where it is none.


BUNDLE = Kind("bundle", MANIFEST, lambda folder: [file.path for file in Bundle.open(folder).files()])


def new_bundle(folder: Path) -> AbstractContextManager[Path]:
    """`new_folder` for a bundle."""
    return new_folder(folder, BUNDLE)


@contextmanager
def new_folder(folder: Path, kind: Kind) -> Iterator[Path]:
    """A temporary folder to write into. When the block ends well, it gets the name `folder`, else it goes.

    A link is followed. A folder of the kind that is there already is replaced, and files that its manifest does not
    list are kept. Raises InputError, before the block runs, for a folder that cannot be written, or that holds other
    files and no manifest; and after it, leaving everything as it was, where a file to be kept has a name that the new
    one needs.
    """
    try:
        target = Path(os.path.realpath(folder))
        listed = _listed(folder, target, kind)
        made, partial = _start(target)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: cannot be written ({_why(error)}); name another folder") from None
    try:
        yield partial
        _finish(folder, target, partial, listed, kind)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"{folder}: the disk is full; make room, or name a folder on another disk") from error
    finally:
        _remove(partial)
        _remove_empty(made)
    _sweep(target)


def _listed(folder: Path, target: Path, kind: Kind) -> set[str]:
    """The paths of the files of the old folder that is to be replaced; none where there is none.

    Raises InputError where the target cannot be replaced.
    """
    if target.is_symlink():
        raise InputError(f"{folder}: is a link that leads in a circle; name a folder to write the {kind.what} to")
    if not target.exists():
        return set()
    if not target.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to write the {kind.what} to")
    if all(_temporary(target, name) for name in os.listdir(target)):
        return set()
    if not os.path.lexists(target / kind.manifest):
        raise InputError(f"{folder}: holds other files; name a new or empty folder")
    try:
        return {*kind.listed(target), kind.manifest}
    except InputError:  # so nobody knows which files are whose
        held = f"holds other files, and a {kind.manifest} that this version cannot read"
        raise InputError(f"{folder}: {held}; name a new or empty folder") from None


def _start(target: Path) -> tuple[list[Path], Path]:
    """Make the temporary folder: beside the target where the two can change names, else in it.

    Returns the folders above it that were made for it, innermost first, and the temporary folder.
    """
    beside = target.parent / f".{target.name}.{os.getpid()}.partial"
    if not target.exists():
        made = [each for each in target.parents if not each.exists()]
        try:
            beside.mkdir(parents=True)
        except OSError:
            _remove_empty(made)
            raise
        return made, beside
    inside = target / beside.name
    inside.mkdir()
    if not _is_here(target):
        with suppress(OSError):  # a mount point, or a parent that is read-only
            os.replace(inside, beside)
            return [], beside
    return [], inside


def _is_here(target: Path) -> bool:
    """Whether the current directory lies in a folder: a shell would be left in the old one, which has no name then."""
    try:
        return Path(os.path.realpath(os.getcwd())).is_relative_to(target)
    except OSError:  # it is gone already
        return False


def _finish(folder: Path, target: Path, partial: Path, listed: set[str], kind: Kind) -> None:
    """Put the whole folder in the place of the old one. Raises InputError, and changes nothing, where it cannot."""
    if not (partial / kind.manifest).is_file():
        raise RuntimeError(f"{partial} holds no {kind.manifest}")
    try:
        if not target.exists():
            os.replace(partial, target)
            return
        folders, files = _inside(target)
        old, others = [each for each in files if each in listed], [each for each in files if each not in listed]
        kept = _above(others) | (set(folders) - _above(old))
        for path in (*kept, *others):
            if os.path.lexists(partial / path) and not (path in kept and _is_folder(partial / path)):
                needed = f"is not of the old {kind.what}, and the new one needs that name"
                raise InputError(f"{folder / path}: {needed}; move it elsewhere")
        new = _inside(partial)
        if partial.parent == target or not _swap(target, partial, sorted(kept), others):
            _move(target, partial, old, new, kind.manifest)
    except OSError as error:
        raise InputError(f"{folder}: cannot be replaced ({_why(error)}); it is as it was") from error


def _inside(folder: Path) -> tuple[list[str], list[str]]:
    """The paths of the folders in a folder, and of all else: files, and links, which are not followed."""
    found: tuple[list[str], list[str]] = [], []

    def refuse(error: OSError) -> None:
        raise error

    for top, folders, files in os.walk(folder, onerror=refuse):
        here = Path(top).relative_to(folder)
        if top == str(folder):
            folders[:] = [name for name in folders if not _temporary(folder, name)]
        for name in (*folders, *files):
            found[not _is_folder(Path(top, name))].append((here / name).as_posix())
    return found


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _above(paths: Iterable[str]) -> set[str]:
    """The folders that paths lie in."""
    return {parent.as_posix() for path in paths for parent in Path(path).parents if parent.name}


def _swap(target: Path, partial: Path, folders: list[str], files: list[str]) -> bool:
    """Link what is to be kept into the temporary folder, and let it change names with the target, at once.

    Returns False, and has not touched the target, where the file system or the system cannot do one of both.
    """
    try:
        _look_alike(target, partial)
        for path in folders:
            if os.path.ismount(target / path):
                return False
            if not (partial / path).exists():
                (partial / path).mkdir()
                _look_alike(target / path, partial / path)
        for path in files:
            os.link(target / path, partial / path, follow_symlinks=False)
    except (OSError, NotImplementedError):
        return False
    return _exchange(target, partial)


def _look_alike(old: Path, new: Path) -> None:
    """Give a folder the owner and the mode of another. Raises OSError where that is not allowed."""
    facts = old.stat()
    if hasattr(os, "chown") and (facts.st_uid, facts.st_gid) != (new.stat().st_uid, new.stat().st_gid):
        os.chown(new, facts.st_uid, facts.st_gid)
    shutil.copystat(old, new)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names at once. Returns False where the system, or the file system, has no such call."""
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2"):  # Linux: from the current directory's, AT_FDCWD; RENAME_EXCHANGE
        return bool(library.renameat2(-100, names[0], -100, names[1], 2) == 0)
    if hasattr(library, "renamex_np"):  # macOS: RENAME_SWAP
        return bool(library.renamex_np(*names, 2) == 0)
    return False


def _move(target: Path, partial: Path, old: list[str], new: tuple[list[str], list[str]], manifest: str) -> None:
    """Move the old folder's files out and the new one's in, the manifest last. Undoes it where one cannot be moved.

    new: its folders and its files.
    """
    out, (folders, files) = partial.with_suffix(".old"), new
    moves = [(target / path, out / path) for path in old if path != manifest]
    moves += [(partial / path, target / path) for path in files if path != manifest]
    done: list[tuple[Path, Path]] = []
    try:
        for path in folders:
            (target / path).mkdir(exist_ok=True)
        for path in ("", *_above(old)):
            (out / path).mkdir(parents=True, exist_ok=True)
        for source, goal in moves:
            done.append((source, goal))
            os.replace(source, goal)
        os.replace(partial / manifest, target / manifest)
    finally:
        if (partial / manifest).exists():  # it failed, or was stopped
            for source, goal in reversed(done):
                if os.path.lexists(goal) and not os.path.lexists(source):
                    os.replace(goal, source)
        _remove(out)
        _remove_empty(target / path for path in sorted({*_above(old), *folders}, reverse=True))


def _why(error: OSError | ValueError) -> str:
    """What the system says, without the name of a temporary folder."""
    return getattr(error, "strerror", None) or one_line(error)


def _temporary(target: Path, name: str) -> bool:
    """Whether a name is one that this file gives to temporary folders."""
    return re.fullmatch(rf"\.{re.escape(target.name)}\.\d+\.(partial|old)", name) is not None


def _remove_empty(folders: Iterable[Path]) -> None:
    for each in folders:
        with suppress(OSError):  # it is not empty, or not there
            each.rmdir()


def _remove(folder: Path) -> None:
    for each, _, _ in os.walk(folder):
        with suppress(OSError):  # what was kept may be read-only
            os.chmod(each, stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(target: Path) -> None:
    """Remove the temporary folders that killed processes left here."""
    for place in (target.parent, target):
        with suppress(OSError):
            for each in list(place.iterdir()):
                stale = _temporary(target, each.name) and time.time() - each.stat().st_mtime > _STALE
                if stale and not _lives(int(each.name.split(".")[-2])):
                    _remove(each)


def _lives(process: int) -> bool:
    if os.name != "posix":  # os.kill would end it there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
