"""The frozen models that a student learns from.

A teacher either has public weights or is a checkpoint of an earlier stage. SAM's public weights are loaded key for key
into our own modules. CLIP's run in open_clip's own model.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.errors import InputError, one_line
from samclip_edge.model import recognise
from samclip_edge.model.fit import load_exactly
from samclip_edge.model.layouts import as_open_clip
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.public import open_clip_weights


class ClipTeacher(Protocol):
    """Turns images of any size into features. The teacher resizes and normalises them itself."""

    size: int  # side, in pixels, of the images that the teacher works on

    def __call__(self, pixels: Tensor) -> Tensor:
        """pixels: (B,3,S,S) RGB, 0..255, any S. Returns features (B,E)."""
        ...


class Teachers(NamedTuple):
    """The CLIP teacher and the SAM teacher, both frozen."""

    clip: ClipTeacher
    sam: MergedModel
    names: Tensor | None = None  # (K+1,E) features of `rendered.NAMES` and of the background, for stages with `names`


def resized(pixels: Tensor, size: int) -> Tensor:
    """Resize (B,3,S,S) to (B,3,size,size), bilinear and antialiased."""
    if pixels.shape[-1] == size:
        return pixels
    return F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


class OwnClip:
    """A merged checkpoint as the CLIP teacher, at the smallest of its sizes."""

    def __init__(self, model: MergedModel) -> None:
        self.model, self.size = model, model.spec.squares[0]

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """See `ClipTeacher`."""
        features: Tensor = self.model.clip_head.image_features(
            self.model.image_encoder.tokens(resized(pixels, self.size))
        )
        return features


class OpenClip:
    """An image tower of open_clip as the CLIP teacher."""

    def __init__(self, name: str, device: torch.device) -> None:
        """name: MODEL:TAG or MODEL:FILE. Raises InputError when the weights cannot be loaded."""
        import open_clip

        architecture, _, weights = name.partition(":")
        state, quick = open_clip_weights(name, "clip_teacher")
        try:  # open_clip itself would give OpenAI's weights the activation that the model's name says
            model = open_clip.create_model(architecture, weights, load_weights=False, force_quick_gelu=quick)
        except Exception as error:  # open_clip raises whatever it meets
            raise InputError(f" {name}: open_clip could not make it ({one_line(error)})", "clip_teacher") from None
        mend = "Name the model that the weights belong to"
        load_exactly(
            {"": model}, as_open_clip(state), name, recognise.of_tensors(state), f"open_clip's {architecture}", mend
        )
        self.model: Any = model.eval().requires_grad_(False).to(device)
        side = model.visual.image_size
        self.size = int(side[0] if isinstance(side, tuple) else side)
        self.mean, self.std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1)
            for values in (model.visual.image_mean, model.visual.image_std)
        )

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """See `ClipTeacher`."""
        features: Tensor = self.model.encode_image((resized(pixels, self.size) / 255 - self.mean) / self.std)
        return F.normalize(features, dim=-1)
