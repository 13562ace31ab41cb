"""CLIP's own image tower (a ViT), for running SAM and CLIP side by side. A merged model has the CLIP head instead.

Parameter names are those of `open_clip.transformer.VisionTransformer`, so that `visual.*` of a state dict fits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.spec import CLIP_MEAN, CLIP_STD, ModelSpec
from samclip_edge.model.text_encoder import Transformer


class ClipVision(nn.Module):
    """Turns photos into image features."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        vision = spec.clip_vision
        assert vision is not None
        width, tokens = vision.width, (vision.size // vision.patch) ** 2 + 1
        self.conv1 = nn.Conv2d(3, width, kernel_size=vision.patch, stride=vision.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, vision.depth, vision.heads, None, spec.text.activation)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, spec.features))
        self.register_buffer("pixel_mean", torch.tensor(CLIP_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(CLIP_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """image: (B,3,s,s) RGB, 0..255, with s = `ClipVisionSpec.size`. Returns features (B,E), L2-normalised."""
        x = self.conv1((image - self.pixel_mean) / self.pixel_std).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(x.shape[0], 1, -1)
        x = self.ln_pre(torch.cat([first, x], dim=1) + self.positional_embedding)
        x = self.transformer(x)[:, 0]
        return F.normalize(self.ln_post(x) @ self.proj, dim=-1)
