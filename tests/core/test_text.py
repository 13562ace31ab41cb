"""Words against open_clip's own tokenizer."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import open_clip
import pytest

from samclip_edge import data
from samclip_edge.bundle.spec import PRESETS
from samclip_edge.export.tokenizer import clip_tokenizer
from samclip_edge.text.names import check_labels
from samclip_edge.text.tokenizer import Tokenizer, clean, tokenizer_json

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
    ours = Tokenizer(tokenizer_json(2562), 77)
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
