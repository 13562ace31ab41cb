"""The export-friendly forms of `model/efficientnet_lite.py` and of the head of classes that reads its tokens.

The encoder is its own form on every engine: convolutions are what the Neural Engine is made for. The head is the
model's own, or its products as 1 x 1 convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.sizes import Size, grid
from samclip_edge.export.forms.channels_first import linear, pointwise, unit, with_channel_norms
from samclip_edge.export.forms.folding import constant
from samclip_edge.model.class_head import ClassHead
from samclip_edge.model.clip_head import halved
from samclip_edge.model.efficientnet_lite import Encoder
from samclip_edge.model.merged import MergedModel


def fixed(encoder: Encoder, height: int, width: int) -> nn.Module:
    """The encoder, whatever the size of its map."""
    return encoder


mobile_gpu = fixed  # convolutions are what a GPU takes too


class NeuralEngine(nn.Module):
    """`image` to `tokens` and `embedding`, for maps of height x width tokens."""

    def __init__(self, encoder: Encoder, height: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.neck = with_channel_norms(encoder.neck)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        tokens = self.encoder.tokens(image)
        return tokens, self.neck(tokens)


class NeuralEngineHead(nn.Module):
    """`class_head.ClassHead`: `tokens` to `image_features` and `patch_features`."""

    def __init__(self, model: MergedModel, size: Size) -> None:
        """Share the weights of the model's head."""
        super().__init__()
        head = model.clip_head
        assert isinstance(head, ClassHead)
        self.cells, self.reads = model.spec.feature_grid(size), head.reads
        self.pool = grid(size) != self.cells
        self.conv_head = head.conv_head
        self.gate = pointwise(head.gate.weight * head.scale, head.gate.bias * head.scale)
        self.fc = pointwise(head.fc.weight * head.sharpness, constant(head.fc.bias * head.sharpness))
        self.names, self.beyond = linear(head.names), pointwise(head.beyond.weight * head.scale, None)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        x = tokens[:, : self.reads]
        hidden = F.relu6(self.conv_head(halved(x) if self.pool else x))
        weights = self.gate(hidden).sigmoid()
        # Means and not sums, which half precision might not hold.
        pooled = (weights * hidden).mean(dim=(2, 3), keepdim=True) / weights.mean(dim=(2, 3), keepdim=True)
        rows, columns = self.cells
        row = torch.cat([pooled, hidden.reshape(1, -1, 1, rows * columns)], dim=3)
        logits = self.fc(row)
        features = unit(self.names(self.uneven(logits.softmax(dim=1))) + self.beyond(row))
        return features[:, :, 0, 0], features[..., 1:].reshape(1, -1, rows, columns)

    def uneven(self, chances: Tensor) -> Tensor:
        """Chances (B,K,H,W) without even ones, which say nothing."""
        return chances - 1 / chances.shape[1]


class MobileGpuHead(NeuralEngineHead):
    """The same head for phones' GPUs."""

    def uneven(self, chances: Tensor) -> Tensor:
        """See `NeuralEngineHead.uneven`. The mean is 1 / K too.

        LiteRT's converter takes a constant that is subtracted here into the bias of the product after it, and the
        difference of the two loses its digits.
        """
        return chances - chances.mean(dim=1, keepdim=True)
