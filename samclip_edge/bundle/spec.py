"""What a model is made of: every width, depth and size, as data that checkpoints and manifests carry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

PATCH = 16  # pixels along the side of a token
CHANNELS = 256  # of SAM's embedding and prompts
MASK_STRIDE = 4  # model pixels along the side of a low-res mask pixel
PIXEL_MEAN = (123.675, 116.28, 103.53)  # RGB, SAM's `Sam.pixel_mean`; also the padding colour
PIXEL_STD = (58.395, 57.12, 57.375)
CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)  # RGB, 0..255: open_clip's OPENAI_DATASET_MEAN
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)

Activation = Literal["gelu", "quick_gelu"]
Count = Annotated[int, Field(gt=0)]


class Frozen(BaseModel):
    """A value that cannot be changed and that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class EncoderSpec(Frozen):
    """The shared ViT: SAM's image encoder."""

    width: Count
    depth: Count
    heads: Count
    window: Count = 14
    global_layers: tuple[int, ...]
    mlp_ratio: float = 4.0
    grid: Count = 64  # side, in tokens, of the learned position table
    stem: Literal["patch", "convolutions"] = "patch"  # what makes tokens of pixels; SAM's is "patch"

    @model_validator(mode="after")
    def _divides(self) -> EncoderSpec:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not all(0 <= layer < self.depth for layer in self.global_layers):
            raise ValueError(f"global_layers {self.global_layers} name a layer past depth {self.depth}")
        return self


class DecoderSpec(Frozen):
    """SAM's two-way mask decoder."""

    depth: Count = 2
    heads: Count = 8
    mlp: Count = 2048


class ClipHeadSpec(Frozen):
    """The CLIP head of Sec. 4.1: transformer layers, max-pooling, LayerNorm, an MLP with two hidden layers."""

    depth: Count = 3
    hidden: Count = 768
    max_grid: Count = 32  # above this many tokens a side, tokens are averaged 2x2 first (Sec. 4.4)


class ClipVisionSpec(Frozen):
    """The image tower of a separate CLIP, for SAM + CLIP side by side: a ViT that sees photos at one size."""

    width: Count
    depth: Count
    heads: Count
    patch: Count = 16  # pixels along the side of its tokens
    size: Count = 224


class TextSpec(Frozen):
    """The text tower of OpenCLIP."""

    width: Count
    depth: Count
    heads: Count
    vocab: Annotated[int, Field(ge=514, le=49408)] = 49408  # CLIP's token ids; a smaller number keeps the commonest
    context: Annotated[int, Field(gt=0, le=77)] = 77
    activation: Activation = "gelu"  # in both towers of CLIP


class ModelSpec(Frozen):
    """A merged model: one image encoder, SAM's decoder, the CLIP head, and CLIP's text tower.

    With `clip_vision` it is SAM + CLIP side by side: a CLIP with an image tower of its own takes the CLIP head's place.
    """

    name: str
    encoder: EncoderSpec
    decoder: DecoderSpec = DecoderSpec()
    clip_head: ClipHeadSpec = ClipHeadSpec()
    clip_vision: ClipVisionSpec | None = None
    text: TextSpec
    features: Count  # E, the width of the text-image embedding
    sizes: tuple[int, ...]  # S, sides of the square inputs it is meant for

    @field_validator("sizes")
    @classmethod
    def _whole_tokens(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        for size in sizes:
            if size <= 0 or size % PATCH:
                raise ValueError(f"size {size} is not a positive multiple of {PATCH}")
        if not sizes or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"sizes {sizes} are not a rising list")
        return sizes

    @property
    def kind(self) -> Literal["merged", "sam+clip"]:
        """What a bundle of it is: the merged model, or two models side by side."""
        return "sam+clip" if self.clip_vision else "merged"

    def grid(self, size: int) -> int:
        """Tokens along a side at input size `size` (h = w = S / 16)."""
        return size // PATCH

    def feature_grid(self, size: int) -> int:
        """Patch features along a side at input size `size` (h' = w')."""
        grid = self.grid(size)
        return grid // 2 if grid > self.clip_head.max_grid else grid


PRESETS = {
    "vit_b": ModelSpec(
        name="vit_b",
        encoder=EncoderSpec(width=768, depth=12, heads=12, global_layers=(2, 5, 8, 11)),
        text=TextSpec(width=768, depth=12, heads=12),
        features=768,
        sizes=(224, 336, 448, 1024),
    ),
    # What the merged model is compared with: SAM ViT-B and OpenCLIP's ViT-B-16, unmerged.
    "sam+clip": ModelSpec(
        name="sam+clip",
        encoder=EncoderSpec(width=768, depth=12, heads=12, global_layers=(2, 5, 8, 11)),
        clip_vision=ClipVisionSpec(width=768, depth=12, heads=12),
        text=TextSpec(width=512, depth=12, heads=8),
        features=512,
        sizes=(1024,),
    ),
    "tiny": ModelSpec(
        name="tiny",
        encoder=EncoderSpec(
            width=128, depth=4, heads=4, window=4, global_layers=(1, 3), mlp_ratio=2.0, grid=16, stem="convolutions"
        ),
        decoder=DecoderSpec(mlp=256),
        clip_head=ClipHeadSpec(depth=3, hidden=128),
        text=TextSpec(width=128, depth=3, heads=4, vocab=2562),
        features=128,
        sizes=(128, 256),
    ),
}
