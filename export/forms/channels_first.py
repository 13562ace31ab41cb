"""Transformer layers in the layout of Apple's Neural Engine. They share the model's weights and give its answers.

Every tensor is a map with channels first (B,C,H,W), a product with a weight matrix is a 1 x 1 convolution, and no
tensor has more than four dimensions ("Deploying Transformers on the Apple Neural Engine", machinelearning.apple.com,
2022, principles 1 to 3). Values are scaled before their squares are summed, so that half precision holds the sum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.model import mask_decoder
from samclip_edge.model.layers import LayerNorm2d
from samclip_edge.model.vit import Attention, Block

BLOCK = 32 << 20  # attention scores in a block: 64 MB in half; smaller blocks make too many ops to compile


def pointwise(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A product with a weight (O,I) as a 1 x 1 convolution over (B,I,H,W)."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None, device="meta")
    conv.weight = nn.Parameter(weight.detach()[:, :, None, None], requires_grad=False)
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return conv


def linear(layer: nn.Module) -> nn.Conv2d:
    """An `nn.Linear` as a 1 x 1 convolution."""
    assert isinstance(layer, nn.Linear)
    return pointwise(layer.weight, layer.bias)


def unit(x: Tensor) -> Tensor:
    """L2-normalise the channels of (B,C,H,W), as `F.normalize` does, but so that no square overflows half precision."""
    x = x / x.abs().amax(dim=1, keepdim=True).clamp(min=1e-4)
    return x * x.square().sum(dim=1, keepdim=True).clamp(min=1e-6).rsqrt()


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (B,C,H,W) that half precision holds.

    Each pixel is divided by its largest channel before it is squared, and `eps` is divided to match.
    """

    root: Tensor

    def __init__(self, norm: nn.Module) -> None:
        """Share the weights of `norm`."""
        super().__init__()
        assert isinstance(norm, nn.LayerNorm | LayerNorm2d)
        self.weight = nn.Parameter(norm.weight.detach()[:, None, None], requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach()[:, None, None], requires_grad=False)
        self.root_eps = norm.eps**0.5
        # A tensor and not a number: coremltools turns `number / x` into its op `inverse`, which adds 1e-4 to x.
        self.register_buffer("root", torch.full((1, 1, 1, 1), self.root_eps))

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        x = x - x.mean(dim=1, keepdim=True)
        largest = x.abs().amax(dim=1, keepdim=True).clamp(min=self.root_eps)
        x = x / largest
        scale = (x.square().mean(dim=1, keepdim=True) + (self.root / largest).square()).rsqrt()
        # In this order: coremltools turns (x * weight) + bias into a batch_norm, whose epsilon of 1e-5 scales it.
        return x * (scale * self.weight) + self.bias


def with_channel_norms(layers: nn.Module) -> nn.Sequential:
    """A sequence of layers over maps, with each `LayerNorm2d` replaced by a `ChannelNorm`."""
    assert isinstance(layers, nn.Sequential)
    return nn.Sequential(*(ChannelNorm(each) if isinstance(each, LayerNorm2d) else each for each in layers))


