"""The export-friendly forms of `model/tiny_vit.py`: for one input size, for the Neural Engine, and for phones' GPUs.

Each BatchNorm is folded into its convolution, and each table of biases is gathered once. Windows are padded after the
norm and not before it: the norm of a zero is the norm's own bias, which goes into the product that follows.

The widened map of an MBConv is the largest tensor (256 channels of 256 x 256 at 1024 pixels). Its channels meet only
where it is narrowed, so `fixed` makes it in groups of channels, and sums what each group gives.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.export.forms import folding
from samclip_edge.export.forms.batch_of_one import cut, heads_apart, heads_together, joined
from samclip_edge.export.forms.channels_first import ChannelNorm, linear, pointwise, whole, windows, with_channel_norms
from samclip_edge.export.forms.folding import constant, convolution
from samclip_edge.model.tiny_vit import Attention, Block, ConvNorm, Encoder, MBConv, PatchMerging

GROUP = 64  # channels of a widened map that are made at once


def folded(layer: nn.Module, channels: slice = slice(None)) -> nn.Conv2d:
    """A convolution that answers as a `ConvNorm` does. channels: of its output, those that are asked for."""
    assert isinstance(layer, ConvNorm)
    return folding.folded(layer.c, layer.bn, channels)


class Bottleneck(nn.Module):
    """The three convolutions of an `MBConv` or a `PatchMerging`, over groups of the channels between them."""

    def __init__(self, source: nn.Module, group: int) -> None:
        """group: channels that are made at once."""
        super().__init__()
        assert isinstance(source, MBConv | PatchMerging)
        hidden, last = source.conv2.c.out_channels, folded(source.conv3)
        groups = [slice(*ends) for ends in pairwise([*range(0, hidden, group), hidden])]
        narrow = (convolution(last, last.weight[:, group], None if group.start else last.bias) for group in groups)
        self.parts = nn.ModuleList(
            nn.Sequential(folded(source.conv1, group), nn.GELU(), folded(source.conv2, group), nn.GELU(), conv)
            for group, conv in zip(groups, narrow, strict=True)
        )
        self.residual = isinstance(source, MBConv)

    def forward(self, x: Tensor) -> Tensor:
        """(1,D,H,W) to what `source` makes of it."""
        out: Tensor = self.parts[0](x)
        for part in self.parts[1:]:
            out = out + part(x)
        return F.gelu(x + out) if self.residual else out


def _after_norm(attention: Attention) -> tuple[nn.LayerNorm, Tensor]:
    """The norm of an attention without its bias, and the bias of its product, into which the norm's has gone."""
    norm, qkv = attention.norm, attention.qkv
    own = nn.LayerNorm(len(norm.weight), norm.eps)
    own.weight, own.bias = norm.weight, constant(torch.zeros_like(norm.bias))
    return own, (qkv.bias + qkv.weight @ norm.bias).detach()


