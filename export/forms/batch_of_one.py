"""Attention for the GPUs of phones: the answers of `model.vit`, in tensors of four dimensions whose first is 1.

LiteRT's GPU delegate takes a tensor as (batch, height, width, channels), and only batch 1. So windows and heads lie
side by side in the second dimension, where a batch would stand elsewhere. Attention scores are computed in blocks, as
in `forms.attention`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.export.forms.attention import BLOCK
from samclip_edge.model.vit import Attention, Block


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
        qkv = F.pad(F.linear(x, self.qkv.weight), (0, 0, 0, across * self.width - width, 0, down * self.height - height))
        # The padding gets the bias as its query, key and value.
        x = self.attend(cut(qkv, (self.height, self.width), self.count) + self.qkv.bias)
        out: Tensor = self.proj(joined(x, (self.height, self.width), self.count)[:, :height, :width])
        return out

    def attend(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (1,N,P,3D) of N maps. Returns (1,N,P,D): what each token takes from its own map."""
        count = self.height * self.width
        q, k, v = heads_apart(qkv, 3 * self.heads).chunk(3, dim=1)  # each (1,heads * N,P,C)
        maps = max(1, BLOCK // count**2)  # in a group, each with one head
        groups = [slice(first, min(first + maps, q.shape[1])) for first in range(0, q.shape[1], maps)]
        parts = [self._attend(q[:, group], k[:, group], v[:, group]) for group in groups]
        return heads_together(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0], self.heads)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same for M maps with one head each: q, k and v are (1,M,P,C). Returns (1,M,P,C)."""
        height, width, channels, maps = self.height, self.width, self.channels, q.shape[1]
        # The query's row against the key's, and its column: (1,M,P,H) and (1,M,P,W).
        by_row = q.reshape(1, maps, height, width * channels).transpose(1, 2).reshape(1, height, maps * width, channels)
        by_row = (by_row @ self.rows).reshape(1, height, maps, width * height).transpose(1, 2)
        by_row = by_row.reshape(1, maps, height * width, height)
        by_column = q.reshape(1, maps * height, width, channels).transpose(1, 2) @ self.columns
        by_column = by_column.transpose(1, 2).reshape(1, maps, height * width, width)
        q, k = q * self.scale, k.transpose(-2, -1)
        step = max(1, BLOCK // (maps * height * width**2)) * width
        parts = []
        for first in range(0, height * width, step):
            block = slice(first, min(first + step, height * width))
            rows = maps * (block.stop - first)
            scores = (q[:, :, block] @ k).reshape(1, rows, height, width)
            scores = scores + by_row[:, :, block].reshape(1, rows, height, 1)
            scores = scores + by_column[:, :, block].reshape(1, rows, 1, width)
            parts.append(scores.reshape(1, maps, -1, height * width).softmax(dim=-1) @ v)
        return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]


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
