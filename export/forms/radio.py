"""The export-friendly forms of `model/radio.py`: for one input size, and in the layout of the Neural Engine.

Each token attends to all. At 1024 pixels the scores of a layer would take 0.8 GB, so they are computed in blocks, as in
`forms.attention` and `forms.channels_first`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.sizes import PATCH, Size, grid
from samclip_edge.export.forms import attention, channels_first
from samclip_edge.export.forms.channels_first import ChannelNorm, linear, pointwise, unit, with_channel_norms
from samclip_edge.model.clip_head import halved
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.radio import Adaptor, Attention, Block, Encoder
from samclip_edge.model.radio_head import RadioHead


def embedder(encoder: Encoder) -> nn.Conv2d:
    """The linear map of patches as a convolution."""
    conv = nn.Conv2d(3, encoder.trunk, PATCH, stride=PATCH, bias=False, device="meta")
    conv.weight = nn.Parameter(encoder.patch_generator.kernel().detach(), requires_grad=False)
    return conv


class FixedAttention(nn.Module):
    """`radio.Attention` with its scores in blocks."""

    def __init__(self, source: Attention) -> None:
        """Share the weights of `source`."""
        super().__init__()
        self.heads, self.qkv, self.proj = source.heads, source.qkv, source.proj
        self.scale = (source.qkv.in_features // source.heads) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,D) to the same shape."""
        count, width = x.shape[1:]
        qkv = self.qkv(x).reshape(-1, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(0, 2, 3, 1, 4).unbind(1)  # each (B,heads,T,C)
        q, k = q * self.scale, k.transpose(-2, -1)
        heads = max(1, attention.BLOCK // count**2)
        step = max(1, attention.BLOCK // (heads * count))
        groups = []
        for first in range(0, self.heads, heads):
            group = slice(first, min(first + heads, self.heads))
            rows = [
                (q[:, group, top : min(top + step, count)] @ k[:, group]).softmax(dim=-1) @ v[:, group]
                for top in range(0, count, step)
            ]
            groups.append(torch.cat(rows, dim=2))
        out: Tensor = self.proj(torch.cat(groups, dim=1).transpose(1, 2).reshape(-1, count, width))
        return out


class FixedBlock(nn.Module):
    """`radio.Block` with its scores in blocks."""

    def __init__(self, block: Block) -> None:
        """Share the weights of `block`."""
        super().__init__()
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.attn = FixedAttention(block.attn)

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,D) to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Fixed(nn.Module):
    """`image` to `tokens` and `embedding`, for maps of height x width tokens."""

    def __init__(self, encoder: Encoder, height: int, width: int) -> None:
        """Share the weights of `encoder`."""
        super().__init__()
        self.mean, self.std = encoder.pixel_mean, encoder.pixel_std
        self.prefix, self.summary, self.height, self.width = encoder.prefix, encoder.summary, height, width
        self.embedder = embedder(encoder)
        positions = encoder.patch_generator.position_table(height, width).detach().contiguous()
        self.positions = nn.Parameter(positions, requires_grad=False)
        self.first = nn.Parameter(encoder.patch_generator.cls_token["token"].detach()[None], requires_grad=False)
        self.blocks = nn.ModuleList(FixedBlock(block) for block in encoder.blocks)  # type: ignore[arg-type]
        self.sam_adaptor, self.neck = encoder.sam_adaptor, encoder.neck

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        x = self.embedder((image - self.mean) / self.std) + self.positions
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.first + 0 * x[:, :1], x], dim=1)  # broadcast to as many as there are photos
        for block in self.blocks:
            x = block(x)
        patches = x[:, self.prefix :].unflatten(1, (self.height, self.width))
        summary = x[:, self.summary, None, None].expand_as(patches)
        embedding = self.neck(self.sam_adaptor(patches).permute(0, 3, 1, 2))
        return torch.cat([patches, summary], dim=3).permute(0, 3, 1, 2), embedding


def fixed(encoder: Encoder, height: int, width: int) -> Fixed:
    """The encoder for maps of height x width tokens, sharing its weights."""
    return Fixed(encoder, height, width)


def block_of_adaptor(block: nn.Module) -> nn.Sequential:
    """LayerNorm, GELU and a linear layer, over maps (B,C,H,W)."""
    assert isinstance(block, nn.Sequential)
    norm, activate, last = block
    return nn.Sequential(ChannelNorm(norm), activate, linear(last))


