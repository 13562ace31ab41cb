"""What the native library makes of texts (`probe_text.cpp`), and texts that are hard to get right."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", ROOT / "build" / "native"))
NASTY = [
    "'s", "'S", "'re", "don't", "''ll", "!'s", "'ve'd", "’s", "ʼn", "<start_of_text>", "<END_OF_TEXT>",
    "<end_of_text", "</w>",
    "&", "&#", "&#x", ";", "&amp;", "&ampamp;", "&amp;amp;lt;", "&notit;", "&notin;", "&copy2", "&NotEqualTilde;",
    "&fjlig;",
    "&CounterClockwiseContourIntegral;", "&CounterClockwiseContourIntegralx;", "&#0;", "&#13", "&#28;", "&#128;",
    "&#x9F;",
    "&#xD800;", "&#x110000;", "&#99999999999999999999;", "&#xfffe;", "&#x1F600", "&#65&#66;", "&Eacute", "&eacute;",
    "<", ">",
    "\x1b[31m", "\x1b[1;٣4m", "\x1b[", "\x1b[;;", "\x1b", "\x00", "\x07", "\x1c", "\x1f", "\x7f", "\x80", "\x92",
    "\x85", "\x9d",
    "\u00a0", "\u1680", "\u180e", "\u2028", "\u200b", "\u200d", "\ufeff", "\u3000", "\u206a", "\ufffa", "\t", "\n",
    "\r", " ",
    "Σ", "ΑΣ", "Σ.Σ", "Σ\u0301", "ς", "σ", "İ", "I\u0307", "ẞ", "ß", "ſ", "K", "Å", "Ω", "ᾼ", "ǅ", "Ⅷ", "ⓐ", "🄰", "ª",
    "e\u0301", "\u0301", "a\u0323\u0307", "a\u0307\u0323", "\u1100\u1161\u11a8", "가\u11a8", "\u0958", "\u0344", "ﾊﾟ",
    "ｶﾞ", "￣",
    "ﬁ", "ﬄ", "ŉ", "Ĳ", "ǉ", "Ａ", "１", "！", "’", "‟", "„", "½", "²", "①", "٣", "४", "𝟗", "一", "〇", "_", "-", "~",
    "…", "—",
    "😀", "👩‍👩‍👧", "👍🏽", "🇩🇪", "犬", "ไทย", "हिन्दी", "עברית", "x" * 300, "ab" * 90, "aé" * 60, "!" * 80,
    "1" * 20, '"', "'", "\\",
]  # fmt: skip


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
def strings_of_tests() -> tuple[str, ...]:
    """Every string that stands in the tests of the Python package's core, as far as it is UTF-8."""
    found: dict[str, None] = {}
    for path in sorted((ROOT / "tests" / "core").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[node.value.encode("utf-8", "replace").decode()] = None
    return tuple(found)


@cache
def known_to_both() -> tuple[str, ...]:
    """The characters that are assigned in this Python's Unicode and in utf8proc's."""
    bounds = [int(each) for each in ask(["assigned"])[0].split()]
    native = (chr(c) for first, last in zip(bounds[::2], bounds[1::2], strict=True) for c in range(first, last + 1))
    return tuple(c for c in native if unicodedata.category(c) not in ("Cn", "Cs", "Co"))


def random_strings() -> list[str]:
    """10,000 strings of what is hard: pieces of NASTY, words, and characters from all over Unicode."""
    rng = random.Random(0)
    characters = known_to_both()
    marks = [c for c in characters if unicodedata.combining(c)]
    cased = [c for c in characters if c.lower() != c]
    near = [c for c in characters if c < "\u0250"]
    words = [text for text in strings_of_tests() if len(text) < 30]

    def piece() -> str:
        source = rng.choice([NASTY, NASTY, characters, marks, cased, near, words])
        return rng.choice(source)

    return [rng.choice(["", "", " "]).join(piece() for _ in range(rng.randint(0, 14))) for _ in range(10_000)]


@cache
def strings() -> tuple[str, ...]:
    """All of them: of tests, of NASTY, and random ones."""
    return (*strings_of_tests(), *NASTY, *random_strings())


def different(given: Sequence[str], ours: Sequence[Any], wanted: Sequence[Any]) -> list[tuple[str, Any, Any]]:
    """The texts whose answers differ, with both."""
    return [each for each in zip(given, ours, wanted, strict=True) if each[1] != each[2]]
