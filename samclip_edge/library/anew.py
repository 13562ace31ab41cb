"""A library that is made anew in the place of an old one, which answers until then."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.errors import InputError, one_line
from samclip_edge.library.adding import Added
from samclip_edge.library.file import Busy, LibraryFile, NoLibrary
from samclip_edge.library.library import Library
from samclip_edge.library.made_by import fits
from samclip_edge.library.sources import absolute, listed, tar_of
from samclip_edge.library.store import Store
from samclip_edge.photo.read import MAX_PIXELS
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent

log = logging.getLogger(__name__)


def index_anew(
    path: str | os.PathLike[str],
    model: SamClip,
    photos: Sequence[str | os.PathLike[str]],
    things: bool = False,
    size: Size | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = silent,
) -> Added:
    """Start a library over, as by `Library.open` and `Library.add` of an empty one.

    photos: none means all those that the old one holds. things: an old library with things has them again. size: None
    keeps the old one's, if the model is the same. The new one is written beside the old one, to `path` with `.anew`
    behind it, and takes its place when it is whole. One that was stopped goes on where it was, if asked for the same.
    Raises InputError as these do.
    """
    old, made = Path(path), Path(f"{os.fspath(path)}.anew")
    if old.exists():
        _check_ours(old)
        photos, things, size = _as_before(old, model, photos, things, size)
    if made.exists():
        wanted = size or (model.sizes[-1] if things else model.names_size)
        try:
            _check_free(made)
            with Library.open(made, model, things) as begun:
                same = (begun.things is not None) == things and begun.size == wanted
        except Busy:
            raise
        except InputError:
            same = False
        if not same:
            _remove(made)
    goes_on = made.exists()
    with Library.open(made, model, things, size) as library:
        added = library.add(photos, max_pixels, progress)
        if goes_on:  # what a run that was stopped was asked for besides
            asked = {source.path for source in listed(photos).sources}
            with library.store.file.reading():
                others = [each.path for each in library.store.every() if each.path not in asked]
            library.remove(others)
    try:
        _remove(Path(f"{old}-journal"))  # it would be taken for the new one's
        os.replace(made, old)
    except OSError as error:
        raise InputError(f"{old}: cannot be replaced ({one_line(error)}); the new library is {made}") from None
    return added


def _as_before(
    old: Path,
    model: SamClip,
    photos: Sequence[str | os.PathLike[str]],
    things: bool,
    size: Size | None,
) -> tuple[Sequence[str | os.PathLike[str]], bool, Size | None]:
    """What the new library is to be made of and with, by what is said and what the old one says."""
    try:
        file = LibraryFile(old)
        try:
            store = Store(file)
            things = things or store.about.get("things") == "1"
            if size is None and fits(store.about, model):
                size = of_sides(*sides(store.about["size"]))
            with file.reading():
                known = [each.path for each in store.every() if not each.vanished]
        finally:
            file.close()
    except (InputError, KeyError, ValueError):  # it is damaged: nothing is known of it
        known = []
    if not photos:
        there = (tar_of(path) or path for path in known)
        photos = [path for path in dict.fromkeys(there) if os.path.exists(path)]
        if not photos:
            raise InputError(
                "what to index: the old library says nothing of photos; give folders, lists, tars or photos"
            )
        return photos, things, size
    roots = tuple(os.path.join(absolute(each), "") for each in photos)  # of lists nothing is told
    whole = all(os.path.isdir(root) or root[:-1].lower().endswith(".tar") for root in roots)
    left = [path for path in known if not path.startswith(roots)] if whole else []
    if left:
        told = f"photos of the old library lie in none of the folders given, as {left[0]}"
        log.warning("%d %s; they are left out", len(left), told)
    return photos, things, size


def _remove(path: Path) -> None:
    for each in (path, Path(f"{path}-journal")):
        with suppress(FileNotFoundError):
            each.unlink()


def _check_ours(path: Path) -> None:
    """Raise InputError for a file that is no library, which is not to be lost, and for one that is being written."""
    try:
        _check_free(path)
    except InputError as error:
        if isinstance(error, NoLibrary | Busy):
            raise  # else it is damaged, or of a newer format


def _check_free(path: Path) -> None:
    file = LibraryFile(path)
    try:
        with file.writing():
            pass
    finally:
        file.close()
