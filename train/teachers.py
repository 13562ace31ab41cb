"""The frozen models that a student learns from.

A teacher either has public weights or is a checkpoint of an earlier stage. SAM's public weights are loaded key for key
into our own modules. CLIP's image tower is open_clip's own.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.model import recognise
from samclip_edge.model.clip_vision import ClipImageEncoder, image_tower
from samclip_edge.model.fit import load_exactly
from samclip_edge.model.layouts import as_open_clip
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.open_clips import described
from samclip_edge.model.public import open_clip_weights
from samclip_edge.train.data.sources import View


class ClipTeacher(Protocol):
    """Turns images of any size into features. The teacher resizes and normalises them itself."""

    size: int  # side, in pixels, of the images that the teacher works on
    view: View  # how it is shown a whole photo

    def __call__(self, pixels: Tensor) -> Tensor:
        """pixels: (B,3,S,S) RGB, 0..255, any S. Returns features (B,E)."""
        ...


class Names(NamedTuple):
    """The names that patches are to be told apart by."""

    names: list[str]  # K
    features: Tensor  # (K+1,E), L2-normalised: those of the names, and of the background


class Teachers(NamedTuple):
    """The CLIP teacher and the SAM teacher, both frozen."""

    clip: ClipTeacher
    sam: MergedModel
    names: Names | None = None  # for stages with `names`


def resized(pixels: Tensor, size: int, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Resize (B,3,S,S) RGB, 0..255, to (B,3,size,size), antialiased."""
    if pixels.shape[-1] == size:
        return pixels
    shown = F.interpolate(pixels, size=(size, size), mode=mode, antialias=True, align_corners=False)
    return shown if mode == "bilinear" else shown.clamp(0, 255)  # cubics overshoot at edges


class OwnClip:
    """A merged checkpoint as the CLIP teacher, at the smallest of its sizes."""

    def __init__(self, model: MergedModel) -> None:
        self.model, self.size = model, model.spec.squares[0]
        self.view = View(self.size, "shortest", cubic=False)  # it was taught with squares that have no padding

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
        model, _, weights = name.partition(":")
        state, quick = open_clip_weights(name, "clip_teacher")
        state = as_open_clip(state)
        clip = described(model, weights, "clip_teacher")
        assert clip.vision is not None
        tower = image_tower(clip.vision, clip.features, quick)
        what, mend = recognise.of_tensors(state), "Name the model that the weights belong to"
        seeing = {name: each for name, each in state.items() if name.startswith("visual.")}
        load_exactly({"visual.": tower}, seeing, name, what, f"open_clip's {model}", mend)
        self.encoder = ClipImageEncoder(tower, clip.vision).eval().requires_grad_(False).to(device)
        self.size, self._mode = clip.vision.size, clip.vision.interpolation
        self.view = View(self.size, clip.vision.resize, cubic=self._mode == "bicubic")

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """See `ClipTeacher`. Crops are squares, so that each way of resizing them is the same."""
        features: Tensor = self.encoder(resized(pixels, self.size, self._mode))
        return features
