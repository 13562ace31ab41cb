"""Attention that needs little memory: the answers of `model.vit`, in an order that holds less at a time.

The attention scores of a global layer are the largest tensor of the encoder (heads x 4096 x 4096 at 1024 pixels), so
they are computed in blocks. Where the map is large, a block is one head and some rows of its queries; the keys and
values of that head then stay in the cache.

Windows are padded with zeros. The query, key and value of a zero are the bias alone, so padding is added after the
product with the qkv weights and removed before the next product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.model.vit import Attention, Block

BLOCK = 4 << 20  # attention scores in a block: 16 MB in float32 (docs/performance.md)


class FixedAttention(nn.Module):
    """`Attention` for one map size, with its relative-position tables already gathered."""

    rows: Tensor
    columns: Tensor

    def __init__(self, attention: Attention, height: int, width: int) -> None:
        """Share the weights of `attention`, for maps of height x width."""
        super().__init__()
        self.heads, self.scale, self.height, self.width = attention.heads, attention.scale, height, width
        self.qkv, self.proj, self.channels = attention.qkv, attention.proj, attention.qkv.in_features // attention.heads
        rows, columns = attention.positions(height, width)
        self.register_buffer("rows", rows.detach().transpose(-2, -1).contiguous())
        self.register_buffer("columns", columns.detach().transpose(-2, -1).contiguous())

    def attend(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (B,N,H,W,3D) of N maps a photo. Returns what tokens take of it (B,N,H,W,D)."""
        number, heads, count = qkv.shape[1], self.heads, self.height * self.width
        qkv = qkv.reshape(-1, number, count, 3, heads, self.channels).permute(0, 3, 1, 4, 2, 5)
        qkv = qkv.reshape(-1, 3, number * heads, count, self.channels)
        maps = max(1, BLOCK // count**2)  # of each photo in a group, each with one head
        groups = [slice(first, min(first + maps, number * heads)) for first in range(0, number * heads, maps)]
        x = torch.cat([self._attend(*qkv[:, :, group].unbind(1)) for group in groups], dim=1)  # and no copy of all
        x = x.reshape(-1, number, heads, count, self.channels).transpose(2, 3)
        return x.reshape(-1, number, self.height, self.width, heads * self.channels)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same for M maps of each photo with one head each: q, k and v are (B,M,H*W,C). Returns (B,M,H*W,C)."""
        height, width, maps, count = self.height, self.width, q.shape[1], self.height * self.width
        q = q.reshape(-1, height, width, self.channels)
        by_row = q @ self.rows  # (B*M,H,W,H): the query's row against the key's
        by_column = (q.transpose(1, 2) @ self.columns).transpose(1, 2)  # (B*M,H,W,W)
        q, k = q * self.scale, k.reshape(-1, count, self.channels).transpose(-2, -1)
        v = v.reshape(-1, count, self.channels)
        step = max(1, BLOCK // (maps * height * width**2))
        parts = []
        for first in range(0, height, step):
            block = slice(first, min(first + step, height))
            rows = block.stop - first
            scores = q[:, block].reshape(-1, rows * width, self.channels) @ k
            scores = scores.reshape(-1, rows, width, height, width)
            scores = scores + by_row[:, block, :, :, None] + by_column[:, block, :, None, :]
            parts.append(scores.reshape(-1, rows * width, count).softmax(dim=-1) @ v)
        return torch.cat(parts, dim=1).reshape(-1, maps, count, self.channels)

    def forward(self, x: Tensor, window: int) -> Tensor:
        """(B,H,W,D) to the same shape; `window` 0 attends to the whole map."""
        _, height, width, dim = x.shape
        if not window or (height, width) == (window, window):  # a map of one window
            out: Tensor = self.proj(self.attend(self.qkv(x)[:, None]).reshape(-1, height, width, dim))
            return out
        down, right = -height % window, -width % window
        rows, columns = (height + down) // window, (width + right) // window
        qkv = F.pad(F.linear(x, self.qkv.weight), (0, 0, 0, right, 0, down))
        qkv = qkv.reshape(-1, rows, window, columns, window, 3 * dim).transpose(2, 3)
        x = self.attend(qkv.reshape(-1, rows * columns, window, window, 3 * dim) + self.qkv.bias)
        x = x.reshape(-1, rows, columns, window, window, dim).transpose(2, 3)
        out = self.proj(x.reshape(-1, rows * window, columns * window, dim)[:, :height, :width])
        return out


class FixedBlock(nn.Module):
    """`Block` for one map size."""

    def __init__(self, block: Block, height: int, width: int) -> None:
        """Share the weights of `block`, for maps of height x width."""
        super().__init__()
        self.norm1, self.norm2, self.mlp, self.window = block.norm1, block.norm2, block.mlp, block.window
        self.attn = FixedAttention(block.attn, block.window or height, block.window or width)

    def forward(self, x: Tensor) -> Tensor:
        """(B,H,W,D) to the same shape."""
        x = x + self.attn(self.norm1(x), self.window)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def fix_blocks(blocks: nn.ModuleList, height: int, width: int) -> nn.ModuleList:
    """Transformer layers for maps of height x width, sharing the weights of `blocks`."""
    return nn.ModuleList(FixedBlock(block, height, width) for block in blocks)  # type: ignore[arg-type]
