"""Brings state dicts of other programs to the names of SAM's and OpenCLIP's own code, which are ours.

Wrappers of a module are taken off a name (`module.`, `_orig_mod.`, `model.` and others), and the layouts of Hugging
Face transformers (`SamModel`, `CLIPModel`) are renamed.
"""

from __future__ import annotations

import logging
import re

import torch

from samclip_edge.bundle.spec import PIXEL_MEAN, PIXEL_STD
from samclip_edge.model.files import State

log = logging.getLogger(__name__)

_TORCHS = {"module", "_orig_mod"}  # what torch's own wrappers put before a part's name, at any place in it
_WRAPPERS = _TORCHS | {"model", "sam", "net"}
_ROOTS = {  # where the names of a SAM or a CLIP begin, in every layout that is read
    *("image_encoder", "prompt_encoder", "mask_decoder", "vision_encoder", "shared_image_embedding"),
    *("visual", "transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection"),
    *("logit_scale", "text", "text_model", "vision_model", "visual_projection", "pixel_mean", "pixel_std"),
}


def unwrapped(state: State) -> State:
    """A state dict without the wrappers of its names, which may stand in any order.

    A wrapper is taken off where what is left begins as a SAM's or a CLIP's names do, or where every name has one. If
    two tensors would get the same name, the state dict stays as it is.
    """
    bare = {name: _bare(name) for name in state}
    everywhere = all(bare[name] != name for name in state)
    names = [bare[name] if everywhere or bare[name].partition(".")[0] in _ROOTS else name for name in state]
    return dict(zip(names, state.values(), strict=True)) if len(set(names)) == len(names) else state


def _bare(name: str) -> str:
    *parts, last = name.split(".")
    parts = [part for part in parts if part not in _TORCHS]
    while parts and parts[0] in _WRAPPERS:
        parts = parts[1:]
    return ".".join([*parts, last])


# Each line is a pattern and what takes its place, in this order.
_SAM = (
    (r"^vision_encoder\.", r"image_encoder."),
    (r"^image_encoder\.layers\.", r"image_encoder.blocks."),
    (r"^(image_encoder\.blocks\.\d+)\.layer_norm", r"\1.norm"),
    (r"\.patch_embed\.projection\.", r".patch_embed.proj."),
    (r"\.neck\.conv1\.", r".neck.0."),
    (r"\.neck\.layer_norm1\.", r".neck.1."),
    (r"\.neck\.conv2\.", r".neck.2."),
    (r"\.neck\.layer_norm2\.", r".neck.3."),
    (
        r"^(shared_image_embedding|prompt_encoder\.shared_embedding)\.positional_embedding$",  # one tensor, under both
        r"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"\.point_embed\.", r".point_embeddings."),
    (r"\.mask_embed\.conv1\.", r".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", r".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", r".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", r".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", r".mask_downscaling.6."),
    (r"^(mask_decoder\.transformer\.layers\.\d+)\.layer_norm", r"\1.norm"),
    (r"\.layer_norm_final_attn\.", r".norm_final_attn."),
    (r"\.upscale_conv1\.", r".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", r".output_upscaling.1."),
    (r"\.upscale_conv2\.", r".output_upscaling.3."),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.0\.", r"\1.layers.1."),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.proj_in\.", r"\1.layers.0."),
    (r"(hypernetworks_mlps\.\d|iou_prediction_head)\.proj_out\.", r"\1.layers.2."),
)
_CLIP = (
    (r"^text_model\.embeddings\.token_embedding\.", r"token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", r"positional_embedding"),
    (r"^text_model\.encoder\.layers\.", r"transformer.resblocks."),
    (r"^text_model\.final_layer_norm\.", r"ln_final."),
    (r"^vision_model\.embeddings\.class_embedding$", r"visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", r"visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", r"visual.positional_embedding"),
    (r"^vision_model\.encoder\.layers\.", r"visual.transformer.resblocks."),
    (r"^vision_model\.pre_layrnorm\.", r"visual.ln_pre."),  # the typing error is theirs
    (r"^vision_model\.post_layernorm\.", r"visual.ln_post."),
    (r"(resblocks\.\d+)\.layer_norm", r"\1.ln_"),
    (r"(resblocks\.\d+)\.mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"(resblocks\.\d+)\.mlp\.fc2\.", r"\1.mlp.c_proj."),
    (r"(resblocks\.\d+)\.self_attn\.", r"\1.attn."),
    (r"^text_projection\.weight$", r"text_projection"),
    (r"^visual_projection\.weight$", r"visual.proj"),
)


def _renamed(state: State, rules: tuple[tuple[str, str], ...]) -> State:
    renamed = {}
    for name, tensor in state.items():
        for pattern, place in rules:
            name = re.sub(pattern, place, name)
        renamed[name] = tensor
    return renamed


_UNREAD = ("pixel_mean", "pixel_std", "attention_bias_idxs")  # constants, the last one of TinyViT
_CLASSIFIER = ("image_encoder.norm_head.", "image_encoder.head.")


def as_sam(state: State, source: str) -> State:
    """The weights of a SAM under the names of segment_anything, without the constants that some programs save.

    source: its name in warnings.
    """
    for what, ours in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
        theirs = state.get(what)
        same = theirs is None or any(
            torch.allclose(theirs.flatten().double(), torch.tensor(ours).double() / scale, rtol=1e-2)
            for scale in (1, 255)
            if theirs.numel() == len(ours)
        )
        if not same:
            log.warning("%s: has another %s than SAM, which is left out: photos are normalised as SAM's", source, what)
    state = {name: each for name, each in state.items() if name.rpartition(".")[2] not in _UNREAD}
    if "image_encoder.patch_embed.seq.0.c.weight" in state:  # MobileSAM, with a classifier that it never asks
        state = {name: each for name, each in state.items() if not name.startswith(_CLASSIFIER)}
    return _renamed(state, _SAM) if any(name.startswith("vision_encoder.") for name in state) else state


_CONSTANTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")  # OpenAI's archives have the first three


def as_open_clip(state: State) -> State:
    """The weights of a CLIP under the names of open_clip, without the constants that some programs save."""
    state = {
        name: each for name, each in state.items() if name not in _CONSTANTS and not name.endswith(".position_ids")
    }
    if "text_model.embeddings.token_embedding.weight" not in state:
        return state
    renamed = _renamed(state, _CLIP)
    for name in ("text_projection", "visual.proj"):  # theirs are weights of a Linear, ours stand at the right
        if name in renamed and renamed[name].ndim == 2:
            renamed[name] = renamed[name].T
    for query in [name for name in renamed if ".attn.q_proj." in name]:
        parts = [query.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        whole = query.replace(".q_proj.", ".in_proj_")
        if renamed[query].ndim and all(
            part in renamed and renamed[part].shape == renamed[query].shape for part in parts
        ):
            renamed[whole] = torch.cat([renamed.pop(part) for part in parts])
    return renamed


def one_tower(state: State) -> State:
    """An OpenCLIP whose text tower lies under `text.`, as `CustomTextCLIP` keeps it, under the names of `CLIP`."""
    if "text.token_embedding.weight" not in state or "token_embedding.weight" in state:
        return state
    return {name.removeprefix("text."): each for name, each in state.items()}
