"""Names and prompt templates as people give them, checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from samclip_edge.errors import InputError, one_line
from samclip_edge.text.tokenizer import clean

BACKGROUND_NAMES = ("background",)  # rivals of every name, whatever the bundle's own rivals are


def read_templates(path: Path, option: str = "") -> list[str]:
    """Prompt templates, each with `{}` where the name goes: a JSON list of them, or a text file with one a line.

    option: the option that named the file, for messages; "" for a file of a bundle. Raises InputError when they are
    none.
    """
    where = f"{option} {path}".strip()
    mend = "give a JSON list, or a text file with one a line" if option else "export the bundle again"
    try:
        text = path.read_text("utf-8-sig")
        listed = path.suffix == ".json" or text.lstrip().startswith("[")
        templates = json.loads(text) if listed else [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: no list of templates ({one_line(error)}); {mend}") from None
    if not isinstance(templates, list) or not templates:
        raise InputError(f"{where}: holds no template; {mend}")
    for number, template in enumerate(templates, 1):
        if not isinstance(template, str) or "{}" not in template:
            wrong = f"template {number} of {len(templates)}, {template!r}"
            raise InputError(f"{where}: {wrong}, has no {{}} where the name goes; {mend}")
    return templates


def read_names(path: Path) -> list[str]:
    """A JSON list of names, as bundles hold them. Raises InputError when it is none."""
    try:
        names = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no list of names ({one_line(error)}); export the bundle again") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: no list of names; export the bundle again")
    return names


def check_background(names: Sequence[str]) -> list[str]:
    """Names that others are compared with, as `check_labels` leaves them; there may be none. Raises InputError."""
    return check_labels(names, "--background") if isinstance(names, str) or len(names) else []


def check_labels(labels: Sequence[str], what: str = "--label") -> list[str]:
    """Names, stripped, in order, each once. Raises InputError when there are none or one is empty.

    Names that `clean` makes equal are one name: the first spelling stands for them.
    """
    if isinstance(labels, str):
        raise InputError(f"{what}: {labels!r} is one string; pass a list of names")
    names = [str(label).strip() for label in labels]
    if not names:
        raise InputError(f"{what}: no name; give at least one")
    cleaned = [clean(name) for name in names]
    if not all(cleaned):
        raise InputError(f"{what}: name {cleaned.index('') + 1} of {len(names)} is empty; give it a word")
    first: dict[str, str] = {}
    for key, name in zip(cleaned, names, strict=True):
        first.setdefault(key, name)
    return list(first.values())
