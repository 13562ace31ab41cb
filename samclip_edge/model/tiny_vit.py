"""MobileSAM's image encoder, at any input size: TinyViT (arXiv 2207.10666), with 16 pixels a token as SAM has.

Names are those of `mobile_sam/modeling/tiny_vit_sam.py`. The stem and the first stage are convolutions. The three other
stages attend within windows, each with a table of learned biases by the distance of two tokens, so that no table knows
the size of the map. Each BatchNorm is a fixed scale and shift but while a teacher is trained (`train()`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.encoder_spec import TinyVitSpec
from samclip_edge.model.image_encoder import ImageEncoder

EXPANSION = 4  # of the channels within an MBConv


class ConvNorm(nn.Module):
    """A convolution and its BatchNorm."""

    def __init__(self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to (B,out,H / stride,W / stride)."""
        out: Tensor = self.bn(self.c(x))
        return out


class PatchEmbed(nn.Module):
    """Turns each square of 4 x 4 pixels into a token, by two convolutions of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, width // 2, 3, 2), nn.GELU(), ConvNorm(width // 2, width, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,H,W) to (B,D,H / 4,W / 4)."""
        out: Tensor = self.seq(x)
        return out


class MBConv(nn.Module):
    """Widen, convolve each channel by itself, narrow; with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B,D,H,W) to the same shape."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class PatchMerging(nn.Module):
    """Goes to the width of the next stage, and with stride 2 to half its height and width."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, out)
        self.conv2 = ConvNorm(out, out, 3, stride, groups=out)
        self.conv3 = ConvNorm(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """(B,D,H,W) to (B,out,H / stride,W / stride)."""
        out: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return out


class Attention(nn.Module):
    """Multi-head self-attention over windows of `side` x `side` tokens, with a norm before it and a learned bias."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)  # head by head: its query, its key, its value
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, side * side))

    def bias(self) -> Tensor:
        """What is added to the scores (heads,N,N): the learned bias of the rows and columns between query and key."""
        axis = torch.arange(self.side, device=self.attention_biases.device)
        apart = (axis[:, None] - axis).abs()
        index = apart[:, None, :, None] * self.side + apart[None, :, None, :]
        return self.attention_biases[:, index.reshape(self.side**2, -1)]

    def in_order(self, rows: Tensor) -> Tensor:
        """Rows (3D,...) of the weight or bias of `qkv`: first all queries, then the keys, then the values."""
        return rows.reshape(self.heads, 3, -1, *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B,N,D) to the same shape: every token attends to all of its own window."""
        qkv = self.qkv(self.norm(x)).reshape(*x.shape[:2], self.heads, 3, -1)
        q, k, v = qkv.permute(3, 0, 2, 1, 4).unbind(0)  # each (B,heads,N,C)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias()[None]).transpose(1, 2)
        out: Tensor = self.proj(x.flatten(2))
        return out


class Mlp(nn.Module):
    """The MLP of a transformer layer, with the norm before it."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return out


class Block(nn.Module):
    """A transformer layer within windows, with a convolution of each channel between attention and MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, window: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """(B,D,H,W) to the same shape. Maps are padded to whole windows with zeros, before the norm."""
        x = x.permute(0, 2, 3, 1)
        x = x + self._in_windows(x)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (x + self.mlp(x)).permute(0, 3, 1, 2)

    def _in_windows(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        side = self.window
        down, right = -height % side, -width % side
        rows, columns = (height + down) // side, (width + right) // side
        x = F.pad(x, (0, 0, 0, right, 0, down)).reshape(batch, rows, side, columns, side, dim).transpose(2, 3)
        x = self.attn(x.reshape(-1, side**2, dim))
        x = x.reshape(batch, rows, columns, side, side, dim).transpose(2, 3)
        return x.reshape(batch, rows * side, columns * side, dim)[:, :height, :width]


class Stage(nn.Module):
    """Blocks of one width, then what goes to the next one."""

    def __init__(self, blocks: list[nn.Module], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B,D,H,W) to the map that the next stage takes."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class Encoder(ImageEncoder):
    """MobileSAM's `TinyViT`, without the classifier that its file still has."""

    def __init__(self, spec: TinyVitSpec) -> None:
        super().__init__(spec.width)
        self.patch_embed = PatchEmbed(spec.widths[0])
        blocks: list[list[nn.Module]] = [[MBConv(spec.widths[0]) for _ in range(spec.depths[0])]]
        shapes = zip(spec.depths[1:], spec.widths[1:], spec.stage_heads, spec.windows, strict=True)
        for depth, width, heads, window in shapes:
            blocks.append([Block(width, heads, spec.mlp_ratio, window) for _ in range(depth)])
        # The first two halve the map, from 4 pixels a token to 16. TinyViT's own third would make it 32.
        merging = [PatchMerging(spec.widths[i], spec.widths[i + 1], stride) for i, stride in enumerate((2, 2, 1))]
        stages = map(Stage, blocks, [*merging, None])
        self._modules["layers"] = nn.ModuleList(stages)  # their name in the file, which here is a property's

    @property
    def stages(self) -> list[Stage]:
        """The four stages."""
        return list(self._modules["layers"].children())  # type: ignore[union-attr, arg-type]

    def tokens(self, image: Tensor) -> Tensor:
        """See `ImageEncoder.tokens`."""
        x: Tensor = self.patch_embed((image - self.pixel_mean) / self.pixel_std)
        for stage in self.stages:
            x = stage(x)
        return x

    @property
    def layers(self) -> nn.ModuleList:
        """See `ImageEncoder.layers`: the blocks of all stages."""
        return nn.ModuleList(block for stage in self.stages for block in stage.blocks)

    def last_layer(self) -> dict[str, Tensor]:
        """See `ImageEncoder.last_layer`: all but the learned biases and the convolution."""
        block = self.stages[-1].blocks[-1]
        assert isinstance(block, Block)
        attention, mlp = block.attn, block.mlp
        found = {
            f"{name}.{what}": tensor
            for name, part in (
                ("norm1", attention.norm),
                ("attn.qkv", attention.qkv),
                ("attn.proj", attention.proj),
                ("norm2", mlp.norm),
                ("mlp.lin1", mlp.fc1),
                ("mlp.lin2", mlp.fc2),
            )
            for what, tensor in part.state_dict().items()
        }
        for name in ("attn.qkv.weight", "attn.qkv.bias"):  # `vit.Attention` has all queries, then keys, then values
            found[name] = attention.in_order(found[name])
        return found
