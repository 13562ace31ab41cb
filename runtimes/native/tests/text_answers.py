"""What the native library makes of texts (`probe_text.cpp`)."""

from __future__ import annotations

import os
import subprocess
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hard_texts import NASTY, random_strings, strings_of_tests

ROOT = Path(__file__).parents[3]
BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", ROOT / "build" / "native"))


def word(text: str | bytes) -> str:
    """A text as the probe takes it. Of bytes that are no UTF-8 Python has surrogates."""
    return "x" + (text if isinstance(text, bytes) else os.fsencode(text)).hex()


def ask(lines: Iterable[str]) -> list[str]:
    """Ask the native code lines of commands; what it answers, a line each."""
    given = "".join(f"{line}\n" for line in lines)
    done = subprocess.run([BUILD / "probe_text"], input=given, capture_output=True, text=True, check=True)
    answers = done.stdout.splitlines()
    assert len(answers) == given.count("\n")
    return answers


def texts_in(answer: str) -> list[str] | str:
    """The texts of an answer, or the line of an error."""
    said = [os.fsdecode(bytes.fromhex(each[1:])) for each in answer.split() if each != "error"]
    return said[0] if answer.startswith("error") else said


@cache
def known_to_both() -> tuple[str, ...]:
    """The characters that are assigned in this Python's Unicode and in utf8proc's."""
    bounds = [int(each) for each in ask(["assigned"])[0].split()]
    native = (chr(c) for first, last in zip(bounds[::2], bounds[1::2], strict=True) for c in range(first, last + 1))
    return tuple(c for c in native if unicodedata.category(c) not in ("Cn", "Cs", "Co"))


@cache
def strings() -> tuple[str, ...]:
    """All of them: of tests, of NASTY, and random ones."""
    return (*strings_of_tests(), *NASTY, *random_strings(known_to_both()))


def different(given: Sequence[str], ours: Sequence[Any], wanted: Sequence[Any]) -> list[tuple[str, Any, Any]]:
    """The texts whose answers differ, with both."""
    return [each for each in zip(given, ours, wanted, strict=True) if each[1] != each[2]]
