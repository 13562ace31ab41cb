"""The image encoder, whatever its kind: it turns an image into `tokens`, which the CLIP head reads, and an `embedding`.

A spec names its kind. A kind is a file of this folder, with a class `Encoder` that is an `ImageEncoder`, and a file of
`export/forms/` of the same name. But for what reads the files of others, nothing else knows one kind from another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module

import torch
from torch import Tensor, nn

from samclip_edge.bundle.encoder_spec import EncoderSpec
from samclip_edge.bundle.spec import CHANNELS, PIXEL_MEAN, PIXEL_STD
from samclip_edge.model.layers import LayerNorm2d


class ImageEncoder(nn.Module, ABC):
    """What every kind has. Parameter names are those of SAM's `image_encoder`, so that SAM's state dict fits."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, width: int) -> None:
        """width: the channels of what the neck reads."""
        super().__init__()
        self.neck = nn.Sequential(
            nn.Conv2d(width, CHANNELS, kernel_size=1, bias=False),
            LayerNorm2d(CHANNELS),
            nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(CHANNELS),
        )
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images once for both heads.

        image: (B,3,H,W) RGB, 0..255, H and W multiples of 16.
        Returns tokens (B,D,h,w) before the neck and embedding (B,256,h,w) after it; h = H / 16, w = W / 16.
        """
        tokens = self.tokens(image)
        return tokens, self.embedding(tokens)

    @abstractmethod
    def tokens(self, image: Tensor) -> Tensor:
        """Only the tokens (B,D,h,w) of `forward`, which are all that the CLIP head needs."""

    def embedding(self, tokens: Tensor) -> Tensor:
        """The embedding (B,256,h,w) that belongs to tokens (B,D,h,w)."""
        out: Tensor = self.neck(tokens)
        return out

    @property
    @abstractmethod
    def layers(self) -> nn.ModuleList:
        """The parts whose activations training may recompute, one after another."""

    def of_sam(self) -> dict[str, nn.Module]:
        """The parts that SAM's file has weights for, each by the prefix of their names after `image_encoder.`."""
        return {"": self}

    def last_layer(self) -> dict[str, Tensor]:
        """The weights of the last layer, under the names of `vit.Block`, that a layer of the CLIP head may start from.

        Empty where no layer of the encoder is of that kind.
        """
        return {}


def image_encoder(spec: EncoderSpec) -> ImageEncoder:
    """The image encoder of a spec, with weights that are not set."""
    encoder: ImageEncoder = import_module(f"samclip_edge.model.{spec.kind}").Encoder(spec)
    return encoder
