"""What a model is made of: every width, depth and size, as data that checkpoints and manifests carry."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from samclip_edge.bundle.encoder_spec import Count, EncoderSpec, Frozen
from samclip_edge.bundle.sizes import LARGEST, Size, grid, in_order, sides

CHANNELS = 256  # of SAM's embedding and prompts
PIXEL_MEAN = (123.675, 116.28, 103.53)  # RGB, SAM's `Sam.pixel_mean`; also the padding colour
PIXEL_STD = (58.395, 57.12, 57.375)
CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)  # RGB, 0..255: open_clip's OPENAI_DATASET_MEAN
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)

Activation = Literal["gelu", "quick_gelu"]


class DecoderSpec(Frozen):
    """SAM's two-way mask decoder."""

    depth: Count = 2
    heads: Count = 8
    mlp: Count = 2048


class ClipHeadSpec(Frozen):
    """The CLIP head of Sec. 4.1: transformer layers, max-pooling, LayerNorm, an MLP with two hidden layers."""

    kind: Literal["layers"] = "layers"
    depth: Count = 3
    hidden: Count = 768
    max_grid: Count = 32  # above this many tokens a side, tokens are averaged 2x2 first (Sec. 4.4)


class AdaptorHeadSpec(Frozen):
    """The text adaptor of C-RADIO as the CLIP head: one MLP for the summary of the photo and for each patch."""

    kind: Literal["adaptor"] = "adaptor"
    hidden: Count = 2560
    blocks: Annotated[int, Field(ge=0)] = 3  # residual ones
    max_grid: Count = 32  # above this many tokens a side, patches are averaged 2x2 first


def _head(spec: Any) -> str:
    """The kind of a head's spec or of its data. Files that are older than the field hold the paper's."""
    return str(spec.get("kind", "layers") if isinstance(spec, dict) else getattr(spec, "kind", ""))


HeadSpec = Annotated[
    Annotated[ClipHeadSpec, Tag("layers")] | Annotated[AdaptorHeadSpec, Tag("adaptor")],
    Discriminator(_head),
]


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
    clip_head: HeadSpec = ClipHeadSpec()
    clip_vision: ClipVisionSpec | None = None
    text: TextSpec
    features: Count  # E, the width of the text-image embedding
    sizes: tuple[Size, ...]  # the input sizes that it is meant for

    @field_validator("sizes")
    @classmethod
    def _rising(cls, sizes: tuple[Size, ...]) -> tuple[Size, ...]:
        if not sizes or list(sizes) != sorted(set(sizes), key=in_order):
            raise ValueError(f"sizes {sizes} are not a rising list")
        return sizes

    @property
    def kind(self) -> Literal["merged", "sam+clip"]:
        """What a bundle of it is: the merged model, or two models side by side."""
        return "sam+clip" if self.clip_vision else "merged"

    @property
    def squares(self) -> tuple[int, ...]:
        """S of the `sizes` that are squares, at which models are trained."""
        return tuple(size for size in self.sizes if isinstance(size, int))

    def feature_grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of patch features (h',w') at an input size: those of the tokens up to 32, else half."""
        rows, columns = grid(size)
        halved = max(rows, columns) > self.clip_head.max_grid
        return (-(-rows // 2), -(-columns // 2)) if halved else (rows, columns)

    @property
    def least(self) -> int:
        """The shortest side of an input that it may be exported for: 224, or 64 where it is made for less than that."""
        return 224 if min(sides(self.sizes[0])) >= 224 else 64

    def takes(self, size: Size) -> bool:
        """Whether it may be exported at an input size: both sides between `least` and 1024."""
        return all(self.least <= side <= LARGEST for side in sides(size))
