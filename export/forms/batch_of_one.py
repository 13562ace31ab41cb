"""Attention for the GPUs of phones: the answers of `model.vit`, in tensors of four dimensions whose first is 1.

LiteRT's GPU delegate takes a tensor as (batch, height, width, channels), and only batch 1. So windows and heads lie
side by side in the second dimension, where a batch would stand elsewhere. Attention scores are computed
for some windows and heads at once: XNNPACK takes memory for each operator, so more and smaller blocks cost more of it.
Windows are cut before the product with the qkv weights, because that moves a third of the values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.model.vit import Attention, Block

BLOCK = 4 << 20  # attention scores that are computed at once, or those of one map and head where that has more


def cut(x: Tensor, window: tuple[int, int], count: tuple[int, int]) -> Tensor:
    """Cut a map (1,H,W,D) into windows of rows and columns, `count` of them down and across: (1,number,P,D)."""
    (height, width), (down, across), dim = window, count, x.shape[-1]
    rows = [x[:, row * height : (row + 1) * height].reshape(1, height, across, width * dim) for row in range(down)]
    return torch.cat([row.transpose(1, 2) for row in rows], dim=1).reshape(1, down * across, height * width, dim)


def joined(x: Tensor, window: tuple[int, int], count: tuple[int, int]) -> Tensor:
    """Put windows back into a map: the inverse of `cut`."""
    (height, width), (down, across), dim = window, count, x.shape[-1]
    x = x.reshape(1, down * across, height, width * dim)
    rows = [x[:, row * across : (row + 1) * across].transpose(1, 2) for row in range(down)]
    return torch.cat([row.reshape(1, height, across * width, dim) for row in rows], dim=1)


def heads_apart(x: Tensor, heads: int) -> Tensor:
    """(1,N,P,heads * C) of N maps to (1,heads * N,P,C): the first head of all maps, then the second."""
    _, number, count, dim = x.shape
    return x.reshape(1, number * count, heads, -1).transpose(1, 2).reshape(1, heads * number, count, dim // heads)


def heads_together(x: Tensor, heads: int) -> Tensor:
    """The inverse of `heads_apart`."""
    _, maps, count, channels = x.shape
    x = x.reshape(1, heads, maps // heads * count, channels).transpose(1, 2)
    return x.reshape(1, maps // heads, count, heads * channels)


class GpuAttention(nn.Module):
    """`Attention` for one map size, in windows or over the whole map."""

    rows: Tensor
    columns: Tensor

    def __init__(self, attention: Attention, grid: tuple[int, int], window: int) -> None:
        """Share the weights of `attention`, for maps of `grid` (rows, columns); `window` 0 attends to the whole map."""
        super().__init__()
        self.grid = grid
        self.height, self.width = (window, window) if window else grid
        self.count = -(-grid[0] // self.height), -(-grid[1] // self.width)  # of windows, down and across the map
        self.heads, self.scale = attention.heads, attention.scale
        self.qkv, self.proj, self.channels = attention.qkv, attention.proj, attention.qkv.in_features // attention.heads
        rows, columns = attention.positions(self.height, self.width)
        self.register_buffer("rows", rows.detach().transpose(-2, -1)[None].contiguous())
        self.register_buffer("columns", columns.detach().transpose(-2, -1)[None].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """(1,H,W,D) to the same shape."""
        (height, width), (down, across) = self.grid, self.count
        x = F.pad(x, (0, 0, 0, across * self.width - width, 0, down * self.height - height))
        x = self.attend(self.qkv(cut(x, (self.height, self.width), self.count)))
        out: Tensor = self.proj(joined(x, (self.height, self.width), self.count)[:, :height, :width])
        return out

    def attend(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (1,N,P,3D) of N maps. Returns (1,N,P,D): what each token takes from its own map."""
        q, k, v = (heads_apart(part, self.heads) for part in qkv.chunk(3, dim=-1))  # each (1,heads * N,P,C)
        total, maps = q.shape[1], max(1, BLOCK // (self.height * self.width) ** 2)
        groups = [slice(first, min(first + maps, total)) for first in range(0, total, maps)]
        parts = [self._attend(q[:, group], k[:, group], v[:, group]) for group in groups]
        return heads_together(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0], self.heads)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same for M maps with one head each: q, k and v are (1,M,P,C). Returns (1,M,P,C)."""
        height, width, channels, maps = self.height, self.width, self.channels, q.shape[1]
        tokens = height * width
        # The query's row against the key's, and its column: (1,M * P,H,1) and (1,M * P,1,W).
        by_row = q.reshape(1, maps, height, width * channels).transpose(1, 2).reshape(1, height, maps * width, channels)
        by_row = (by_row @ self.rows).reshape(1, height, maps, width * height).transpose(1, 2)
        by_column = (q.reshape(1, maps * height, width, channels).transpose(1, 2) @ self.columns).transpose(1, 2)
        scores = ((q * self.scale) @ k.transpose(-2, -1)).reshape(1, maps * tokens, height, width)
        scores = scores + by_row.reshape(1, maps * tokens, height, 1) + by_column.reshape(1, maps * tokens, 1, width)
        return scores.reshape(1, maps, tokens, tokens).softmax(dim=-1) @ v


class GpuBlock(nn.Module):
    """`Block` for one map size."""

    def __init__(self, block: Block, grid: tuple[int, int]) -> None:
        """Share the weights of `block`, for maps of `grid`, rows and columns."""
        super().__init__()
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.attn = GpuAttention(block.attn, grid, block.window)

    def forward(self, x: Tensor) -> Tensor:
        """(1,H,W,D) to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def gpu_blocks(blocks: nn.ModuleList, grid: tuple[int, int]) -> nn.ModuleList:
    """Transformer layers for maps of `grid`, sharing the weights of `blocks`."""
    return nn.ModuleList(GpuBlock(block, grid) for block in blocks)  # type: ignore[arg-type]
