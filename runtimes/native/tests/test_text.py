"""Text in the native library against the Python package: the same cleaning, and the same token ids."""

from __future__ import annotations

import json
import runpy
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hard_texts import NASTY
from text_answers import ROOT, ask, different, known_to_both, strings, texts_in, word
from tokenizers import normalizers

from samclip_edge import data
from samclip_edge.bundle.spec import TextSpec
from samclip_edge.text.tokenizer import Tokenizer, cleaned

Cleaning = Literal["lower", "canonicalize", "whitespace"]
TOKENIZERS = {  # each with its number of token ids
    "whole": (data.TOKENIZER, 49408),
    "photo": (data.FOLDER / "photo" / "tokenizer.json", 4098),
    "tiny": (data.FOLDER / "tiny" / "tokenizer.json", 2562),
}


def spec(vocab: int, how: Cleaning = "lower", causal: bool = True) -> TextSpec:
    """A text tower, which is filled up to its context where it is not causal."""
    return TextSpec(width=8, depth=1, heads=1, vocab=vocab, clean=how, causal=causal)


def test_there_is_enough_to_compare() -> None:
    assert len(strings()) > 11_000
    assert {"“quoted” ‘single’ it’s ‚low‛ „double‟", "ΟΔΥΣΣΕΥΣ", "naïve_café & “quotes”"} <= set(strings())
    assert len({cleaned(text, "lower") for text in strings()}) > 9_000


@pytest.mark.parametrize("how", get_args(Cleaning))
def test_texts_are_cleaned_as_in_python(how: Cleaning) -> None:
    ours = [texts_in(line) for line in ask(f"cleaned {word(how)} {word(text)}" for text in strings())]
    assert not different(strings(), ours, [[cleaned(text, how)] for text in strings()])


@pytest.mark.parametrize(("command", "python"), [("stripped", str.strip), ("shown", lambda text: f"{text!r:.60}")])
def test_texts_are_stripped_and_shown_as_in_python(command: str, python: Callable[[str], str]) -> None:
    ours = [texts_in(line) for line in ask(f"{command} {word(text)}" for text in strings())]
    assert not different(strings(), ours, [[python(text)] for text in strings()])


def test_every_character_is_taken_as_in_python() -> None:
    """Alone, and between letters, where case and marks depend on their neighbours."""
    given = [text for c in known_to_both() for text in (c, f"aΣ{c}Σ b\u0323{c}\u0307A")]
    assert len(given) > 200_000
    for command, python in (
        (f"cleaned {word('lower')}", lambda text: cleaned(text, "lower")),
        (f"cleaned {word('whitespace')}", lambda text: cleaned(text, "whitespace")),
        ("stripped", str.strip),
        ("shown", lambda text: f"{text!r:.60}"),
    ):
        ours = [texts_in(line) for line in ask(f"{command} {word(text)}" for text in given)]
        assert not different(given, ours, [[python(text)] for text in given])


def tokens(path: Path, vocab: int, how: Cleaning, context: int, filled: str, texts: list[str]) -> list[list[int]]:
    load = f"tokenizer {word(path.read_bytes())} {word(str(path))} {word(str(vocab))} {word(str(context))}"
    answers = ask([f"{load} {word(filled)} {word(how)}", *(f"tokens {word(text)}" for text in texts)])
    assert answers[0] == "0"  # the token id that fills
    return [[int(number) for number in line.split()] for line in answers[1:]]


def comparable(texts: Sequence[str], how: Cleaning) -> list[str]:
    """Without the few texts with marks that are newer than the Unicode (9) of the library's own normal form."""
    normal = normalizers.NFC()
    pairs = [(text, cleaned(text, how)) for text in texts]
    same = [text for text, clean in pairs if normal.normalize_str(clean) == unicodedata.normalize("NFC", clean)]
    assert len(same) > 0.99 * len(texts)
    return same


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(("how", "context"), [("lower", 77), ("canonicalize", 20), ("whitespace", 200)])
def test_token_ids_are_those_of_the_tokenizers_library(name: str, how: Cleaning, context: int) -> None:
    path, vocab = TOKENIZERS[name]
    python = Tokenizer.read(path, spec(vocab, how), context)
    given = comparable(strings(), how)
    ours = tokens(path, vocab, how, context, "", given)
    assert not different(given, ours, [python([text])[0].tolist() for text in given])
    assert max(map(len, ours)) == context


