"""`samclip-edge init`: put SAM's and CLIP's weights together into an untrained merged checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samclip_edge.cli.common import Json, emit, note

if TYPE_CHECKING:
    from torch import Tensor


def run(
    output: Annotated[Path, typer.Option("-o", metavar="FILE.safetensors", help="The checkpoint to write.")],
    preset: Annotated[str, typer.Option(help="The model to build: vit_b or tiny.")] = "vit_b",
    sam: Annotated[Path | None, typer.Option(metavar="FILE", help="SAM's weights (sam_vit_b_01ec64.pth).")] = None,
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
    from samclip_edge.errors import InputError
    from samclip_edge.model import checkpoint
    from samclip_edge.spec import PRESETS

    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: no such preset; choose {' or '.join(PRESETS)}")
    if output.suffix != ".safetensors":
        raise InputError(f"-o {output}: end the name in .safetensors")
    spec = PRESETS[preset]
    towers = None
    if clip is not None:
        state, quick = _open_clip(clip)
        towers = (state, f"--clip {clip}")
        spec = spec.model_copy(
            update={"text": spec.text.model_copy(update={"activation": "quick_gelu" if quick else "gelu"})}
        )
    model = checkpoint.build(spec, seed, sam, towers)
    given = [f"{what} from {where}" for what, where in (("SAM", sam), ("text tower", clip)) if where is not None]
    origin = checkpoint.Origin(note=", ".join([*given, f"{'the rest ' if given else ''}random with seed {seed}"]))
    checkpoint.save(model, output, origin)
    parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    document = {"checkpoint": str(output), "preset": preset, "origin": origin.note, "parameters": parameters}
    emit(
        document,
        json,
        lambda: note(f"{output}: {preset}, {sum(parameters.values()) / 1e6:.1f} M parameters, untrained"),
    )


def _open_clip(name: str) -> tuple[dict[str, Tensor], bool]:
    """The state dict that `--clip` names, and whether its model uses QuickGELU."""
    from samclip_edge.errors import InputError, one_line
    from samclip_edge.model.checkpoint import read_state

    if Path(name).is_file():
        return read_state(Path(name)), False
    architecture, _, weights = name.partition(":")
    quick = architecture.endswith("-quickgelu")
    if weights and Path(weights).is_file():
        return read_state(Path(weights)), quick
    if not weights:
        raise InputError(f"--clip {name}: no such file, and no MODEL:TAG as ViT-L-14:datacomp_xl_s13b_b90k")
    import open_clip

    if weights not in open_clip.list_pretrained_tags_by_model(architecture):
        raise InputError(f"--clip {name}: open_clip lists no such weights; see open_clip.list_pretrained()")
    try:
        path = open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, weights))
    except Exception as error:
        raise InputError(f"--clip {name}: could not be fetched ({one_line(error)}); fetch the file yourself") from None
    quick = quick or bool(open_clip.get_pretrained_cfg(architecture, weights).get("quick_gelu"))
    return read_state(Path(path)), quick
