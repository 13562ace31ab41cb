"""`samclip-edge get`: fetch a pair of public weights and make a bundle of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from samclip_edge.cli.common import Json, bar, emit, note, option_names
from samclip_edge.errors import ChecksumError, InputError


def run(
    pair: Annotated[str | None, typer.Argument(metavar="PAIR", help="One of `get --list`.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", metavar="DIR", help="The bundle folder to write. A bundle there is replaced."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the pairs, and fetch nothing.")] = False,
    size: Annotated[
        list[str] | None, typer.Option(metavar="S|WxH", help="SAM's input size, as in `export`; 1024 when left out.")
    ] = None,
    precision: Annotated[str, typer.Option(help="The precision of the weights: fp32, fp16 or int8.")] = "fp32",
    vocabulary: Annotated[
        Path | None,
        typer.Option(metavar="NAMES.txt", help="One name a line: ship their features in place of the text encoder."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE.safetensors", help="Keep the checkpoint here, to `export` it for another target."),
    ] = None,
    accept: Annotated[
        str | None, typer.Option(metavar="LICENCE", help="The licence that you accept, of a pair for research only.")
    ] = None,
    json: Json = False,
) -> None:
    """Fetch public weights from the Hugging Face hub and write a verified bundle of SAM and CLIP, side by side.

    The hub's own library fetches: files that are in its cache are not fetched again, a download that was stopped goes
    on, and HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and proxies hold.
    """
    if listed:
        _list(json)
        return
    if pair is None:
        raise InputError("PAIR: name one; `samclip-edge get --list` shows them")
    if output is None:
        raise InputError("-o: name the folder to write")
    if checkpoint is not None and checkpoint.suffix != ".safetensors":
        raise InputError(f"--checkpoint {checkpoint}: end the name in .safetensors")
    from samclip_edge.cli import exporting
    from samclip_edge.export.get import check_terms, get, pair_of

    names = None if vocabulary is None else exporting.read_names(vocabulary)
    try:
        with option_names(name="PAIR", sizes="--size", precision="--precision", accepted="--accept"):
            chosen = pair_of(pair)
            accepted = _consent(chosen.bound, accept)
            check_terms(chosen, accepted)
            note(f"{pair}: {chosen.megabytes} MB from the hub, or from its cache")
            bundle = get(pair, output, size, precision, names, accepted, checkpoint, bar())
    except ChecksumError as error:
        note(f"error: {error}")
        raise typer.Exit(1) from error
    note(f"{output}: verified")
    emit(exporting.document(bundle, {}), json, lambda: exporting.show(bundle, {}))


def _consent(bound: Any, accept: str | None) -> str | None:
    """The licence that is accepted: by the option, or by an answer where somebody can be asked."""
    if bound is None or accept is not None:
        return accept
    note(f"{bound.repository} is under {bound.license}, for research only: no product may use it or what is made of it")
    note(f"its text: https://huggingface.co/{bound.repository}")
    if not sys.stdin.isatty():
        return None
    note(f"do you accept {bound.license}? [y/N]")
    return bound.license if sys.stdin.readline().strip().lower() in ("y", "yes") else None


def _list(json: bool) -> None:
    from samclip_edge.bundle.pairs import PAIRS
    from samclip_edge.bundle.weights import bars_products

    document = [
        {
            "pair": name,
            "good_for": pair.good_for,
            "megabytes": pair.megabytes,
            "files": [
                {**each._asdict(), "research_only": bars_products(each.license)} for each in (pair.sam, pair.clip)
            ],
        }
        for name, pair in PAIRS.items()
    ]

    def show() -> None:
        for name, pair in PAIRS.items():
            print(f"{name}: {pair.megabytes} MB; for {pair.good_for}")
            for what, each in (("masks", pair.sam), ("names", pair.clip)):
                research = ", FOR RESEARCH ONLY" if bars_products(each.license) else ""
                print(f"    {what} by {each.repository}, {each.megabytes} MB, licence {each.license}{research}")

    emit({"pairs": document}, json, show)
