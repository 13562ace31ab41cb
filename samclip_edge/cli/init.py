"""`samclip-edge init`: put SAM's and CLIP's weights together into an untrained merged checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from samclip_edge.cli.common import Json, emit, note, option_names

Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the random weights, wherever none are given.")]


class Command(TyperCommand):
    """A verb whose `--help` ends with what each preset costs."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The presets, each with the size of its image encoder and the weights that it takes."""
        from samclip_edge.bundle.bases import listed

        with formatter.section("Presets: the image encoder's parameters, its multiply-adds at 1024, its weights"):
            formatter.write_dl(listed())


def run(
    output: Annotated[Path, typer.Option("-o", metavar="FILE.safetensors", help="The checkpoint to write.")],
    preset: Annotated[str, typer.Option(metavar="NAME", help="The model to build, one of those below.")] = "vit_b",
    sam: Annotated[Path | None, typer.Option(metavar="FILE", help="SAM's weights, as sam_vit_b_01ec64.pth.")] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="OpenCLIP weights: a file, MODEL:FILE, or MODEL:TAG to fetch, as ViT-L-14:datacomp_xl_s13b_b90k.",
        ),
    ] = None,
    radio: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="C-RADIO, for the preset radio: its hub page's files.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Build a checkpoint of public weights. What is not given is random; a CLIP head starts from SAM's last layer."""
    from samclip_edge.bundle.presets import PRESETS
    from samclip_edge.bundle.weights import research_only, weights_of
    from samclip_edge.errors import InputError
    from samclip_edge.model import checkpoint
    from samclip_edge.model.public import merged

    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: no such preset; choose {' or '.join(PRESETS)}")
    inputs = [("--sam", str(sam or "")), ("--clip", clip or ""), ("--clip", (clip or "").partition(":")[2])]
    for option, file in inputs:
        if file and os.path.realpath(file) == os.path.realpath(output):
            raise InputError(f"-o {output}: is the file of {option}; name another")
    if output.suffix != ".safetensors":
        raise InputError(f"-o {output}: end the name in .safetensors")
    if radio is not None and os.path.realpath(output.parent) == os.path.realpath(radio):
        raise InputError(f"-o {output}: lies in the folder of --radio, whose files are read; name another")
    with option_names(clip="--clip", radio="--radio"):
        model = merged(preset, seed, None if sam is None else str(sam), clip, radio)
    sources = (("C-RADIO", radio), ("SAM", sam), ("CLIP" if model.spec.clip_vision else "text tower", clip))
    given = [f"{what} from {where}" for what, where in sources if where is not None]
    trained_at = None if radio else (() if sam is None else (1024,))  # C-RADIO takes any size
    weights = weights_of(sam, clip, radio)
    # Of two models side by side each was trained, and so was C-RADIO; a CLIP head has yet to be.
    trained = sam is not None and clip is not None and (radio is not None or model.spec.clip_vision is not None)
    rest = [] if trained else [f"{'the rest ' if given else ''}random with seed {seed}"]
    made_of = ", ".join([*given, *rest])
    origin = checkpoint.Origin(trained=trained, note=made_of, trained_at=trained_at, weights=weights)
    checkpoint.save(model, output, origin)
    parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    document = {
        "checkpoint": str(output),
        "preset": preset,
        "origin": origin.note,
        "trained": trained,
        "weights": [each.model_dump() for each in origin.weights],
        "parameters": parameters,
    }
    if bound := research_only(weights):
        note(f"{output}: {bound}")
    state = f"{'trained' if trained else 'untrained'}: {made_of}"
    total = sum(parameters.values()) / 1e6
    emit(document, json, lambda: note(f"{output}: {preset}, {total:.1f} M parameters, {state}"))
