"""SAM's ViT image encoder, at any input size. Its names are those of `segment_anything/modeling/image_encoder.py`.

Most layers attend within windows (14 x 14 tokens in SAM), a few globally. Every attention adds decomposed relative
positions. At another size than the trained one, the table of absolute positions (bicubic) and those of relative
positions (linear) are interpolated.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.encoder_spec import VitSpec
from samclip_edge.bundle.sizes import PATCH
from samclip_edge.model.image_encoder import ImageEncoder
from samclip_edge.model.layers import MLPBlock


def relative_positions(table: Tensor, count: int, side: int) -> Tensor:
    """Look up the row of a relative-position table for every pair of a query and a key along one axis.

    table: (L, C), where L = 2 * trained side - 1; resized linearly when `side` differs from the trained one. count: how
    many tokens the axis has, of a square with `side` of them.
    Returns (count, count, C): entry [q, k] belongs to the offset q - k. Source: SAM's `get_rel_pos`, for as many
    queries as keys.
    """
    length = 2 * side - 1
    if table.shape[0] != length:
        table = F.interpolate(table.T[None], size=length, mode="linear")[0].T
    axis = torch.arange(count, device=table.device)
    return table[axis[:, None] - axis[None, :] + side - 1]


class Attention(nn.Module):
    """Multi-head self-attention over an (H,W) map with decomposed relative positions (MViTv2, Sec. 4.1)."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def positions(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The tables that `forward` adds: (height, height, C) along y and (width, width, C) along x."""
        side = max(height, width)  # a map that is no square is a part of one
        return relative_positions(self.rel_pos_h, height, side), relative_positions(self.rel_pos_w, width, side)

    def forward(self, x: Tensor) -> Tensor:
        """(B,H,W,D) to the same shape: every token attends to all of its own map."""
        batch, height, width, dim = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.flatten(1, 2).unbind(0)  # each (B * heads, H * W, C)

        rows, columns = self.positions(height, width)
        map_q = q.reshape(batch * self.heads, height, width, -1)
        by_row = map_q @ rows.transpose(-2, -1)  # (B * heads, H, W, H): the query's row against the key's
        by_column = (map_q.transpose(1, 2) @ columns.transpose(-2, -1)).transpose(1, 2)  # (B * heads, H, W, W)

        x = self.attend(q, k, v, by_row, by_column).reshape(batch, self.heads, height * width, -1)
        out: Tensor = self.proj(x.transpose(1, 2).reshape(batch, height, width, dim))
        return out

    def attend(self, q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
        """Softmax attention (B * heads, H * W, C) with the relative positions added to its logits."""
        bias = by_row[..., None] + by_column[..., None, :]
        bias = bias.reshape(q.shape[0], q.shape[1], k.shape[1])
        return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=bias[None], scale=self.scale)[0]


class Block(nn.Module):
    """A pre-norm transformer layer.

    With `window` 0 it attends globally, else within windows of `window` x `window` tokens, padded with zeros as in SAM.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, window: int, side: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or side)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, int(width * mlp_ratio))
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """(B,H,W,D) to the same shape."""
        attended = self.norm1(x)
        attended = self._in_windows(attended) if self.window else self.attn(attended)
        x = x + attended
        return x + self.mlp(self.norm2(x))

    def _in_windows(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        side = self.window
        down, right = -height % side, -width % side
        if down or right:
            x = F.pad(x, (0, 0, 0, right, 0, down))
        rows, columns = (height + down) // side, (width + right) // side
        x = x.reshape(batch, rows, side, columns, side, dim).transpose(2, 3)
        x = self.attn(x.reshape(-1, side, side, dim))
        x = x.reshape(batch, rows, columns, side, side, dim).transpose(2, 3)
        return x.reshape(batch, rows * side, columns * side, dim)[:, :height, :width]


class PatchEmbed(nn.Module):
    """Turns each square of 16 x 16 pixels into a token, by one linear map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,S,S) to (B,h,w,D)."""
        out: Tensor = self.proj(x).permute(0, 2, 3, 1)
        return out


class ConvStem(nn.Module):
    """Turns each patch into a token by a stack of convolutions, with which small models learn shapes sooner.

    Source: Early Convolutions Help Transformers See Better, arXiv 2106.14881. Four convolutions have stride 2; each
    doubles the width, and all but the first are followed by one of stride 1. Their BatchNorm learns its statistics
    while a teacher is trained (`train()`). After that it is a fixed scale and shift, which exporters fold away.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [3, width // 8, width // 4, width // 2, width]
        pairs = [((a, b, 2), (b, b, 1)) for a, b in itertools.pairwise(widths)]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
                for a, b, stride in [pairs[0][0], *itertools.chain(*pairs[1:])]
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,S,S) to (B,h,w,D)."""
        # Channels last in memory, the order that the layers after it read, so that nothing is copied.
        out: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)
        return out


class Encoder(ImageEncoder):
    """SAM's `ImageEncoderViT`."""

    def __init__(self, spec: VitSpec) -> None:
        super().__init__(spec.width)
        self.patch_embed = PatchEmbed(spec.width) if spec.stem == "patch" else ConvStem(spec.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, spec.grid, spec.grid, spec.width))
        self.blocks = nn.ModuleList(
            Block(
                spec.width,
                spec.heads,
                spec.mlp_ratio,
                window=0 if layer in spec.global_layers else spec.window,
                side=spec.grid,
            )
            for layer in range(spec.depth)
        )

    def position_table(self, height: int, width: int) -> Tensor:
        """The absolute positions (1,h,w,D), resized (bicubic, antialiased) as open_clip resizes its own.

        A map that is no square has the positions of the top left part of a square of its longer side.
        """
        if self.pos_embed.shape[1:3] == (height, width):
            return self.pos_embed
        side = max(height, width)
        table: Tensor = self.pos_embed
        if table.shape[1] != side:
            channels_first = table.permute(0, 3, 1, 2)
            resized = F.interpolate(
                channels_first, size=(side, side), mode="bicubic", antialias=True, align_corners=False
            )
            table = resized.permute(0, 2, 3, 1)
        return table[:, :height, :width]

    def tokens(self, image: Tensor) -> Tensor:
        """See `ImageEncoder.tokens`."""
        x = self.patch_embed((image - self.pixel_mean) / self.pixel_std)
        x = x + self.position_table(x.shape[1], x.shape[2])
        for block in self.blocks:
            x = block(x)
        return x.permute(0, 3, 1, 2)

    @property
    def layers(self) -> nn.ModuleList:
        """See `ImageEncoder.layers`."""
        return self.blocks

    def last_layer(self) -> dict[str, Tensor]:
        """See `ImageEncoder.last_layer`."""
        return self.blocks[-1].state_dict()
