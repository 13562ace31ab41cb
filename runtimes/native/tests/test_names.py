"""Names and templates in the native library against the Python package: the same lists, and the same errors."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from text_answers import ask, different, strings, texts_in, word

from samclip_edge.errors import InputError
from samclip_edge.text.names import check_background, check_labels, read_names, read_templates


def of_python(call: Callable[[Any], Any], given: Any) -> Any:
    """What a call answers, or the line of its error."""
    try:
        return call(given)
    except InputError as error:
        return str(error)


LABELS: list[list[str]] = [
    [], ["dog"], [" dog", "cat", "dog "], ["dog", ""], ["dog", " \u3000\x1c"], ["&nbsp;"], ["dog", "caf\udce9"],
    ["\udcff" * 70],
    ["Dog", "dog", "DOG&#32;", "ｄｏｇ"], ["\x1b[31m"], ["é", "e\u0301", "É"], ["it's \"both\"\udc80"], ["it's\udc80"],
    
]  # fmt: skip


def test_labels_are_checked_as_in_python() -> None:
    rng = random.Random(1)
    usable = [text for text in strings() if "\0" not in text]  # which no string of C holds
    given = [*LABELS, *(rng.choices(usable, k=rng.randint(1, 6)) for _ in range(1000))]
    for command, python in (
        (f"labels {word('--text')}", lambda names: check_labels(names, "--text")),
        ("background", check_background),
    ):
        ours = [texts_in(line) for line in ask(" ".join([command, *map(word, names)]) for names in given)]
        wanted = [of_python(python, names) for names in given]
        assert not different([str(names) for names in given], ours, wanted)
    assert texts_in(ask(["no_background"])[0]) == ["background"]


LISTS: list[bytes] = [
    b"", b"[]", b"{}", b"[1]", b'["a {}"]', b'["a {}", 3]', b'["a {}", "b"]', b'["a {}", null, true]', b'"a {}"',
    b'["a {}"] x', b"[",
    b'["a {}"', b'["a {}",', b'["a {}",]', b'["a {}', b'["a {}\\', b'["a {}\\q"]', b'["a {}\\u12"]',
    b'["a {}\\u12g4"]', b'["\\u00e9{}"]',
    b'["\\ud83d\\ude00 {}"]', b'["\\ud83d {}"]', b'["{} \\ud83d"]', b'["{} \\ude00\\ud83d"]',
    b'["{} \\ud83d\\u0041"]', b'["{} \\ud83d\\u00"]',
    b'["caf\\udce9 {}"]', b'["a {}", "a\\u0000{}"]', b'["a\t{}"]', b'["\\"\\\\\\/\\b\\f\\n\\r\\t{}"]', b"[NaN]",
    b"[-Infinity]", b"[Infinity]",
    b"[-]", b"[01]", b"[1.]", b"[1e]", b"[-1.5e+20]", b"[.5]", b"[nul]", b'[{"a": 1, "b": [null, false, {}]}]',
    b'[{"a": 1, "a": 2}]',
    b'[{"b": 1, "a": [2]}]', b'["a {}"]\0', b'["a {}"]\0 x', b'["a {}", \0]',
    b'[{"a" 1}]', b'[{"a": }]', b'[{"a": 1 "b"}]', b"[{1: 2}]", b'[{"a": 1,}]', b"[" * 5000, b'{"a":' * 5000,
    b'["' + b"\\n{} it's" * 40 + b'"]',
    '["犬 {}"]'.encode(), '\ufeff["犬 {}"]'.encode(), '\ufeff\ufeff["犬 {}"]'.encode(),
    '\ufeff\ufeff\ufeff["犬"]'.encode(), '\n\n ["犬", \n "é", x]'.encode(),
    '["a {}"]'.encode("utf-16"), '["a {}"]'.encode("utf-16-be"), '["a {}"]'.encode("utf-32"), b"\xff\xd8\xff\xe0",
    b'["caf\xe9 {}"]', b'["\xe7\x8a"]', b'["\xe7',
    b"\xef\xbb\xbf[\xc0\x80]", b"[\xed\xa0\x80]", b"[\xf4\x90\x80\x80]", b"[\xf0\x9f\x98]", b"[\xf0\x9f",
    b"a {}\n b {} \r\n\n\x1c{}", b"a {}\na photo\n", b"\n\n",
    "{} a\u2028{} b\x85{} c\x0b{} d\x1f".encode(), " \u3000[\"{}\"]".encode(), b"a {} \0\n", b"{}\xff",
    (b"x" * 80) + b"\n",
]  # fmt: skip


def damaged(rng: random.Random) -> bytes:
    """A list with a few bytes changed, doubled, or cut off."""
    content = bytearray(rng.choice([each for each in LISTS if len(each) < 1000]))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        content[at : at + rng.randint(0, 3)] = rng.choice(
            [b"", b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"\xff", b"\xc3\xa9"]
        )
    return bytes(content[: rng.choice([len(content)] * 4 + [rng.randint(0, len(content))])])


OF_READERS = re.compile(
    r"\((.*: line \d+ column \d+ \(char \d+\)|-?\w+ is no number of JSON|no JSON at byte \d+)\)", re.DOTALL
)


def without_reason(said: Any) -> Any:
    """Why a text is no JSON each reader says in its own words; the rest of the line is the same."""
    return OF_READERS.sub("(no JSON)", said) if isinstance(said, str) else said


def is_half(said: Any) -> bool:
    """Whether Python speaks of half a pair of surrogates, which is no JSON to the native code (`json.hpp`)."""
    return isinstance(said, str) and bool(re.search(r"(?<!\\)\\ud[89a-f]", said))


@pytest.mark.parametrize(("command", "python"), [("names", read_names), ("templates", read_templates)])
def test_lists_are_read_as_in_python(tmp_path: Path, command: str, python: Callable[[Path], list[str]]) -> None:
    rng = random.Random(2)
    given = [(content, name) for content in LISTS for name in ("a.json", "a.txt", ".json")]
    given += [(damaged(rng), rng.choice(["a.json", "a"])) for _ in range(2000)]
    wanted, lines, shown = [], [], []
    for number, (content, name) in enumerate(given):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        path.write_bytes(content)
        said = of_python(python, path)
        if "Illegal trailing comma" in said:  # which only Python 3.13 and later call so
            continue
        wanted.append(said)
        lines.append(f"{command} {word(str(path))} {word(content)}")
        shown.append(f"{name}: {content[:100]!r}")
    answers = list(zip(shown, map(texts_in, ask(lines)), wanted, strict=True))
    halves = [own for _, own, said in answers if is_half(said)]
    assert len(halves) > 10
    assert all("(no JSON at byte " in own for own in halves)
    rest = [each for each in answers if not is_half(each[2])]
    assert not [each for each in rest if without_reason(each[1]) != without_reason(each[2])]
    assert len({str(said).partition(": ")[2] for said in wanted}) > 100
