"""The kinds of image encoder, as data. A kind is the name of its file in `samclip_edge/model/` and in `export/forms/`.

Whatever the kind, a spec has the `width` of the tokens, and `heads`, `mlp_ratio` and `grid` of the layers that a CLIP
head puts on top of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, FiniteFloat, Tag, model_validator

Count = Annotated[int, Field(gt=0)]
Deviation = Annotated[FiniteFloat, Field(gt=0)]


class Frozen(BaseModel):
    """A value that cannot be changed and that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class VitSpec(Frozen):
    """SAM's own image encoder: a ViT with windows."""

    kind: Literal["vit"] = "vit"
    width: Count
    depth: Count
    heads: Count
    window: Count = 14
    global_layers: tuple[int, ...]
    mlp_ratio: float = 4.0
    grid: Count = 64  # side, in tokens, of the learned position table
    stem: Literal["patch", "convolutions"] = "patch"  # what makes tokens of pixels; SAM's is "patch"

    @model_validator(mode="after")
    def _divides(self) -> VitSpec:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not all(0 <= layer < self.depth for layer in self.global_layers):
            raise ValueError(f"global_layers {self.global_layers} name a layer past depth {self.depth}")
        return self


class TinyVitSpec(Frozen):
    """MobileSAM's image encoder: TinyViT (arXiv 2207.10666), of four stages; these are those of its 5M.

    The first stage is of convolutions. Each of the other three attends within windows.
    """

    kind: Literal["tiny_vit"] = "tiny_vit"
    widths: tuple[Count, Count, Count, Count] = (64, 128, 160, 320)
    depths: tuple[Count, Count, Count, Count] = (2, 2, 6, 2)
    stage_heads: tuple[Count, Count, Count] = (4, 5, 10)
    windows: tuple[Count, Count, Count] = (7, 14, 7)
    mlp_ratio: float = 4.0
    grid: Count = 32  # side, in tokens, of the position tables of the CLIP head

    @property
    def width(self) -> int:
        """The channels of the tokens."""
        return self.widths[-1]

    @property
    def heads(self) -> int:
        """The heads of a layer of the CLIP head: as many as the last stage has."""
        return self.stage_heads[-1]

    @model_validator(mode="after")
    def _divides(self) -> TinyVitSpec:
        for width, heads in zip(self.widths[1:], self.stage_heads, strict=True):
            if width % heads:
                raise ValueError(f"width {width} is not a multiple of heads {heads}")
        if self.widths[0] % 2:
            raise ValueError(f"width {self.widths[0]} is not even")
        return self


class AdaptorSpec(Frozen):
    """An adaptor of C-RADIO: a linear layer, `blocks` residual ones, and a last one that makes `out` features."""

    hidden: Count = 2560
    blocks: Annotated[int, Field(ge=0)] = 3
    out: Count


class RadioSpec(Frozen):
    """C-RADIO's image encoder: a plain ViT (`trunk` wide), and an adaptor that makes SAM's features of its patches."""

    kind: Literal["radio"] = "radio"
    trunk: Count = 768
    depth: Count = 12
    heads: Count = 12
    mlp_ratio: float = 4.0
    grid: Count = 128  # side, in tokens, of the learned position table
    prefix: Count = 8  # cls and register tokens, which stand before the patches
    summary: Annotated[int, Field(ge=0)] = 0  # which of them is the summary for the text adaptor
    sam: AdaptorSpec = AdaptorSpec(out=1280)  # SAM ViT-H's neck reads 1280 channels
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] | None = None  # of pixels, RGB, 0..255; None: CLIP's
    std: tuple[Deviation, Deviation, Deviation] | None = None

    @property
    def width(self) -> int:
        """The channels of the tokens: those of a patch, and after them the summary of the photo."""
        return 2 * self.trunk

    @model_validator(mode="after")
    def _fits(self) -> RadioSpec:
        if self.trunk % self.heads:
            raise ValueError(f"trunk {self.trunk} is not a multiple of heads {self.heads}")
        if self.summary >= self.prefix:
            raise ValueError(f"summary {self.summary} is none of {self.prefix} prefix tokens")
        return self


class EfficientNetLiteSpec(Frozen):
    """EfficientNet-Lite as the image encoder: seven stages of convolutions; these are Lite0's.

    Tokens are its last map, the fifth's, and what two convolutions make of the finer maps of the third and the second.
    """

    kind: Literal["efficientnet_lite"] = "efficientnet_lite"
    stem: Count = 32
    widths: tuple[Count, Count, Count, Count, Count, Count, Count] = (16, 24, 40, 80, 112, 192, 320)
    depths: tuple[Count, Count, Count, Count, Count, Count, Count] = (1, 2, 2, 3, 3, 4, 1)
    lateral: tuple[Count, Count] = (80, 64)  # channels of the tokens that come of the third and of the second stage
    heads: Count = 8  # of a layer of the paper's CLIP head, as the next two are
    mlp_ratio: float = 2.0
    grid: Count = 24

    @property
    def width(self) -> int:
        """The channels of the tokens."""
        return self.widths[6] + self.widths[4] + sum(self.lateral)

    @model_validator(mode="after")
    def _divides(self) -> EfficientNetLiteSpec:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} of the tokens is not a multiple of heads {self.heads}")
        return self


def _kind(spec: Any) -> str:
    """The kind of a spec or of its data. Files that are older than the field hold SAM's."""
    return str(spec.get("kind", "vit") if isinstance(spec, dict) else getattr(spec, "kind", ""))


EncoderSpec = Annotated[
    Annotated[VitSpec, Tag("vit")]
    | Annotated[TinyVitSpec, Tag("tiny_vit")]
    | Annotated[RadioSpec, Tag("radio")]
    | Annotated[EfficientNetLiteSpec, Tag("efficientnet_lite")],
    Discriminator(_kind),
]
