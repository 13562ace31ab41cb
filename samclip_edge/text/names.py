"""Names and prompt templates as people give them, checked."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

from samclip_edge.errors import InputError, one_line
from samclip_edge.json_files import parse_json
from samclip_edge.text.tokenizer import clean

BACKGROUND_NAMES = ("background",)  # rivals of every name, whatever the bundle's own rivals are
_SURFACES = ("ceiling", "floor", "wall")  # which COCO calls by themselves first, and by what they are made of last


def read_templates(path: Path, option: str = "") -> list[str]:
    """Prompt templates, each with `{}` where the name goes: a JSON list of them, or a text file with one a line.

    option: the option that named the file, for messages; "" for a file of a bundle. Raises InputError when they are
    none.
    """
    where = f"{option} {path}".strip()
    mend = "give a JSON list, or a text file with one a line" if option else "export the bundle again"
    try:
        text = read_text(path)
        listed = path.suffix == ".json" or text.lstrip().startswith("[")
        templates = parse_json(text) if listed else [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: no list of templates ({one_line(error)}); {mend}") from None
    if not isinstance(templates, list) or not templates:
        raise InputError(f"{where}: holds no template; {mend}")
    for number, template in enumerate(templates, 1):
        has_place = isinstance(template, str) and "{}" in template
        wrong = fault_of(template) if has_place else "has no {} where the name goes"
        if wrong:
            raise InputError(f"{where}: template {number} of {len(templates)}, {template!r:.60}, {wrong}; {mend}")
    return templates


def read_names(path: Path) -> list[str]:
    """A JSON list of names, as bundles hold them. Raises InputError when it is none."""
    mend = "export the bundle again"
    try:
        names = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no list of names ({one_line(error)}); {mend}") from None
    if not isinstance(names, list):
        raise InputError(f"{path}: no list of names; {mend}")
    for number, name in enumerate(names, 1):
        if fault := fault_of(name):
            raise InputError(f"{path}: name {number} of {len(names)}, {name!r:.60}, {fault}; {mend}")
    return names


def fault_of(text: object) -> str:
    """Why something cannot be handed to native code as text, which would crash on it; "" where it can."""
    if not isinstance(text, str):
        return "is no text"
    if "\0" in text:
        return "holds a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, in whose place the terminal had a byte
        return "is not UTF-8"
    return ""


def check_text(text: str, argument: str) -> None:
    """Raise InputError unless it can be handed to native code. argument: the argument that holds it."""
    if fault := fault_of(text):
        raise InputError(f" {text!r:.60}: {fault}; give letters in UTF-8", argument)


def check_background(names: Sequence[str]) -> list[str]:
    """Names that others are compared with, as `check_labels` leaves them; there may be none. Raises InputError."""
    return check_labels(names, "background") if isinstance(names, str) or len(names) else []


def check_labels(labels: Sequence[str], what: str = "labels") -> list[str]:
    """Names, stripped, in order, each once. Raises InputError when there are none, or one is empty or no UTF-8.

    Names that `clean` makes equal are one name: the first spelling stands for them. what: the argument or the option
    that holds them, with which the error begins.
    """
    if isinstance(labels, str):
        raise InputError(f": {labels!r:.60} is one string; pass a list of names", what)
    try:
        listed = list(labels)
    except TypeError:
        raise InputError(f" {labels!r:.60}: pass a list of names", what) from None
    for number, label in enumerate(listed, 1):
        if not isinstance(label, str):
            raise InputError(f": name {number} of {len(listed)}, {label!r:.60}, is no text; pass a string", what)
    names = [label.strip() for label in listed]
    if not names:
        raise InputError(": no name; give at least one", what)
    first: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        key, fault = clean(name), fault_of(name)
        if fault:
            raise InputError(f": name {number} of {len(names)}, {name!r:.60}, {fault}; give letters in UTF-8", what)
        if not key:
            raise InputError(f": name {number} of {len(names)} is empty; give it a word", what)
        first.setdefault(key, name)
    return list(first.values())


def spoken(own: str) -> str:
    """COCO's name of a class as a person would say it: "wall-brick" is a brick wall, "sky-other-merged" the sky."""
    name = (
        own.removesuffix("-merged")
        .removesuffix("-other")
        .removesuffix("-stuff")
        .replace("playingfield", "playing field")
    )
    first, _, last = name.partition("-")
    return f"{last} {first}" if last and first in _SURFACES else name.replace("-", " ")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark. Raises OSError and ValueError."""
    read = path.read_bytes()
    if read.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is UTF-16; save it as UTF-8")
    return read.decode("utf-8-sig")
