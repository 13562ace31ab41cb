"""`samclip-edge init`: put SAM's and CLIP's weights together into an untrained merged checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from samclip_edge.cli.common import Json, emit, note, option_names


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
    seed: Annotated[int, typer.Option(help="Of the random weights, wherever none are given.")] = 0,
    json: Json = False,
) -> None:
    """Build the untrained merged checkpoint: the CLIP head starts from SAM's last layer, the rest is random."""
    from samclip_edge.bundle.presets import PRESETS
    from samclip_edge.bundle.weights import weights_of
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
    with option_names(clip="--clip"):
        model = merged(preset, seed, None if sam is None else str(sam), clip)
    given = [f"{what} from {where}" for what, where in (("SAM", sam), ("text tower", clip)) if where is not None]
    made_of = ", ".join([*given, f"{'the rest ' if given else ''}random with seed {seed}"])
    origin = checkpoint.Origin(note=made_of, trained_at=() if sam is None else (1024,), weights=weights_of(sam, clip))
    checkpoint.save(model, output, origin)
    parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    document = {
        "checkpoint": str(output),
        "preset": preset,
        "origin": origin.note,
        "weights": [each.model_dump() for each in origin.weights],
        "parameters": parameters,
    }
    emit(
        document,
        json,
        lambda: note(f"{output}: {preset}, {sum(parameters.values()) / 1e6:.1f} M parameters, untrained"),
    )
