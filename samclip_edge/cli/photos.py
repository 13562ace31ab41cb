"""Several photos in one command: one that cannot be answered costs no other its answer. And where pictures go."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import typer

from samclip_edge.cli.common import bar, note, option_names
from samclip_edge.errors import ChecksumError, InputError, one_line
from samclip_edge.scene import Scene

Answer = TypeVar("Answer")


def pixel_limit(max_pixels: int | None) -> int:
    """The most pixels of a photo. Where the user raises it, Pillow's own limit, which is one for the process, goes."""
    from PIL import Image

    from samclip_edge.photo.read import MAX_PIXELS

    if max_pixels is None:
        return MAX_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    return max_pixels


class Failed(NamedTuple):
    """A photo that could not be answered."""

    photo: str
    error: str


def answer_each(photos: Sequence[str], answer: Callable[[int, str], Answer]) -> tuple[list[Answer], list[Failed]]:
    """The answers to all photos that have one, and why the others have none, which stderr is told too.

    Raises InputError where there is one photo only, and where an option or the bundle is at fault and not a photo.
    """
    answers: list[Answer] = []
    failed: list[Failed] = []
    for number, photo in enumerate(bar()(photos, "looking") if len(photos) > 1 else photos):
        try:
            answers.append(answer(number, photo))
        except InputError as error:
            of_photo = error.argument in ("", "--max-pixels", "-o") and not isinstance(error, ChecksumError)
            if len(photos) == 1 or not of_photo:
                raise
            told = one_line(error)
            failed.append(Failed(photo, told if photo in told else f"{photo}: {told}"))
            note(f"error: {failed[-1].error}")
    return answers, failed


def next_of(scenes: Iterator[Scene | InputError]) -> Scene:
    """The next scene of `look_many`. Raises the InputError that stands in its place."""
    scene = next(scenes)
    if isinstance(scene, InputError):
        raise scene
    return scene


def end(failed: Sequence[Failed]) -> None:
    """End the command: with exit code 2 where a photo could not be answered."""
    if failed:
        raise typer.Exit(2)


class Pictures(NamedTuple):
    """Where `-o` has pictures written: into one file, or into a folder with one for each photo."""

    path: Path | None
    names: tuple[str, ...]  # of the pictures in a folder, without an ending; empty for one file
    photos: frozenset[str] = frozenset()  # where the photos really are, which must not be written over

    @classmethod
    def of(cls, path: Path | None, photos: Sequence[str], folder: bool = False) -> Pictures:
        """Checked before any work. folder: whether `path` must be a folder even for one photo. Raises InputError."""
        from samclip_edge.photo.pictures import FORMATS, check_output

        if path is None:
            return cls(None, ())
        real = frozenset(map(os.path.realpath, photos))
        if len(photos) == 1 and not folder and not path.is_dir():
            with option_names(path="-o"):
                check_output(path)
            return cls(_not_a_photo(path, real), ())
        if path.suffix.lower() in FORMATS and not path.is_dir():
            why = f"one picture for {len(photos)} photos" if len(photos) > 1 else "is no folder's name"
            raise InputError(f"-o {path}: {why}; name a folder")
        if path.exists() and not path.is_dir():
            raise InputError(f"-o {path}: is a file; name a folder to write into")
        there = path if path.is_dir() else path.parent
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise InputError(f"-o {path}: cannot be written; name a folder in one that exists")
        names: dict[str, str] = {}  # by how file systems see them that do not tell A from a
        for photo in photos:
            name = next(each for each in _spellings(Path(photo).stem or "photo") if each.casefold() not in names)
            names[name.casefold()] = name
            _not_a_photo(path / f"{name}.png", real)
        return cls(path, tuple(names.values()), real)

    def file(self, number: int, ending: str = ".png") -> Path | None:
        """Where a picture of a photo goes, into a folder that is made now; None where none is wanted."""
        if self.path is None or not self.names:
            return self.path
        self.path.mkdir(exist_ok=True)
        return _not_a_photo(self.path / f"{self.names[number]}{ending}", self.photos)


def _not_a_photo(path: Path, photos: frozenset[str]) -> Path:
    """Raise InputError where a picture would be written over one of the photos."""
    if os.path.realpath(path) in photos:
        raise InputError(f"-o {path}: is the photo itself; name another file or folder")
    return path


def _spellings(stem: str) -> Iterator[str]:
    """A name, and what stands for it where it is taken: two photos may have one name in two folders."""
    yield stem
    yield from (f"{stem}-{number}" for number in itertools.count(2))
