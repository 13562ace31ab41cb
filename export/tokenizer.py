"""CLIP's byte-pair vocabulary as a `tokenizer.json` of the `tokenizers` library.

`python -m samclip_edge.export.tokenizer FILE` wrote the one that ships with the package, from the merges in the
open_clip distribution (`bpe_simple_vocab_16e6.txt.gz`, OpenAI, MIT). A test checks that this code still writes that
file.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

START, END = "<start_of_text>", "<end_of_text>"
# open_clip/tokenizer.py `SimpleTokenizer.pat`: contractions, words, single digits, runs of anything else.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_letters() -> list[str]:
    """The letter that stands for each byte, in the order in which CLIP numbers them (printable bytes first)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = len([byte for byte in range(256) if byte not in printable])
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(others)]


def clip_tokenizer(merges_file: Path) -> Tokenizer:
    """The tokenizer of `open_clip.tokenizer.SimpleTokenizer`: same vocabulary of 49408, same ids."""
    lines = gzip.decompress(merges_file.read_bytes()).decode("utf-8").split("\n")
    merges = [(a, b) for a, b in (line.split() for line in lines[1 : 49152 - 256 - 2 + 1])]
    letters = byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges), START, END]
    tokenizer = Tokenizer(
        models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges, end_of_word_suffix="</w>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens([START, END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(word, words.index(word)) for word in (START, END)]
    )
    tokenizer.enable_truncation(77)
    tokenizer.enable_padding(pad_id=0, pad_token="!")
    return tokenizer


if __name__ == "__main__":
    import open_clip

    merges = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    Path(sys.argv[1]).write_text(clip_tokenizer(merges).to_str(pretty=False), "utf-8")
