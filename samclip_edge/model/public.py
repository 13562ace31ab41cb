"""Builds the untrained merged model from public weights: SAM's file, and a file or tag of OpenCLIP."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError, one_line
from samclip_edge.model.checkpoint import build, read_state
from samclip_edge.model.files import State
from samclip_edge.model.layouts import as_open_clip
from samclip_edge.model.merged import MergedModel


def merged(preset: str, seed: int = 0, sam: str | None = None, clip: str | None = None) -> MergedModel:
    """Build the untrained model of a preset from random weights, then SAM's and CLIP's weights where given.

    The CLIP head starts from the last layer of SAM's encoder. sam: SAM's checkpoint. clip: FILE, MODEL:FILE, or
    MODEL:TAG, which open_clip fetches. Raises InputError for weights that are not there or do not fit.
    """
    spec, towers = PRESETS[preset], None
    if clip is not None:
        state, quick = open_clip_weights(clip)
        towers = (state, clip)
        activation = "quick_gelu" if quick else "gelu"
        spec = spec.model_copy(update={"text": spec.text.model_copy(update={"activation": activation})})
    return build(spec, seed, None if sam is None else Path(sam), towers)


def open_clip_weights(name: str, argument: str = "clip") -> tuple[State, bool]:
    """The state dict of FILE, MODEL:FILE or MODEL:TAG, and whether its model uses QuickGELU (see `of_openai`).

    argument: what gave the name, for messages. Raises InputError if there are no such weights, and for a bare file that
    does not tell its activation.
    """
    if os.path.exists(name):
        state = read_state(Path(name))
        quick = of_openai(state)
        if quick is None:
            raise InputError(
                f" {name}: its weights are of half precision, as OpenAI's are, and so may need QuickGELU; say "
                f"which: ViT-L-14-quickgelu:{name} for OpenAI's, ViT-L-14:{name} for weights trained with GELU",
                argument,
            )
        return state, quick
    architecture, _, weights = name.partition(":")
    quick = architecture.endswith("-quickgelu")
    if weights and os.path.exists(weights):
        state = read_state(Path(weights))
        return state, quick or of_openai(state) is True
    if not weights:
        raise InputError(f" {name}: no such file, and not a MODEL:TAG such as ViT-L-14:datacomp_xl_s13b_b90k", argument)
    import open_clip

    if weights not in open_clip.list_pretrained_tags_by_model(architecture):
        raise InputError(f" {name}: open_clip lists no such weights; see open_clip.list_pretrained()", argument)
    try:
        path = open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, weights))
    except Exception as error:
        raise InputError(
            f" {name}: could not be fetched ({one_line(error)}); fetch the file yourself", argument
        ) from None
    quick = quick or bool(open_clip.get_pretrained_cfg(architecture, weights).get("quick_gelu"))
    return read_state(Path(path)), quick


_MARKS = ("input_resolution", "context_length", "vocab_size")  # what OpenAI's own archives have beside the weights


def of_openai(state: State) -> bool | None:
    """Whether a CLIP state dict is OpenAI's, whose models use QuickGELU; None where it cannot be told.

    It is if it has the three numbers that OpenAI's archives have. It is not if a matrix of the text tower has values
    that half precision cannot hold: OpenAI published these matrices in half, and a copy in float32 has the same values.
    """
    if all(mark in state for mark in _MARKS):
        return True
    layers = [
        each
        for name, each in as_open_clip(state).items()
        if name.startswith("transformer.resblocks.") and each.ndim == 2
    ]
    return None if layers and all(torch.equal(each.float(), each.half().float()) for each in layers) else False