class MapAttention(nn.Module):
    """`vit.Attention` for one map size. Queries go in blocks of rows, as in `forms.attention`."""

    rows: Tensor
    columns: Tensor

    def __init__(self, attention: Attention, grid: tuple[int, int], window: int) -> None:
        """Share the weights of `attention`, for maps of `grid` (rows, columns); `window` 0 attends to the whole map."""
        super().__init__()
        self.grid, self.window = grid, window
        self.height, self.width = (window, window) if window else grid
        self.count = -(-grid[0] // self.height), -(-grid[1] // self.width)  # of windows, down and across the map
        self.heads, self.channels = attention.heads, attention.qkv.in_features
        self.qkv = pointwise(attention.qkv.weight, None)
        self.qkv_bias = nn.Parameter(attention.qkv.bias.detach()[:, None, None], requires_grad=False)
        self.proj = linear(attention.proj)
        rows, columns = attention.positions(self.height, self.width)
        self.register_buffer("rows", rows.detach().transpose(-2, -1)[None].contiguous())
        self.register_buffer("columns", columns.detach().transpose(-2, -1)[None].contiguous())

    def attend(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (B,3D,H,W) of B maps. Returns (B,D,H,W): what each pixel takes from its own map."""
        batch, heads, channels = self.count[0] * self.count[1], self.heads, self.channels
        height, width = self.height, self.width
        q, k, v = qkv.chunk(3, dim=1)
        maps = q.reshape(batch * heads, channels // heads, height, width)
        by_row = maps.permute(0, 2, 3, 1) @ self.rows  # (B * heads, H, W, H): the query's row against the key's
        by_column = (maps.permute(0, 3, 2, 1) @ self.columns).permute(0, 2, 1, 3)  # (B * heads, H, W, W)
        q, k, v = (x.reshape(batch, heads, channels // heads, height * width).transpose(2, 3) for x in (q, k, v))
        step = max(1, BLOCK // (batch * heads * height * width**2))
        parts = []
        for first in range(0, height, step):
            last = min(first + step, height)
            count = (last - first) * width
            y = by_row[:, first:last].reshape(batch * heads, count, height, 1)
            x = by_column[:, first:last].reshape(batch * heads, count, 1, width)
            bias = (y + x).reshape(batch, heads, count, height * width)
            # The scale stays the default, 1 / sqrt(C): with one given, coremltools does not use its fused op.
            parts.append(F.scaled_dot_product_attention(q[:, :, first * width : last * width], k, v, attn_mask=bias))
        out = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
        return out.transpose(2, 3).reshape(batch, channels, height, width)

    def forward(self, x: Tensor) -> Tensor:
        """(1,D,H,W) to the same shape."""
        qkv = self.qkv(x)
        if self.window:
            down, right = (count * self.window - side for count, side in zip(self.count, self.grid, strict=True))
            qkv = windows(F.pad(qkv, (0, right, 0, down)), self.window, self.count)
        x = self.attend(qkv + self.qkv_bias)  # the padding gets the bias as its query, key and value
        if self.window:
            x = whole(x, self.window, self.count)[:, :, : self.grid[0], : self.grid[1]]
        out: Tensor = self.proj(x)
        return out


def windows(x: Tensor, side: int, count: tuple[int, int]) -> Tensor:
    """Cut a map (1,C,H,W) into its windows, `count` of them down and across: (down * across, C, side, side).

    No tensor on the way has more than four dimensions.
    """
    channels, (down, across) = int(x.shape[1]), count
    x = x.reshape(channels, down, side, across * side).permute(1, 0, 2, 3)
    x = x.reshape(down * channels, side, across, side).permute(0, 2, 1, 3)
    x = x.reshape(down, channels, across, side * side).permute(0, 2, 1, 3)
    return x.reshape(down * across, channels, side, side)


def whole(x: Tensor, side: int, count: tuple[int, int]) -> Tensor:
    """Put windows back into a map: the inverse of `windows`."""
    channels, (down, across) = int(x.shape[1]), count
    x = x.reshape(down, across, channels, side * side).permute(0, 2, 1, 3)
    x = x.reshape(down * channels, across, side, side).permute(0, 2, 1, 3)
    x = x.reshape(down, channels, side, across * side).permute(1, 0, 2, 3)
    return x.reshape(1, channels, down * side, across * side)


class MapBlock(nn.Module):
    """`vit.Block` for one map size."""

    def __init__(self, block: Block, grid: tuple[int, int]) -> None:
        """Share the weights of `block`, for maps of `grid`, rows and columns."""
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(block.norm1), ChannelNorm(block.norm2)
        self.attn = MapAttention(block.attn, grid, block.window)
        self.mlp = nn.Sequential(linear(block.mlp.lin1), block.mlp.act, linear(block.mlp.lin2))

    def forward(self, x: Tensor) -> Tensor:
        """(1,D,H,W) to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class TokenAttention(nn.Module):
    """`mask_decoder.Attention` over rows of tokens (B,256,1,T), one head at a time. B and T stay open."""

    def __init__(self, attention: mask_decoder.Attention) -> None:
        """Share the weights of `attention`."""
        super().__init__()
        self.heads, self.scale = attention.heads, attention.scale
        self.q, self.k, self.v = linear(attention.q_proj), linear(attention.k_proj), linear(attention.v_proj)
        self.out = linear(attention.out_proj)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q: (B,256,1,Nq), k and v: (B,256,1,Nk). Returns (B,256,1,Nq)."""
        parts = []
        split = (x.squeeze(2).chunk(self.heads, dim=1) for x in (self.q(q) * self.scale, self.k(k), self.v(v)))
        for query, key, value in zip(*split, strict=True):  # each (B,C,N)
            weights = (query.transpose(1, 2) @ key).softmax(dim=-1)
            parts.append(value @ weights.transpose(1, 2))
        out: Tensor = self.out(torch.cat(parts, dim=1)[:, :, None])
        return out