class FixedAttention(nn.Module):
    """`Attention` over all windows of a map of height x width tokens."""

    bias: Tensor

    def __init__(self, attention: Attention, height: int, width: int) -> None:
        """Share the weights of `attention`."""
        super().__init__()
        side = self.side = attention.side
        self.heads, self.height, self.width = attention.heads, height, width
        self.rows, self.columns = -(-height // side), -(-width // side)  # of windows, down and across the map
        self.norm, qkv_bias = _after_norm(attention)
        self.qkv = copy.copy(attention.qkv)
        self.qkv._parameters = dict(self.qkv._parameters, bias=constant(qkv_bias))
        self.scale = (attention.qkv.in_features // self.heads) ** -0.5
        self.proj = attention.proj
        self.register_buffer("bias", attention.bias().detach()[:, None].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """(B,H,W,D) to the same shape."""
        side, heads, rows, columns = self.side, self.heads, self.rows, self.columns
        channels = self.proj.in_features // heads
        x = F.pad(self.norm(x), (0, 0, 0, columns * side - self.width, 0, rows * side - self.height))
        # One transpose cuts windows and heads apart, and one joins both again.
        x = self.qkv(x).reshape(-1, rows, side, columns, side, 3 * heads, channels).permute(0, 5, 1, 3, 2, 4, 6)
        x = x.reshape(-1, heads, 3, rows * columns, side * side, channels)
        q, k, v = x[:, :, 0], x[:, :, 1], x[:, :, 2]  # each (B, heads, windows, N, C)
        scores = (q * self.scale) @ k.transpose(-2, -1) + self.bias
        x = (scores.softmax(dim=-1) @ v).reshape(-1, heads, rows, columns, side, side, channels)
        x = x.permute(0, 2, 4, 3, 5, 1, 6).reshape(-1, rows * side, columns * side, heads * channels)
        out: Tensor = self.proj(x[:, : self.height, : self.width])
        return out


class FixedBlock(nn.Module):
    """`Block` for one map size."""

    def __init__(self, block: nn.Module, height: int, width: int) -> None:
        """Share the weights of `block`, for maps of height x width."""
        super().__init__()
        assert isinstance(block, Block)
        self.attn = FixedAttention(block.attn, height, width)
        self.local_conv, self.mlp = folded(block.local_conv), block.mlp

    def forward(self, x: Tensor) -> Tensor:
        """(1,D,H,W) to the same shape."""
        x = x.permute(0, 2, 3, 1)
        x = x + self.attn(x)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (x + self.mlp(x)).permute(0, 3, 1, 2)


class GpuAttention(FixedAttention):
    """The same in four dimensions whose first is 1; see `forms.batch_of_one`."""

    def forward(self, x: Tensor) -> Tensor:
        """(1,H,W,D) to the same shape."""
        heads, window, count = self.heads, (self.side, self.side), (self.rows, self.columns)
        x = F.pad(
            self.norm(x), (0, 0, 0, self.columns * self.side - self.width, 0, self.rows * self.side - self.height)
        )
        maps = heads_apart(self.qkv(cut(x, window, count)), heads)  # (1, heads * windows, N, 3C): each has its three
        q, k, v = maps.chunk(3, dim=-1)
        number, tokens = count[0] * count[1], self.side**2
        scores = ((q * self.scale) @ k.transpose(-2, -1)).reshape(1, heads, number, tokens**2)
        scores = (scores + self.bias.reshape(1, heads, 1, tokens**2)).reshape(1, heads * number, tokens, tokens)
        x = joined(heads_together(scores.softmax(dim=-1) @ v, heads), window, count)
        out: Tensor = self.proj(x[:, : self.height, : self.width])
        return out


class GpuBlock(FixedBlock):
    """`FixedBlock` in four dimensions whose first is 1."""

    def __init__(self, block: nn.Module, height: int, width: int) -> None:
        """Share the weights of `block`, for maps of height x width."""
        super().__init__(block, height, width)
        assert isinstance(block, Block)
        self.attn = GpuAttention(block.attn, height, width)


class MapAttention(nn.Module):
    """`Attention` over all windows of a map with channels first; see `channels_first.MapAttention`."""

    bias: Tensor

    def __init__(self, attention: Attention, height: int, width: int) -> None:
        """Share the weights of `attention`, for maps of height x width."""
        super().__init__()
        self.side, self.heads, self.height, self.width = attention.side, attention.heads, height, width
        self.count = -(-height // self.side), -(-width // self.side)  # of windows, down and across the map
        norm, qkv_bias = _after_norm(attention)
        self.norm = ChannelNorm(norm)
        self.qkv = pointwise(attention.in_order(attention.qkv.weight), attention.in_order(qkv_bias))
        self.proj = linear(attention.proj)
        self.register_buffer("bias", attention.bias().detach()[None].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """(1,D,H,W) to the same shape."""
        side, heads, (down, across), channels = self.side, self.heads, self.count, int(x.shape[1])
        x = F.pad(self.norm(x), (0, across * side - self.width, 0, down * side - self.height))
        parts = windows(self.qkv(x), side, self.count).chunk(3, dim=1)
        q, k, v = (part.reshape(down * across, heads, channels // heads, side * side).transpose(2, 3) for part in parts)
        # The scale stays the default, 1 / sqrt(C): with one given, coremltools does not use its fused op.
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)
        x = whole(x.transpose(2, 3).reshape(down * across, channels, side, side), side, self.count)
        out: Tensor = self.proj(x[:, :, : self.height, : self.width])
        return out


class MapBlock(nn.Module):
    """`Block` for one map size, with channels first."""

    def __init__(self, block: nn.Module, height: int, width: int) -> None:
        """Share the weights of `block`, for maps of height x width."""
        super().__init__()
        assert isinstance(block, Block)
        mlp = block.mlp
        self.attn, self.local_conv = MapAttention(block.attn, height, width), folded(block.local_conv)
        self.mlp = nn.Sequential(ChannelNorm(mlp.norm), linear(mlp.fc1), nn.GELU(), linear(mlp.fc2))

    def forward(self, x: Tensor) -> Tensor:
        """(1,D,H,W) to the same shape."""
        x = self.local_conv(x + self.attn(x))
        out: Tensor = x + self.mlp(x)
        return out


class _Form(nn.Module):
    """`image` to `tokens` and `embedding`, for maps of height x width tokens."""

    def __init__(self, encoder: Encoder, height: int, width: int, block: Any, group: int, neck: nn.Module) -> None:
        """block: the form of a `Block`. group: see `Bottleneck`."""
        super().__init__()
        self.mean, self.std, self.neck = encoder.pixel_mean, encoder.pixel_std, neck
        parts = [folded(part) if isinstance(part, ConvNorm) else part for part in encoder.patch_embed.seq]
        for stage, grown in zip(encoder.stages, (4, 2, 1, 1), strict=True):  # tokens a side, for one of the last stage
            for each in stage.blocks:
                small = isinstance(each, MBConv)
                parts.append(Bottleneck(each, group) if small else block(each, grown * height, grown * width))
            parts += [] if stage.downsample is None else [Bottleneck(stage.downsample, group)]
        self.parts = nn.Sequential(*parts)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        tokens = self.parts((image - self.mean) / self.std)
        return tokens, self.neck(tokens)


def fixed(encoder: Encoder, height: int, width: int) -> nn.Module:
    """The encoder for maps of height x width tokens."""
    return _Form(encoder, height, width, FixedBlock, GROUP, encoder.neck)


def mobile_gpu(encoder: Encoder, height: int, width: int) -> nn.Module:
    """The same as phones' GPUs take it."""
    return _Form(encoder, height, width, GpuBlock, GROUP, encoder.neck)


class NeuralEngine(_Form):
    """`image` to `tokens` and `embedding`, for maps of height x width tokens."""

    def __init__(self, encoder: Encoder, height: int, width: int) -> None:
        hidden = max(part.out_channels for part in encoder.modules() if isinstance(part, nn.Conv2d))
        super().__init__(encoder, height, width, MapBlock, hidden, with_channel_norms(encoder.neck))