def test_tokens_of_every_character_are_those_of_the_tokenizers_library() -> None:
    """In capitals too: which are letters, numbers and white space, and what lower case the library has of them."""
    path, vocab = TOKENIZERS["whole"]
    python = Tokenizer.read(path, spec(vocab, "whitespace"))
    given = comparable([f"a{c}{c}1{c}!" for c in known_to_both()], "whitespace")
    ours = tokens(path, vocab, "whitespace", 77, "", given)
    assert not different(given, ours, [python([text])[0].tolist() for text in given])


def test_texts_are_filled_up_where_the_tower_needs_it() -> None:
    path, vocab = TOKENIZERS["tiny"]
    python = Tokenizer.read(path, spec(vocab, causal=False), 30)
    given = ["", "dog", "a photo of a dog", "word " * 40]
    ours = tokens(path, vocab, "lower", 30, "filled", given)
    assert ours == python(given).tolist()
    assert {len(line) for line in ours} == {30}


def changed(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(fields: dict[str, Any]) -> None:
        inner: Any = fields
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed("model", "type", to="WordPiece"),
        changed("model", "dropout", to=0.5),
        changed("model", "byte_fallback", to=True),
        changed("model", "end_of_word_suffix", to=None),
        changed("model", "vocab", "zz", to=9999),
        changed("model", "vocab", "zz", to=-1),
        changed("model", "vocab", "zz", to="1"),
        changed("model", "merges", 0, to=["i"]),
        changed("model", "merges", 0, to=["i", "☃"]),
        changed("model", "merges", 0, to=["i", "i"]),
        changed("model", to=None),
        changed("normalizer", to=None),
        changed("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", to="x"),
        changed("post_processor", "single", to=[]),
        changed("post_processor", "special_tokens", to={}),
        changed("added_tokens", to=[]),
        changed("added_tokens", 0, "normalized", to=True),
        changed("added_tokens", 0, "id", to=5),
        changed("padding", "pad_id", to=-1),
    ],
)
def test_a_tokenizer_that_is_not_clips_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    path, vocab = TOKENIZERS["tiny"]
    fields = json.loads(path.read_text("utf-8"))
    change(fields)
    rest = f"{word('t.json')} {word(str(vocab))} {word('77')} x {word('lower')}"
    said = texts_in(ask([f"tokenizer {word(json.dumps(fields))} {rest}"])[0])
    assert isinstance(said, str)
    assert said.startswith("t.json: not a tokenizer.json (")
    assert said.endswith("); export the bundle again")


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    path, vocab = TOKENIZERS["tiny"]
    whole = path.read_bytes()
    rest = f"{word('t.json')} {word(str(vocab))} {word('77')} x {word('lower')}"
    cuts = [whole[: len(whole) * part // 40] for part in range(40)]
    for answer in ask(f"tokenizer {word(cut)} {rest}" for cut in [*cuts, whole[:500] + b"\xff" + whole[500:]]):
        assert answer.startswith("error ")
    assert ask([f"tokenizer {word(codecs_mark + whole)} {rest}" for codecs_mark in (b"", b"\xef\xbb\xbf")]) == [
        "0",
        "0",
    ]


def test_merges_may_be_written_as_older_files_have_them(tmp_path: Path) -> None:
    path, vocab = TOKENIZERS["tiny"]
    fields = json.loads(path.read_text("utf-8"))
    fields["model"]["merges"] = [" ".join(pair) for pair in fields["model"]["merges"]]
    fields["padding"] = None
    older = tmp_path / "tokenizer.json"
    older.write_text(json.dumps(fields), "utf-8")
    given = ["a striped purple crescent and an orange arrow", *NASTY]
    python = Tokenizer.read(path, spec(vocab))
    assert tokens(older, vocab, "lower", 77, "", given) == [python([text])[0].tolist() for text in given]


def test_the_table_of_entities_is_pythons() -> None:
    native = ROOT / "runtimes" / "native"
    tool = runpy.run_path(str(native / "tools" / "html_entities.py"))
    assert (native / "src" / "text" / "html_entities.inc").read_text("utf-8") == tool["table"]()
