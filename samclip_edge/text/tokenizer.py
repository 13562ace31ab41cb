"""Text to token ids: cleaned and tokenized as OpenCLIP does."""

from __future__ import annotations

import html
import json
import re
import string
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as HuggingFaceTokenizer

from samclip_edge import data
from samclip_edge.bundle.spec import TextSpec
from samclip_edge.errors import InputError, one_line

# What ftfy, which OpenCLIP cleans its captions with, does to well-encoded text: plain quotes, letters for ligatures,
# ordinary widths, no control characters. (Text broken by a wrong decoding is repaired by ftfy and left as it is here.)
_LIGATURES = "ĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬅﬆ"
_WIDTHS = ["\u3000", *map(chr, range(0xFF01, 0xFFF0))]
_CONTROLS = [*range(0x00, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]
_C1 = {c: bytes([c]).decode("cp1252", "ignore") or chr(c) for c in range(0x80, 0xA0)}  # Latin-1 for Windows-1252
_CLEAN: dict[int, str | None] = {
    **{ord(c): "'" for c in "\u02bc\u2018\u2019\u201a\u201b"},
    **{ord(c): '"' for c in "\u201c\u201d\u201e\u201f"},
    **{ord(c): unicodedata.normalize("NFKC", c) for c in [*_LIGATURES, *_WIDTHS]},
    ord("ŉ"): "'n",
    **dict.fromkeys(_CONTROLS),
}
_TERMINAL = re.compile("\033\\[((?:\\d|;)*)([a-zA-Z])")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """A caption as OpenCLIP's `_clean_lower` leaves it: entities unescaped, quotes and widths plain, lower case."""
    return cleaned(text, "lower")


def cleaned(text: str, how: Literal["lower", "canonicalize", "whitespace"]) -> str:
    """A caption as OpenCLIP's cleaning function of that name leaves it, whose `_clean_lower` CLIP's tokenizer takes.

    "whitespace" leaves capitals, and "canonicalize" no punctuation.
    """
    if "<" not in text:
        text = html.unescape(text)
    text = _TERMINAL.sub("", text).translate(_C1).translate(_CLEAN)
    text = unicodedata.normalize("NFC", _SURROGATES.sub("\ufffd", text))
    text = html.unescape(html.unescape(text))
    if how == "canonicalize":
        text = text.replace("_", " ").translate(_PUNCTUATION)
    text = " ".join(text.split())
    return text if how == "whitespace" else text.lower()


def tokenizer_json(vocab: int) -> str:
    """CLIP's `tokenizer.json`, cut to `vocab` ids where that is fewer than its 49408.

    The commonest merges are kept, and start and end of text stay the last two ids. Any text can still be tokenized,
    into more and shorter pieces; a small model saves parameters of its token embedding.
    """
    text = data.TOKENIZER.read_text("utf-8")
    fields = json.loads(text)
    words = sorted(fields["model"]["vocab"], key=fields["model"]["vocab"].get)
    if vocab == len(words):
        return text
    ids = {word: index for index, word in enumerate([*words[: vocab - 2], *words[-2:]])}
    fields["model"]["vocab"] = ids
    fields["model"]["merges"] = fields["model"]["merges"][: vocab - 514]  # 512 letters, then a word for each merge
    for added in fields["added_tokens"]:
        added["id"] = ids[added["content"]]
    for word, special in fields["post_processor"]["special_tokens"].items():
        special["ids"] = [ids[word]]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


class Tokenizer:
    """A text tower's tokenizer, from the text of a `tokenizer.json` of the `tokenizers` library."""

    def __init__(self, text: str, spec: TextSpec, context: int | None = None) -> None:
        """context: how long a text may be, where that is less than the tower's."""
        length = context or spec.context
        self._clean = spec.clean
        self._tokenizer = HuggingFaceTokenizer.from_str(text)
        fills = self._tokenizer.padding or {"pad_id": 0, "pad_token": "!"}
        self.pad = int(fills["pad_id"])  # the token id that fills a text up
        self._tokenizer.enable_truncation(length)
        filled = length if spec.filled else None
        self._tokenizer.enable_padding(pad_id=self.pad, pad_token=fills["pad_token"], length=filled)

    @classmethod
    def of(cls, spec: TextSpec, own: str | None = None) -> Tokenizer:
        """The tokenizer that a text tower was made for. own: the text of its `tokenizer.json`, if that is not CLIP's.

        Raises InputError where it is missing.
        """
        if spec.tokenizer == "clip":
            return cls(tokenizer_json(spec.vocab), spec)
        if own is None:
            raise InputError("text: its tokenizer is not CLIP's, and is not given; name a file of its weights")
        return cls(own, spec)

    @classmethod
    def read(cls, path: Path, spec: TextSpec, context: int | None = None) -> Tokenizer:
        """The tokenizer of a bundle. Raises InputError when the file is none."""
        try:
            return cls(path.read_text("utf-8-sig"), spec, context)
        except Exception as error:  # the tokenizers library raises plain Exception
            raise InputError(f"{path}: not a tokenizer.json ({one_line(error)}); export the bundle again") from None

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Token ids (B,L) int32: start of text, the words, end of text, and a filling up to the longest text's length.

        A text that is longer than the context (77) is cut. Where the tower needs it, all are filled up to the context.
        """
        encoded = self._tokenizer.encode_batch([cleaned(text, self._clean) for text in texts])
        return np.array([line.ids for line in encoded], np.int32)
