"""Texts that are hard to clean and to tokenize as Python does, for runtimes in other languages."""

from __future__ import annotations

import ast
import random
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

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


@cache
def strings_of_tests() -> tuple[str, ...]:
    """Every string that stands in the tests of the Python package's core, as far as it is UTF-8."""
    found: dict[str, None] = {}
    for path in sorted((Path(__file__).parent / "core").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[node.value.encode("utf-8", "replace").decode()] = None
    return tuple(found)


def random_strings(characters: Sequence[str]) -> list[str]:
    """10,000 strings of what is hard: pieces of NASTY, words, and some of these characters, from all over Unicode."""
    rng = random.Random(0)
    marks = [c for c in characters if unicodedata.combining(c)]
    cased = [c for c in characters if c.lower() != c]
    near = [c for c in characters if c < "\u0250"]
    words = [text for text in strings_of_tests() if len(text) < 30]

    def piece() -> str:
        source = rng.choice([NASTY, NASTY, characters, marks, cased, near, words])
        return rng.choice(source)

    return [rng.choice(["", "", " "]).join(piece() for _ in range(rng.randint(0, 14))) for _ in range(10_000)]
