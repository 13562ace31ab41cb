"""CLIP's own image tower, for running SAM and CLIP side by side. A merged model has the CLIP head instead.

open_clip builds it, whatever kind it is, so that `visual.*` of open_clip's state dicts fits. A test holds the graph
against open_clip's whole model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.spec import ClipVisionSpec
from samclip_edge.errors import InputError, one_line

_NO_TEXT = {"width": 8, "heads": 1, "layers": 1, "vocab_size": 1, "context_length": 1}  # the tower beside it, unused


def image_tower(vision: ClipVisionSpec, features: int, quick_gelu: bool) -> nn.Module:
    """A tower with random weights: normalised photos (B,3,s,s) to features (B,E), E = `features`.

    Raises InputError where open_clip does not build it.
    """
    import open_clip

    try:
        visual = open_clip.CLIP(features, dict(vision.tower), _NO_TEXT, quick_gelu).visual
    except Exception as error:  # open_clip and timm raise whatever they meet in a damaged spec
        raise InputError(f"clip_vision: open_clip could not build its tower ({one_line(error)})") from None
    assert isinstance(visual, nn.Module)
    return visual


class ClipImageEncoder(nn.Module):
    """Turns photos into image features by a tower, with the normalisation of the photos inside."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, tower: nn.Module, vision: ClipVisionSpec) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("pixel_mean", torch.tensor(vision.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(vision.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """image: (B,3,s,s) RGB, 0..255, with s = `ClipVisionSpec.size`. Returns features (B,E), L2-normalised."""
        features: Tensor = self.tower((image - self.pixel_mean) / self.pixel_std)
        return F.normalize(features, dim=-1)
