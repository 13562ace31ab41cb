"""Words against open_clip's own tokenizer."""

from __future__ import annotations

import codecs
import random
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import pytest

from samclip_edge import SamClip, data
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError
from samclip_edge.export.tokenizer import clip_tokenizer
from samclip_edge.text.judge import check_score
from samclip_edge.text.names import check_background, check_labels, read_names, read_templates
from samclip_edge.text.tokenizer import Tokenizer, clean

HAND_PICKED = [
    "a photo of a dog", "", "   ", "don't WE'LL I've they're", "tab\tnew\nline  space", "!!! ??? ...", "1234 5.6 7,890",
    "“quoted” ‘single’ it’s ‚low‛ „double‟", "ﬁne ﬂow ﬃ ŉ ĳ Ǉ", "Ａ ＦＵＬＬ　ｗｉｄｔｈ", "ﾊﾝｶｸ ｶﾞ",
    "naïve café e\u0301 a\u0300\u0301", "ΟΔΥΣΣΕΥΣ", "İstanbul", "ß STRASSE ẞ", "日本語 テキスト", "한국어", "עברית",
    "हिन्दी", "ไทย", "собака СОБАКА", "Ångström Å", "½ ² Ⅷ ①", "😀 👩‍👩‍👧 👍🏽 🇩🇪", "\ufeffbom",
    "a\u00a0b\u2028c\u3000d\u200be",
    "&amp; &lt;b&gt; &amp;amp; &eacute; &hearts; &#39; &#x1F600;", "<b>bold &amp; x</b>", "&nbsp;", "&unknown; &",
    "\x1b[31mred\x1b[0m", "bell\x07 null\x00", "x" * 500, "word " * 300, "supercalifragilistic" * 30,
    "<end_of_text> inside", "<start_of_text>", "a </w> b", "\x92quote \x85dots", "a—b…c•d", "~|~ÿ¡¿",
    "snake_case-kebab/slash",
]  # fmt: skip


def strings() -> list[str]:
    """Every hand-picked string and 600 seeded ones from all over Unicode."""
    rng = random.Random(0)
    letters = [c for c in map(chr, range(32, 0x1FBFF)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
    words = ["dog", "Cat", "blue", "ÉCLAIR", "naïve", "42", "&amp;", "😀", "犬", "it's", ",", "\n"]
    mixed = [" ".join(rng.choices(words, k=rng.randint(1, 40))) for _ in range(200)]
    wild = ["".join(rng.choices(letters, k=rng.randint(1, 20))) for _ in range(400)]
    return HAND_PICKED + mixed + wild


def test_ids_are_those_of_open_clip() -> None:
    ours, theirs = Tokenizer.of(PRESETS["vit_b"].text), open_clip.get_tokenizer("ViT-L-14")
    texts = strings()
    assert len(texts) > 500
    ids, wanted = ours(texts), theirs(texts).numpy()
    different = [text for text, a, b in zip(texts, ids, wanted, strict=True) if a.tolist() != b.tolist()]
    assert not different
    assert ids.dtype == "int32"
    assert ids.shape == (len(texts), 77)  # some of them are cut at the context


def test_the_shipped_vocabulary_is_that_of_open_clip() -> None:
    merges = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    assert data.TOKENIZER.read_text("utf-8") == clip_tokenizer(merges).to_str(pretty=False)


def test_a_shortened_vocabulary_is_that_of_open_clip_with_fewer_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against open_clip's own byte-pair code, given only the merges that are kept."""
    theirs = open_clip.tokenizer.SimpleTokenizer()
    kept = 2562 - 514
    words = [*list(theirs.encoder)[: 512 + kept], "<start_of_text>", "<end_of_text>"]
    theirs.encoder = {word: index for index, word in enumerate(words)}
    theirs.bpe_ranks = {merge: rank for merge, rank in theirs.bpe_ranks.items() if rank < kept}
    ours = Tokenizer.of(PRESETS["tiny"].text)
    for text in [*HAND_PICKED, "a striped purple crescent and an orange arrow"]:
        if "_of_text>" in text:
            continue
        wanted = [2560, *theirs.encode(text)[:75], 2561]
        assert ours([text])[0].tolist() == wanted, clean(text)


def test_texts_are_as_long_as_the_longest_of_them() -> None:
    ours = Tokenizer.of(PRESETS["vit_b"].text)
    start, end = 49406, 49407
    dog, a = open_clip.get_tokenizer("ViT-L-14")(["dog", "a"])[:, 1].tolist()
    assert ours(["dog", "a dog", ""]).tolist() == [[start, dog, end, 0], [start, a, dog, end], [start, end, 0, 0]]


def test_labels_keep_their_order_and_come_once() -> None:
    assert check_labels([" dog", "cat", "dog "]) == ["dog", "cat"]


NO_TEXT = [("caf\udce9", "is not UTF-8"), ("\ud83d", "is not UTF-8"), ("a\0b", "holds a NUL character")]


@pytest.mark.parametrize(("text", "fault"), NO_TEXT)
def test_what_is_no_text_is_refused_as_a_name(text: str, fault: str) -> None:
    """Native code crashed on it, after all the work."""
    said = f"name 2 of 2, {text!r}, {fault}; give letters in UTF-8"
    for check, argument in ((check_labels, "labels"), (check_background, "background")):
        with pytest.raises(InputError) as error:
            check(["dog", text])
        assert (str(error.value), error.value.argument) == (f"{argument}: {said}", argument)
    with pytest.raises(InputError) as error:
        check_labels(["dog", text], "--text")
    assert str(error.value) == f"--text: {said}"


@pytest.fixture(scope="module")
def model() -> SamClip:
    return SamClip.load(data.TINY)


@pytest.mark.parametrize(("text", "fault"), [*NO_TEXT, (5, "is no text")])
def test_what_is_no_text_reaches_no_text_encoder(model: SamClip, text: Any, fault: str) -> None:
    refused: list[tuple[Callable[[Sequence[str]], object], str]] = [
        (model.words.features, "name"),
        (model.words.encode, "text"),
    ]
    for read, argument in refused:
        with pytest.raises(InputError) as error:
            read(["dog", text])
        assert (str(error.value), error.value.argument) == (
            f"{argument} {text!r}: {fault}; give letters in UTF-8",
            argument,
        )


@pytest.mark.parametrize("labels", [[], [" "], "dog"])
def test_a_fault_of_labels_names_the_argument(labels: Any) -> None:
    with pytest.raises(InputError, match=r"^labels: ") as error:
        check_labels(labels)
    assert error.value.argument == "labels"


@pytest.mark.parametrize("chance", [1.5, -1, float("nan"), 10**400])
def test_a_score_that_is_no_chance_names_the_argument(chance: float) -> None:
    with pytest.raises(InputError, match=r"^min_score \S+: give a chance, 0 to 1$") as error:
        check_score(chance)
    assert error.value.argument == "min_score"


def test_lists_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_bytes(codecs.BOM_UTF8 + '["犬", "cat"]'.encode())
    assert read_names(path) == ["犬", "cat"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('["a {}"]'.encode("utf-16"), "UTF-16"),
        (b"[" * 100_000, "nested too deeply"),
        (b'["caf\\udce9 {}"]', "1 of 1, 'caf\\udce9 {}', is not UTF-8"),
        (b'["a {}", "a\\u0000{}"]', "2 of 2, 'a\\x00{}', holds a NUL character"),
    ],
)
def test_a_list_that_is_no_text_is_refused_in_a_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(content)
    for read in (read_names, read_templates):
        with pytest.raises(InputError) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")
        assert said in str(error.value)
        assert "\n" not in str(error.value)
