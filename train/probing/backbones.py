"""The frozen backbones that are probed: the image encoder of a merged model, of SAM, and of a CLIP of open_clip."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from samclip_edge import data
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError, one_line
from samclip_edge.model import checkpoint, recognise
from samclip_edge.model.clip_vision import image_tower
from samclip_edge.model.files import is_safetensors
from samclip_edge.model.fit import load_exactly
from samclip_edge.model.image_encoder import ImageEncoder, image_encoder
from samclip_edge.model.layouts import as_open_clip, as_sam
from samclip_edge.model.open_clips import described
from samclip_edge.model.public import open_clip_weights


class Backbone(nn.Module):
    """Turns images (B,3,S,S) RGB, 0..255, into patch features (B,D,h,w). Nothing of it learns."""

    def __init__(self, kind: str, module: nn.Module) -> None:
        """kind: what it is, for the report: "merged", "SAM" or "CLIP"."""
        super().__init__()
        self.kind, self.module = kind, module
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """Stay as it is: a frozen backbone updates no statistics either."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        module = self.module
        features: Tensor = module.tokens(pixels) if isinstance(module, ImageEncoder) else module(pixels)
        return features


class _ClipPatches(nn.Module):
    """The patches of an image tower of open_clip after its last layer and norm."""

    mean: Tensor
    std: Tensor

    def __init__(self, tower: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        shown = (pixels / 255 - self.mean / 255) / (self.std / 255)
        found = self.tower.forward_intermediates(  # type: ignore[operator]
            shown, indices=1, normalize_intermediates=True, intermediates_only=True
        )
        features: Tensor = found["image_intermediates"][-1]
        return features


def backbone(name: str, size: int) -> Backbone:
    """The backbone of a name, for images of `size` pixels.

    name: a merged checkpoint or the name of a shipped one; SAM's file; or a CLIP as MODEL:FILE or MODEL:TAG, whose
    position embeddings are resized to `size`. Raises InputError where there is none, or it cannot take that size.
    """
    path = data.CHECKPOINTS.get(name, Path(name))
    if not path.exists():
        if ":" not in name:
            raise InputError(
                f" {name}: no such file; give a merged checkpoint, SAM's file, or a CLIP as MODEL:FILE or MODEL:TAG",
                "backbone",
            )
        return Backbone("CLIP", _clip(name, size))
    if is_safetensors(path):
        try:
            return Backbone("merged", checkpoint.load(path)[0].image_encoder)
        except InputError as error:
            if "spec" not in str(error):
                raise
    state = as_sam(checkpoint.read_state(path), str(path))
    preset = recognise.preset_of_sam(state)
    if preset is None:
        what = recognise.of_tensors(state)
        raise InputError(f" {name}: {what}; give a CLIP as MODEL:FILE, so that its kind is known", "backbone")
    encoder = image_encoder(PRESETS[preset].encoder)
    parts = {f"image_encoder.{prefix}": part for prefix, part in encoder.of_sam().items()}
    own = {key: each for key, each in state.items() if key.startswith(tuple(parts))}
    load_exactly(parts, own, name, recognise.of_tensors(state), f"the encoder of {preset}", "Pass SAM's whole file")
    return Backbone("SAM", encoder)


def _clip(name: str, size: int) -> nn.Module:
    """See `backbone`."""
    from open_clip.model import resize_pos_embed

    model, _, weights = name.partition(":")
    state, quick = open_clip_weights(name, "backbone")
    clip = described(model, weights, "backbone")
    assert clip.vision is not None
    sized = clip.vision.model_copy(update={"tower": {**clip.vision.tower, "image_size": size}})
    tower = image_tower(sized, clip.features, quick)
    seeing = {key: each for key, each in as_open_clip(state).items() if key.startswith("visual.")}
    resize_pos_embed(seeing, nn.ModuleDict({"visual": tower}))
    load_exactly(
        {"visual.": tower}, seeing, name, recognise.of_tensors(seeing), f"open_clip's {model} at {size} pixels",
        "Name the model that the weights belong to",
    )  # fmt: skip
    patches = _ClipPatches(tower.eval(), clip.vision.mean, clip.vision.std)
    try:
        with torch.no_grad():
            patches(torch.zeros(1, 3, size, size))
    except Exception as error:  # towers of timm raise whatever they meet
        raise InputError(f" {name}: shows no patches at {size} pixels ({one_line(error)})", "backbone") from None
    return patches
