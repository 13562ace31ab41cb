"""CLIP's own image tower as it is traced: with the same answers, from fewer and simpler ops."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from samclip_edge.model.text_encoder import Attention


class SelfAttention(nn.Module):
    """torch's own attention as ours, whose heads TensorRT can run in int8. It shares the weights."""

    def __init__(self, source: nn.MultiheadAttention) -> None:
        super().__init__()
        with torch.device("meta"):
            self.attention = Attention(source.embed_dim, source.num_heads, None)
        weight, bias = source.in_proj_weight, source.in_proj_bias
        assert weight is not None
        assert bias is not None
        self.attention.in_proj_weight, self.attention.in_proj_bias = weight, bias
        self.attention.out_proj = source.out_proj

    def forward(self, q: Tensor, k: Tensor, v: Tensor, need_weights: bool, attn_mask: None) -> tuple[Tensor, None]:
        """As `nn.MultiheadAttention` is called on (B,T,D), with three times the same tensor."""
        return self.attention(q), None


@torch.no_grad()
def fixed_tower(tower: nn.Module) -> nn.Module:
    """A tower of open_clip for tracing, which shares the weights that it does not change.

    Layers that were trained with several branches become one each, where they know how to (MobileCLIP's).
    """
    merge = getattr(tower, "reparameterize", None)
    if callable(merge) and not isinstance(merge, nn.Module):
        made = copy.deepcopy(tower)
        made.reparameterize()  # type: ignore[operator]
    else:
        made = copy.copy(tower)
        made._modules = dict(tower._modules)
    for name, part in made._modules.items():
        if part is not None:
            made._modules[name] = fixed_tower(part)
    attention = made._modules.get("attn")
    # open_clip's layers give their own tokens as queries, keys and values; a pooling layer, which has another name, not
    if type(made).__name__ == "ResidualAttentionBlock" and isinstance(attention, nn.MultiheadAttention):
        made._modules["attn"] = SelfAttention(attention)
    return made
