"""A tokenizer that is not CLIP's: the `tokenizer.json` of a hub page, as bundles carry it.

A bundle's file says itself how texts are cut and filled up, and which token ids end a text, so that a runtime needs
nothing but the `tokenizers` library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors

from samclip_edge.bundle.spec import TextSpec
from samclip_edge.errors import InputError, one_line
from samclip_edge.json_files import read_json


def as_bundled(folder: Path, spec: TextSpec, model: str, argument: str) -> str:
    """The text of the `tokenizer.json` in a folder, with what `tokenizer_config.json` beside it adds.

    As transformers reads the two: `pad_token` fills a text up to its context, and `add_bos_token` and `add_eos_token`,
    where they stand there, say what comes before and after a text. model, argument: for messages. Raises InputError
    where a file is missing or damaged, or asks for something else.
    """
    path, beside = folder / "tokenizer.json", folder / "tokenizer_config.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text("utf-8-sig"))
    except Exception as error:  # the tokenizers library raises plain Exception
        raise InputError(f"{path}: not a tokenizer.json ({one_line(error)}); fetch it again") from None
    try:
        config = read_json(beside, strict=False) if beside.is_file() else {}
        wrong = [side for side in ("padding_side", "truncation_side") if config.get(side, "right") != "right"]
        pad = _token(config, "pad_token") or (tokenizer.padding or {}).get("pad_token")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{beside}: not a tokenizer's configuration ({one_line(error)}); fetch it again") from None
    if wrong:
        raise InputError(f"{beside}: {wrong[0]} is not right, which no runtime here knows; choose another CLIP")
    number = None if pad is None else tokenizer.token_to_id(pad)
    if pad is None or number is None:
        mend = "put its tokenizer_config.json beside it"
        raise InputError(f"{path}: does not say which token fills a text up; {mend}")
    largest = max(tokenizer.get_vocab().values())
    if largest >= spec.vocab:
        raise InputError(f"{model}: {path} has token ids up to {largest}, its tower {spec.vocab}", argument)
    _end(tokenizer, config)
    tokenizer.enable_truncation(spec.context)
    tokenizer.enable_padding(pad_id=number, pad_token=pad, length=spec.context if spec.filled else None)
    return str(tokenizer.to_str(pretty=False))


def _token(config: dict[str, Any], name: str) -> str | None:
    """A special token, which stands there as a text or as `{"content": text}`."""
    value = config.get(name)
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None


def _end(tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    """Set what comes before and after a text, where the configuration says so."""
    if "add_bos_token" not in config and "add_eos_token" not in config:
        return
    before = _token(config, "bos_token") if config.get("add_bos_token") else None
    after = _token(config, "eos_token") if config.get("add_eos_token") else None
    special = [(token, number) for token in (before, after) if token and (number := tokenizer.token_to_id(token))]
    parts = [token for token in (before, "$A", after) if token == "$A" or token in dict(special)]
    tokenizer.post_processor = processors.TemplateProcessing(single=" ".join(parts), special_tokens=special)
