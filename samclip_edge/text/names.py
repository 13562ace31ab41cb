"""Names and prompt templates as people give them, checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from samclip_edge.errors import InputError, one_line

BACKGROUND_NAMES = ("background",)  # `find` compares names with these too, so that one name alone can lose


def read_templates(path: Path) -> list[str]:
    """Prompt templates, each with `{}` where the name goes. Raises InputError when they are none."""
    try:
        templates = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no list of templates ({one_line(error)}); export the bundle again") from None
    if not (isinstance(templates, list) and templates and all(isinstance(t, str) and "{}" in t for t in templates)):
        raise InputError(f"{path}: each template is a string with {{}} where the name goes")
    return templates


def check_labels(labels: Sequence[str], what: str = "--label") -> list[str]:
    """Names, stripped, in order, each once. Raises InputError when there are none or one is empty."""
    if isinstance(labels, str):
        raise InputError(f"{what}: {labels!r} is one string; pass a list of names")
    names = [str(label).strip() for label in labels]
    if not names:
        raise InputError(f"{what}: no name; give at least one")
    if not all(names):
        raise InputError(f"{what}: name {names.index('') + 1} of {len(names)} is empty; give it a word")
    return list(dict.fromkeys(names))
