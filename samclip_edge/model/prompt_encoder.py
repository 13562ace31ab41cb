"""SAM's prompt encoder. Parameter names are those of `segment_anything/modeling/prompt_encoder.py`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from samclip_edge.bundle.sizes import MASK_STRIDE
from samclip_edge.bundle.spec import CHANNELS
from samclip_edge.model.guidance import Guidance
from samclip_edge.model.layers import LayerNorm2d


class RandomPositions(nn.Module):
    """Encodes positions as sines and cosines of random spatial frequencies (SAM's `PositionEmbeddingRandom`)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, CHANNELS // 2))

    def forward(self, unit: Tensor) -> Tensor:
        """unit: (..., 2) x, y in 0..1 of the model's square. Returns (..., 256)."""
        angles = 2 * math.pi * ((2 * unit - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Turns points, box corners and a low-res mask into the embeddings that the mask decoder attends to.

    Labels are numbered as in SAM's own ONNX export: -1 nothing, 0 background, 1 foreground, 2 the top-left and 3 the
    bottom-right corner of a box. A prompt without a box ends in one point labelled -1, as in SAM.
    """

    def __init__(self, guidance: int = 0) -> None:
        """guidance: the hidden channels of `Guidance`, which SAM does not have; 0 for none."""
        super().__init__()
        self.guidance = Guidance(guidance) if guidance else None
        self.pe_layer = RandomPositions()
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, CHANNELS) for _ in range(4))  # for labels 0 to 3
        self.not_a_point_embed = nn.Embedding(1, CHANNELS)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, kernel_size=2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, CHANNELS, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, CHANNELS)

    def grid_positions(self, height: int, width: int) -> Tensor:
        """Encoded positions (1,256,h,w) of the centres of the embedding's pixels.

        An embedding that is no square is the top left part of a square of its longer side.
        """
        device, side = self.no_mask_embed.weight.device, max(height, width)
        y = (torch.arange(height, device=device) + 0.5) / side
        x = (torch.arange(width, device=device) + 0.5) / side
        unit = torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], dim=-1)
        positions: Tensor = self.pe_layer(unit)
        return positions.permute(2, 0, 1)[None]

    def forward(self, points: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embed B prompts of N points each.

        points: (B,N,2) x, y in model pixels. labels: (B,N). mask: (M,1,H/4,W/4) low-res logits, one for each prompt or
        one that all share. has_mask: (1,), 1 to use the masks, 0 to ignore them.
        Returns sparse (B,N,256) and dense (M,256,h,w); with guidance, dense (B,256,h,w).
        """
        side = MASK_STRIDE * max(mask.shape[2:])  # of the square that the input is, or is a part of
        sparse = self.pe_layer((points + 0.5) / side)  # + 0.5: from a pixel's corner to its centre
        kind = labels[..., None]
        sparse = torch.where(kind == -1, self.not_a_point_embed.weight, sparse)
        for label, embedding in enumerate(self.point_embeddings):
            assert isinstance(embedding, nn.Embedding)
            sparse = sparse + (kind == label).to(sparse.dtype) * embedding.weight

        no_mask = self.no_mask_embed.weight.view(1, CHANNELS, 1, 1)
        dense = torch.where(has_mask.view(1, 1, 1, 1) > 0.5, self.mask_downscaling(mask), no_mask)
        if self.guidance is not None:
            dense = self.guidance(dense, points, labels)
        return sparse, dense
