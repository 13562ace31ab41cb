"""Attention for the GPUs of phones: the answers of `model.vit`, in tensors of four dimensions whose first is 1.

LiteRT's GPU delegate takes a tensor as (batch, height, width, channels), and only batch 1. So windows and heads lie
side by side in the second dimension, where a batch would stand elsewhere. Windows are cut before the product with the
qkv weights, because that moves a third of the values.

Attention scores are computed in blocks: those of some windows and heads, or of some rows of queries of one. What
depends on positions is computed for all queries at once: XNNPACK keeps the constant of each product, and would keep the
tables once for each block.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.model.vit import Attention, Block

BLOCK = 4 << 20  # attention scores that are computed at once


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
        by_row, by_column = self._by_position(q)
        q = q * self.scale
        parts = [
            self._attend(q[:, maps, asked], k[:, maps], v[:, maps], by_row[:, maps, asked], by_column[:, maps, asked])
            for maps, asked in self._blocks(q.shape[1])
        ]
        x = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        return heads_together(x.reshape(q.shape), self.heads)

    def _blocks(self, total: int) -> Iterator[tuple[slice, slice]]:
        """The maps of each block, of `total`, and the queries of these: whole rows of the map."""
        tokens = self.height * self.width
        maps = max(1, BLOCK // tokens**2)
        rows = min(self.height, max(1, BLOCK // (maps * tokens * self.width)))
        for first in range(0, total, maps):
            for asked in range(0, tokens, rows * self.width):
                yield slice(first, min(first + maps, total)), slice(asked, min(asked + rows * self.width, tokens))

    def _by_position(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """What queries (1,M,P,C) have for the rows (1,M,P,H) and the columns (1,M,P,W) of their maps."""
        height, width, (maps, tokens, channels) = self.height, self.width, q.shape[1:]
        rows = q.reshape(1, maps, height, width * channels).transpose(1, 2)
        rows = rows.reshape(1, height, maps * width, channels) @ self.rows
        rows = rows.reshape(1, height, maps, width * height).transpose(1, 2)
        columns = q.reshape(1, maps * height, width, channels).transpose(1, 2) @ self.columns
        return rows.reshape(1, maps, tokens, height), columns.transpose(1, 2).reshape(1, maps, tokens, width)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
        """What some queries (1,M,Q,C) of M maps with one head each take of the values v: (1,M * Q / W,W,C).

        Not (1,M,Q,C): blocks of that shape the converter joins before the product with v, and holds the scores of all.
        """
        maps, asked, tokens = q.shape[1], q.shape[2], k.shape[2]
        scores = (q @ k.transpose(-2, -1)).reshape(1, maps * asked, self.height, self.width)
        scores = scores + by_row.reshape(1, maps * asked, -1, 1) + by_column.reshape(1, maps * asked, 1, -1)
        x = scores.reshape(1, maps, asked, tokens).softmax(dim=-1) @ v
        return x.reshape(1, -1, self.width, self.channels)


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
