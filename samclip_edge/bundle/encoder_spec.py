"""The kinds of image encoder, as data. A kind is the name of its file in `samclip_edge/model/` and in `export/forms/`.

Whatever the kind, a spec has the `width` of the tokens, and `heads`, `mlp_ratio` and `grid` of the layers that a CLIP
head puts on top of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(gt=0)]


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


EncoderSpec = VitSpec
