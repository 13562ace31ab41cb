"""Writes src/text/html_entities.inc: the named characters of HTML 5, from Python's own table.

python runtimes/native/tools/html_entities.py
"""

from __future__ import annotations

from html.entities import html5
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "text" / "html_entities.inc"


def rows() -> list[str]:
    """One `{name, first character, second or 0, whether it also counts without a semicolon}` each, sorted by name."""
    found = []
    for name in sorted(name.removesuffix(";") for name in html5 if name.endswith(";")):
        characters = html5[f"{name};"]
        first, second = ord(characters[0]), ord(characters[1]) if len(characters) > 1 else 0
        found.append(f'{{"{name}",0x{first:X},0x{second:X},{int(name in html5)}}},')
    return found


def table() -> str:
    """The file, in lines of at most 120 columns."""
    lines = ["// Made by tools/html_entities.py from Python's html.entities.html5."]
    for row in rows():
        if len(lines) == 1 or len(lines[-1]) + len(row) > 120:
            lines.append("")
        lines[-1] += row
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    OUT.write_text(table(), "utf-8")
