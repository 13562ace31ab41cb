"""The graphs as modules for one input size, ready to be traced, with the weights and the answers of the model.

Position tables are resized and gathered here, once. So no graph interpolates, indexes or reshapes by numbers that it
computes. A test compares every module with the model that it was made from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from samclip_edge.bundle.contract import GraphName
from samclip_edge.bundle.sizes import Size
from samclip_edge.export.forms.attention import fix_blocks
from samclip_edge.export.forms.clip_vision import fixed_tower
from samclip_edge.export.forms.encoders import fixed_encoder
from samclip_edge.export.forms.mask_decoder import MaskDecoderGraph
from samclip_edge.model.clip_head import ClipHead
from samclip_edge.model.clip_vision import ClipImageEncoder
from samclip_edge.model.merged import MergedModel


class SamEncoderGraph(nn.Module):
    """`image` to `embedding`: of SAM + CLIP, where no CLIP head reads the tokens."""

    def __init__(self, model: MergedModel, size: Size) -> None:
        super().__init__()
        self.encoder = fixed_encoder(model, size)

    def forward(self, image: Tensor) -> Tensor:
        """See `contract.signature`."""
        out: Tensor = self.encoder(image)[1]
        return out


class ClipHeadGraph(nn.Module):
    """`tokens` to `image_features` and `patch_features`."""

    def __init__(self, model: MergedModel, size: Size) -> None:
        super().__init__()
        head = copy.copy(model.clip_head)
        head._modules = dict(model.clip_head._modules)
        if isinstance(head, ClipHead):
            head.blocks = fix_blocks(head.blocks, *model.spec.feature_grid(size))
        self.head = head

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        out: tuple[Tensor, Tensor] = self.head(tokens)
        return out


def graph_module(model: MergedModel, name: GraphName, size: Size | None) -> nn.Module:
    """The module to trace for a graph of the contract, in evaluation mode."""
    module: nn.Module
    if name == "text_encoder":
        module = model.text_encoder
    elif name == "clip_image_encoder":
        assert model.spec.clip_vision is not None
        module = ClipImageEncoder(fixed_tower(model.visual), model.spec.clip_vision)
    elif name == "prompt_encoder":
        module = model.prompt_encoder
    else:
        assert size is not None
        sized: dict[GraphName, Callable[[MergedModel, Size], nn.Module]] = {
            "image_encoder": SamEncoderGraph if model.spec.clip_vision else fixed_encoder,
            "clip_head": ClipHeadGraph,
            "mask_decoder": MaskDecoderGraph,
        }
        module = sized[name](model, size)
    return module.eval()


@torch.inference_mode()
def answer(model: MergedModel, name: GraphName, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Run the model itself, not the module made for tracing, on the inputs of a graph. Returns the graph's outputs."""
    values = inputs.values()
    if name == "mask_decoder":
        out = model.decode_masks(*values)
    elif name == "clip_image_encoder":
        assert model.spec.clip_vision is not None
        out = ClipImageEncoder(model.visual, model.spec.clip_vision)(*values)
    else:
        out = getattr(model, name)(*values)
    outputs: tuple[Tensor, ...] = out if isinstance(out, tuple) else (out,)
    return outputs[1:] if name == "image_encoder" and model.spec.clip_vision else outputs
