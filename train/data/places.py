"""The files that the places of a recipe name: folders, files, patterns of them, and lists in braces."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from samclip_edge.errors import InputError
from samclip_edge.train.data.shards import is_shard

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_MOST = 1_000_000  # names that the braces of one place may stand for
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.(-?\d{1,18}))?")
_LETTERS = re.compile(r"([a-zA-Z])\.\.([a-zA-Z])")

log = logging.getLogger(__name__)


def all_under(places: Iterable[str]) -> list[Path]:
    """What several places name, as in `under`; what two of them name comes once."""
    paths = (path for place in places for path in under(place))
    return list({os.path.abspath(path): path for path in paths}.values())


def under(place: str) -> list[Path]:
    """The images, annotations and tar shards that a place names, sorted.

    place: what exists by that very name, else a pattern of `glob`, in which braces stand for several names as in a
    shell: `{000..009}`, `{a,b}`. Folders are searched for files with one of the known endings. Raises InputError for a
    name that stands for nothing.
    """
    return [path for name in _names(place) for path in _files(name)]


def digest(names: Iterable[str]) -> str:
    """What tells one list of names from another."""
    made = hashlib.sha256()
    for name in names:
        made.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return made.hexdigest()


def is_litter(path: str | PurePath) -> bool:
    """Whether a file is one that systems and tools leave beside those of people: `._x.jpg`, `.ipynb_checkpoints/x.jpg`,
    `__MACOSX/x.jpg`. path: from the folder, or in the tar shard, that is searched."""
    parts = PurePath(path).parts
    return any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in parts)


def _names(place: str) -> list[str]:
    """The names that the braces of a place stand for, as far as it does not exist as it is."""
    head, rest = _split(place)
    found: dict[str, None] = {}  # each once: of nested braces, the inner ones are spread first
    for count, name in enumerate(_spread(rest), 1):
        found[os.path.join(head, name) if name else head] = None
        if count > _MOST:
            raise InputError(f"files {place}: its braces stand for more than {_MOST} names; name a folder or a pattern")
    return list(found)


def _split(place: str) -> tuple[str, str]:
    """A place in two: the folders at its beginning that exist by that very name, and what follows them."""
    head, rest = "", list(Path(place).parts) or [place]
    while rest and os.path.lexists(os.path.join(head, rest[0])):
        head = os.path.join(head, rest.pop(0))
    return head, os.path.join(*rest) if rest else ""


def _spread(text: str) -> Iterator[str]:
    """Every text that the braces of `text` stand for, in the order of a shell; `text` itself where it has none."""
    for braces in _BRACES.finditer(text):
        choices = _choices(braces[1])
        if choices is not None:
            for choice in choices:
                yield from _spread(text[: braces.start()] + choice + text[braces.end() :])
            return
    yield text


def _choices(inside: str) -> Iterator[str] | None:
    """What one pair of braces stands for, or None where they are part of a name."""
    if numbers := _RANGE.fullmatch(inside):
        first, last, step = int(numbers[1]), int(numbers[2]), abs(int(numbers[3] or 1)) or 1
        padded = any(re.match(r"-?0\d", number) for number in numbers.group(1, 2))
        digits = max(len(number) for number in numbers.group(1, 2)) if padded else 0
        values = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return (f"{value:0{digits}d}" for value in values)
    if letters := _LETTERS.fullmatch(inside):
        first, last = ord(letters[1]), ord(letters[2])
        return (chr(code) for code in (range(first, last + 1) if first <= last else range(first, last - 1, -1)))
    return iter(inside.split(",")) if "," in inside else None


def _files(place: str) -> list[Path]:
    """The files that a place without braces names."""
    head, rest = _split(place)
    found = [place]
    if rest:
        matches = glob.glob(os.path.join(glob.escape(head), rest), recursive=True) if glob.has_magic(rest) else []
        found = sorted(match for match in matches if "__MACOSX" not in Path(match).parts[len(Path(head).parts) :])
    paths: list[Path] = []
    for path in found:
        if os.path.isdir(path):
            paths.extend(_walk(path))
        elif os.path.isfile(path):
            paths.append(Path(path))
    if not paths:
        raise InputError(f"files {place}: nothing there; name a folder, a tar shard, or a pattern of them")
    return list(dict.fromkeys(paths))  # `**` matches a folder and what lies in it


def _walk(folder: str) -> list[Path]:
    """The files with a known ending in a folder and those in it, sorted. What cannot be opened is told and left out."""
    found: list[Path] = []

    def unread(error: OSError) -> None:
        log.warning("%s: cannot be searched (%s), so its images are left out", error.filename, error.strerror)

    for where, folders, names in os.walk(folder, onerror=unread):
        folders[:] = [name for name in folders if not is_litter(name)]
        kept = (Path(where, name) for name in names if not is_litter(name))
        found.extend(p for p in kept if is_shard(p) or p.suffix.lower() in (*IMAGES, ".json"))
    return sorted(found)
