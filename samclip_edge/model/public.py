"""Builds the untrained merged model from public weights: SAM's file, and a file or tag of OpenCLIP."""

from __future__ import annotations

from pathlib import Path

from samclip_edge.bundle.spec import PRESETS
from samclip_edge.errors import InputError, one_line
from samclip_edge.model.checkpoint import State, build, read_state
from samclip_edge.model.merged import MergedModel


def merged(preset: str, seed: int = 0, sam: str | None = None, clip: str | None = None) -> MergedModel:
    """Build the untrained model of a preset from random weights, then SAM's and CLIP's weights where given.

    The CLIP head starts from the last layer of SAM's encoder. sam: SAM's checkpoint. clip: FILE, MODEL:FILE, or
    MODEL:TAG, which open_clip fetches. Raises InputError for weights that are not there or do not fit.
    """
    spec, towers = PRESETS[preset], None
    if clip is not None:
        state, quick = open_clip_weights(clip)
        towers = (state, f"--clip {clip}")
        activation = "quick_gelu" if quick else "gelu"
        spec = spec.model_copy(update={"text": spec.text.model_copy(update={"activation": activation})})
    return build(spec, seed, None if sam is None else Path(sam), towers)


def open_clip_weights(name: str) -> tuple[State, bool]:
    """The state dict that `--clip` names, and whether its model uses QuickGELU. Raises InputError if there is none."""
    if Path(name).is_file():
        return read_state(Path(name)), False
    architecture, _, weights = name.partition(":")
    quick = architecture.endswith("-quickgelu")
    if weights and Path(weights).is_file():
        return read_state(Path(weights)), quick
    if not weights:
        raise InputError(f"--clip {name}: no such file, and not a MODEL:TAG such as ViT-L-14:datacomp_xl_s13b_b90k")
    import open_clip

    if weights not in open_clip.list_pretrained_tags_by_model(architecture):
        raise InputError(f"--clip {name}: open_clip lists no such weights; see open_clip.list_pretrained()")
    try:
        path = open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, weights))
    except Exception as error:
        raise InputError(f"--clip {name}: could not be fetched ({one_line(error)}); fetch the file yourself") from None
    quick = quick or bool(open_clip.get_pretrained_cfg(architecture, weights).get("quick_gelu"))
    return read_state(Path(path)), quick
