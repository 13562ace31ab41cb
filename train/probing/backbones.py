"""The frozen backbones that are probed: the image encoder of a merged model, of SAM, and of a CLIP of open_clip."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samclip_edge import data
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError, one_line
from samclip_edge.files import sha256
from samclip_edge.model import checkpoint, recognise
from samclip_edge.model.clip_vision import image_tower
from samclip_edge.model.files import is_safetensors
from samclip_edge.model.fit import load_exactly
from samclip_edge.model.image_encoder import ImageEncoder, image_encoder
from samclip_edge.model.layouts import as_open_clip, as_sam
from samclip_edge.model.open_clips import described
from samclip_edge.model.public import open_clip_file, open_clip_weights
from samclip_edge.train.probing.recipe import PATCH


class Backbone(nn.Module):
    """Turns images (B,3,S,S) RGB, 0..255, into patch features (B,D,h,w). Nothing of it learns."""

    def __init__(self, kind: str, module: nn.Module, file: Path, **facts: Any) -> None:
        """kind: "merged", "SAM" or "CLIP". file: of its weights. facts: what else decides its features."""
        super().__init__()
        self.kind, self.module, self.sha256 = kind, module, sha256(file)
        self.facts = {"kind": kind, "sha256": self.sha256, **facts}
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
    if not os.path.exists(path):
        if ":" not in name:
            raise InputError(
                f" {name}: no such file; give a merged checkpoint, SAM's file, or a CLIP as MODEL:FILE or MODEL:TAG",
                "backbone",
            )
        return _clip(name, size)
    if is_safetensors(path):
        try:
            return Backbone("merged", checkpoint.load(path)[0].image_encoder, path)
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
    return Backbone("SAM", encoder, path)


def _clip(name: str, size: int) -> Backbone:
    """See `backbone`."""
    from open_clip.model import resize_pos_embed

    model, _, weights = name.partition(":")
    state, quick = open_clip_weights(name, "backbone")
    clip = described(model, weights, "backbone")
    assert clip.vision is not None
    sized = clip.vision.model_copy(update={"tower": {**clip.vision.tower, "image_size": size}})
    tower = image_tower(sized, clip.features, quick)
    _check_patches(name, tower, size)
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
    facts = {"model": model, "mean": clip.vision.mean, "std": clip.vision.std, "quick_gelu": quick}
    return Backbone("CLIP", patches, open_clip_file(name, "backbone"), **facts)


def _check_patches(name: str, tower: nn.Module, size: int) -> None:
    """Raise InputError for a tower that is no transformer over patches, and where they do not divide `size`."""
    from open_clip.modified_resnet import ModifiedResNet

    if isinstance(tower, ModifiedResNet):
        raise InputError(
            f" {name}: is a ResNet, which has no patches; name a CLIP whose image tower is a ViT", "backbone"
        )
    embed = getattr(getattr(tower, "trunk", tower), "patch_embed", tower)  # of timm's
    patch = math.lcm(*(int(side) for side in getattr(embed, "patch_size", (1,))))
    if size % patch:
        every = math.lcm(patch, PATCH)
        fit = [str(each) for each in (size // every * every, (size // every + 1) * every) if each]
        told = f"its patches of {patch} pixels do not divide {size}; put size: {' or '.join(fit)} into the recipe"
        raise InputError(f" {name}: {told}", "backbone")