class MapAdaptor(nn.Module):
    """`radio.Adaptor` over maps (B,C,H,W)."""

    def __init__(self, source: Adaptor) -> None:
        """Share the weights of `source`."""
        super().__init__()
        self.first, self.last = linear(source.fc1), block_of_adaptor(source.final)
        self.blocks = nn.ModuleList(block_of_adaptor(block) for block in source.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to (B,out,H,W)."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.last(x)
        return out


class RowBlock(nn.Module):
    """`radio.Block` over a row of tokens (1,D,1,T)."""

    def __init__(self, block: Block) -> None:
        """Share the weights of `block`."""
        super().__init__()
        self.heads = block.attn.heads
        self.norm1, self.norm2 = ChannelNorm(block.norm1), ChannelNorm(block.norm2)
        self.qkv = pointwise(block.attn.qkv.weight, block.attn.qkv.bias)
        self.proj = linear(block.attn.proj)
        self.mlp = nn.Sequential(linear(block.mlp.fc1), nn.GELU(), linear(block.mlp.fc2))

    def forward(self, x: Tensor) -> Tensor:
        """(1,D,1,T) to the same shape."""
        width, count = int(x.shape[1]), int(x.shape[3])
        q, k, v = (
            part.reshape(1, self.heads, width // self.heads, count).transpose(2, 3)
            for part in self.qkv(self.norm1(x)).chunk(3, dim=1)
        )
        step = max(1, channels_first.BLOCK // (self.heads * count))
        # The scale stays the default: with one given, coremltools does not use its fused op.
        parts = [
            F.scaled_dot_product_attention(q[:, :, top : min(top + step, count)], k, v) for top in range(0, count, step)
        ]
        taken = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
        x = x + self.proj(taken.transpose(2, 3).reshape(1, width, 1, count))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class NeuralEngine(nn.Module):
    """`image` to `tokens` and `embedding`, for maps of height x width tokens."""

    def __init__(self, encoder: Encoder, height: int, width: int) -> None:
        """Share the weights of `encoder`."""
        super().__init__()
        self.mean, self.std = encoder.pixel_mean, encoder.pixel_std
        self.trunk, self.prefix, self.summary = encoder.trunk, encoder.prefix, encoder.summary
        self.height, self.width = height, width
        self.stem = embedder(encoder)
        positions = encoder.patch_generator.position_table(height, width).detach().contiguous()
        self.positions = nn.Parameter(positions, requires_grad=False)
        first = encoder.patch_generator.cls_token["token"].detach().T[None, :, None].contiguous()
        self.first = nn.Parameter(first, requires_grad=False)
        self.blocks = nn.ModuleList(RowBlock(block) for block in encoder.blocks)  # type: ignore[arg-type]
        self.sam_adaptor, self.neck = MapAdaptor(encoder.sam_adaptor), with_channel_norms(encoder.neck)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        height, width = self.height, self.width
        x = self.stem((image - self.mean) / self.std) + self.positions
        x = torch.cat([self.first, x.reshape(1, self.trunk, 1, height * width)], dim=3)
        for block in self.blocks:
            x = block(x)
        patches = x[..., self.prefix :].reshape(1, self.trunk, height, width)
        summary = x[..., self.summary : self.summary + 1].expand(-1, -1, height, width)
        return torch.cat([patches, summary], dim=1), self.neck(self.sam_adaptor(patches))


mobile_gpu = NeuralEngine  # has four dimensions, the first of them 1


class NeuralEngineHead(nn.Module):
    """`radio_head.RadioHead`: `tokens` to `image_features` and `patch_features`."""

    def __init__(self, model: MergedModel, size: Size) -> None:
        """Share the weights of the model's head."""
        super().__init__()
        head = model.clip_head
        assert isinstance(head, RadioHead)
        self.cells = model.spec.feature_grid(size)
        self.pool, self.trunk, self.adaptor = grid(size) != self.cells, head.trunk, MapAdaptor(head.adaptor)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        patches, summary = tokens[:, : self.trunk], tokens[:, self.trunk :, :1, :1]
        if self.pool:
            patches = halved(patches)
        rows, columns = self.cells
        row = torch.cat([summary, patches.reshape(1, self.trunk, 1, rows * columns)], dim=3)
        features = unit(self.adaptor(row))
        return features[:, :, 0, 0], features[..., 1:].reshape(1, -1, rows, columns)
