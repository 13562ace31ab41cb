"""A library that is made anew in the place of an old one, which answers until then."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError, one_line
from samclip_edge.library.adding import Added
from samclip_edge.library.file import LibraryFile
from samclip_edge.library.library import Library
from samclip_edge.photo.read import MAX_PIXELS
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent


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

    It is written beside the old one, to `path` with `.anew` behind it, and takes its place when it is whole. One that
    was stopped goes on where it was, if asked for the same. Raises InputError as these do.
    """
    old, made = Path(path), Path(f"{os.fspath(path)}.anew")
    if old.exists():
        _check_ours(old)
    if made.exists():
        try:
            with Library.open(made, model, things, size) as begun:
                fits = (begun.things is not None) == things
        except InputError:
            fits = False
        if not fits:
            _remove(made)
    with Library.open(made, model, things, size) as library:
        added = library.add(photos, max_pixels, progress)
    try:
        _remove(Path(f"{old}-journal"))  # it would be taken for the new one's
        os.replace(made, old)
    except OSError as error:
        raise InputError(f"{old}: cannot be replaced ({one_line(error)}); the new library is {made}") from None
    return added


def _remove(path: Path) -> None:
    for each in (path, Path(f"{path}-journal")):
        with suppress(FileNotFoundError):
            each.unlink()


def _check_ours(path: Path) -> None:
    """Raise InputError for a file that is no library, which is not to be lost, and for one that is being written."""
    try:
        file = LibraryFile(path)
    except InputError as error:
        if "no library" in str(error):
            raise
        return  # damaged, or of a newer format
    try:
        with file.writing():
            pass
    finally:
        file.close()
