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
        self.qkv, self.proj = attention.qkv, attention.proj
        rows, columns = attention.positions(height, width)
        self.register_buffer("rows", rows.detach().transpose(-2, -1).contiguous())
        self.register_buffer("columns", columns.detach().transpose(-2, -1).contiguous())

    def attend(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (B,H,W,3D) of B maps. Returns (B,H,W,D): what each token takes from its own map."""
        batch, heads, count = qkv.shape[0], self.heads, self.height * self.width
        q, k, v = qkv.reshape(batch, count, 3, heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
        maps = max(1, BLOCK // count**2)  # in a group, each with one head
        groups = [slice(first, first + maps) for first in range(0, batch * heads, maps)]
        x = torch.cat([self._attend(q[group], k[group], v[group]) for group in groups])
        x = x.reshape(batch, heads, count, -1).transpose(1, 2)
        return x.reshape(batch, self.height, self.width, -1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same for M maps with one head each: q, k and v are (M,H*W,C). Returns (M,H*W,C)."""
        height, width = self.height, self.width
        q = q.reshape(-1, height, width, q.shape[-1])
        by_row = q @ self.rows  # (M,H,W,H): the query's row against the key's
        by_column = (q.transpose(1, 2) @ self.columns).transpose(1, 2)  # (M,H,W,W)
        q, k = q * self.scale, k.transpose(-2, -1)
        step = max(1, BLOCK // (len(q) * height * width**2))
        parts = []
        for first in range(0, height, step):
            block = slice(first, min(first + step, height))
            scores = q[:, block].flatten(1, 2) @ k
            scores = scores.reshape(len(q), -1, width, height, width)
            scores = scores + by_row[:, block, :, :, None] + by_column[:, block, :, None, :]
            parts.append(scores.reshape(len(q), -1, height * width).softmax(dim=-1) @ v)
        return torch.cat(parts, dim=1)

    def forward(self, x: Tensor, window: int) -> Tensor:
        """(1,H,W,D) to the same shape; `window` 0 attends to the whole map."""
        if not window:
            out: Tensor = self.proj(self.attend(self.qkv(x)))
            return out
        _, height, width, dim = x.shape
        down, right = -height % window, -width % window
        rows, columns = (height + down) // window, (width + right) // window
        qkv = F.pad(x @ self.qkv.weight.T, (0, 0, 0, right, 0, down))
        qkv = qkv.reshape(rows, window, columns, window, 3 * dim).transpose(1, 2)
        x = self.attend(qkv.reshape(-1, window, window, 3 * dim) + self.qkv.bias)
        x = x.reshape(rows, columns, window, window, dim).transpose(1, 2)
        out = self.proj(x.reshape(1, rows * window, columns * window, dim)[:, :height, :width])
        return out


class FixedBlock(nn.Module):
    """`Block` for one map size."""

    def __init__(self, block: Block, height: int, width: int) -> None:
        """Share the weights of `block`, for maps of height x width."""
        super().__init__()
        self.norm1, self.norm2, self.mlp, self.window = block.norm1, block.norm2, block.mlp, block.window
        self.attn = FixedAttention(block.attn, block.window or height, block.window or width)

    def forward(self, x: Tensor) -> Tensor:
        """(1,H,W,D) to the same shape."""
        x = x + self.attn(self.norm1(x), self.window)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def fix_blocks(blocks: nn.ModuleList, height: int, width: int) -> nn.ModuleList:
    """Transformer layers for maps of height x width, sharing the weights of `blocks`."""
    return nn.ModuleList(FixedBlock(block, height, width) for block in blocks)  # type: ignore[arg-type]
