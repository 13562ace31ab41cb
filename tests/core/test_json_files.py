"""JSON of others: what is no JSON is a ValueError, whatever Python's reader makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samclip_edge.json_files import parse_json, read_json


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_every_coding_of_json_is_read(coding: str, tmp_path: Path) -> None:
    content = {"names": ["Hündin", "犬"], "numbers": [1, 2.5, -3e-2, None, True]}
    path = tmp_path / "x.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(coding))
    assert read_json(path) == content
    assert parse_json("\ufeff" + json.dumps(content)) == content


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested"),
        ('{"a":' * 100_000, "nested"),
        ("[" * 100_000 + "]" * 100_000, "nested"),
        ("9" * 10_000, "digits"),
        (b"\xff\xfe\xfd", "decode"),
        (b'"caf\xe9"', "decode"),
        ("", "Expecting value"),
        ("{", "Expecting"),
    ],
)
def test_what_is_no_json_is_a_value_error_of_one_line(text: str | bytes, said: str) -> None:
    for strict in (True, False):
        with pytest.raises(ValueError, match=said) as error:
            parse_json(text, strict=strict)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[NaN]", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("[1e999]", "1e999"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "'c' stands twice"),
    ],
)
def test_what_python_takes_for_json_is_refused_where_it_is_strict(text: str, said: str) -> None:
    parse_json(text, strict=False)
    with pytest.raises(ValueError, match=said):
        parse_json(text)


def test_a_text_too_large_for_the_memory_is_a_value_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(json, "loads", full)
    with pytest.raises(ValueError, match="memory"):
        parse_json("1")
    monkeypatch.setattr(Path, "read_bytes", full)
    with pytest.raises(ValueError, match="memory"):
        read_json(tmp_path / "x.json")
