"""Heads that are trained on a frozen backbone: linear, DeepLabv3 and PSPNet for patches, linear for whole photos."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

Head = Literal["linear", "deeplabv3", "pspnet"]
HEADS: tuple[Head, ...] = ("linear", "deeplabv3", "pspnet")
_WIDTH = 512  # of PSPNet's last layer (Zhao et al. 2017, and the authors' code)
_BINS = (1, 2, 3, 6)  # cells a side of its pyramid


class Whole(nn.Module):
    """A linear layer on the mean of a photo's patches, scaled by a norm without weights (MAE, Sec. A.1)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.linear = nn.Linear(channels, classes)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B,D,h,w) to logits (B,K)."""
        logits: Tensor = self.linear(self.norm(patches.mean(dim=(2, 3), keepdim=True)).flatten(1))
        return logits


class Pyramid(nn.Module):
    """PSPNet's head (Zhao et al. 2017, Fig. 3): patches beside their means over grids of 1, 2, 3 and 6 cells a side."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        part = channels // len(_BINS)
        self.means = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), *_layer(channels, part, 1)) for bins in _BINS
        )
        joined = channels + part * len(_BINS)
        self.last = nn.Sequential(*_layer(joined, _WIDTH, 3), nn.Dropout2d(0.1), nn.Conv2d(_WIDTH, classes, 1))

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B,D,h,w) to logits (B,K,h,w)."""
        size = patches.shape[-2:]
        means = [F.interpolate(each(patches), size=size, mode="bilinear", align_corners=False) for each in self.means]
        logits: Tensor = self.last(torch.cat([patches, *means], dim=1))
        return logits


def _layer(channels: int, width: int, kernel: int) -> list[nn.Module]:
    """A convolution, its norm and its activation."""
    convolution = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU()]


def head(kind: Head, channels: int, classes: int, whole: bool) -> nn.Module:
    """A head for patches of D channels and K classes. whole: of whole photos, which have a linear head only."""
    if whole:
        return Whole(channels, classes)
    if kind == "linear":
        return nn.Sequential(nn.BatchNorm2d(channels), nn.Conv2d(channels, classes, 1))
    made: nn.Module = DeepLabHead(channels, classes) if kind == "deeplabv3" else Pyramid(channels, classes)
    return made
