"""JSON that somebody else wrote: whatever is wrong with it is a ValueError, whose text fits into one line."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NoReturn


def read_json(path: str | os.PathLike[str], *, strict: bool = True) -> Any:
    """The content of a JSON file. Raises OSError where it cannot be read, and what `parse_json` raises."""
    try:
        data = Path(path).read_bytes()
    except MemoryError:
        raise ValueError("the file is too large for the memory") from None
    return parse_json(data, strict=strict)


def parse_json(data: str | bytes, *, strict: bool = True) -> Any:
    """The value of a JSON text: a string, or bytes in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    strict: also refuse what JSON does not have or leaves open, though Python reads it: NaN, infinite numbers, and a key
    that an object has twice. Raises ValueError for all that is no JSON, is nested too deeply, or has too long a number.
    """
    try:
        text = data if isinstance(data, str) else data.decode(json.detect_encoding(data))
        text = text.removeprefix("\ufeff")
        if not strict:
            return json.loads(text)
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None
    except MemoryError:
        raise ValueError("the text is too large for the memory") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found
