"""What a model is made of: every width, depth and size, as data that checkpoints and manifests carry."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, FiniteFloat, JsonValue, Tag, field_validator, model_validator

from samclip_edge.bundle.encoder_spec import Count, Deviation, EncoderSpec, Frozen
from samclip_edge.bundle.sizes import LARGEST, Size, grid, in_order, sides

CHANNELS = 256  # of SAM's embedding and prompts
PIXEL_MEAN = (123.675, 116.28, 103.53)  # RGB, SAM's `Sam.pixel_mean`; also the padding colour
PIXEL_STD = (58.395, 57.12, 57.375)
CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)  # RGB, 0..255: open_clip's OPENAI_DATASET_MEAN
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)

CLIP_VOCAB = 49408  # token ids of CLIP's tokenizer

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
Colour = tuple[FiniteFloat, FiniteFloat, FiniteFloat]  # RGB, 0..255


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


class ClassHeadSpec(Frozen):
    """A classifier as the CLIP head: the chances of its classes, times the features of their names; ImageNet's."""

    kind: Literal["classes"] = "classes"
    classes: Count = 1000
    hidden: Count = 1280
    max_grid: Count = 32  # above this many tokens a side, tokens are averaged 2x2 first


def _head(spec: Any) -> str:
    """The kind of a head's spec or of its data. Files that are older than the field hold the paper's."""
    return str(spec.get("kind", "layers") if isinstance(spec, dict) else getattr(spec, "kind", ""))


HeadSpec = Annotated[
    Annotated[ClipHeadSpec, Tag("layers")]
    | Annotated[AdaptorHeadSpec, Tag("adaptor")]
    | Annotated[ClassHeadSpec, Tag("classes")],
    Discriminator(_head),
]


class ClipVisionSpec(Frozen):
    """The image tower of a separate CLIP, for SAM + CLIP side by side: any that open_clip builds, and what it is shown.

    A photo is resized to `size`: "shortest" makes that its shorter side and cuts out the middle, "longest" its longer
    side and adds black, "squash" both of its sides.
    """

    tower: dict[str, JsonValue]  # what open_clip builds it from: the `vision_cfg` of the model's configuration
    size: Count = 224
    mean: Colour = CLIP_MEAN
    std: tuple[Deviation, Deviation, Deviation] = CLIP_STD
    resize: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"

    @classmethod
    def vit(cls, width: int, depth: int, heads: int, patch: int = 16, size: int = 224) -> ClipVisionSpec:
        """A ViT as OpenAI's CLIP has it, by its numbers."""
        tower: dict[str, JsonValue] = {"image_size": size, "layers": depth, "width": width, "patch_size": patch}
        if width // heads != 64:  # which open_clip takes where nothing is said
            tower["head_width"] = width // heads
        return cls(tower=tower, size=size)

    @model_validator(mode="before")
    @classmethod
    def _older(cls, fields: Any) -> Any:
        """What older files say: the numbers of a ViT, without a tower."""
        if not isinstance(fields, dict) or "tower" in fields:
            return fields
        if not all(isinstance(each, int) and each > 0 for each in fields.values()):
            raise ValueError("the numbers of its ViT are no positive whole numbers")
        try:
            return cls.vit(**fields).model_dump()
        except TypeError:
            raise ValueError("it has neither a tower nor the width, depth and heads of a ViT") from None

    @field_validator("tower")
    @classmethod
    def _fetches_nothing(cls, tower: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Nothing is fetched for a file: timm reads a name with a colon as an address."""
        if ":" in str(tower.get("timm_model_name", "")):
            raise ValueError(f"tower: {tower['timm_model_name']!r} is an address, not the name of a model of timm")
        layers = tower.get("layers")
        if isinstance(layers, int) and layers > 256:  # which would be built before the weights are compared
            raise ValueError(f"tower: {layers} layers are more than any CLIP has")
        return {**tower, "timm_model_pretrained": False} if "timm_model_name" in tower else tower


class TextSpec(Frozen):
    """The text tower of OpenCLIP."""

    width: Count
    depth: Count
    heads: Count
    vocab: Annotated[int, Field(ge=514)] = 49408  # token ids; of CLIP's tokenizer a smaller number keeps the commonest
    context: Annotated[int, Field(gt=0, le=512)] = 77
    activation: Activation = "gelu"  # "quick_gelu" holds for the image tower of the same CLIP too
    mlp: Count | None = None  # width inside a layer's MLP; None: four times the width
    eps: Annotated[float, Field(gt=0)] = 1e-5  # of LayerNorm
    causal: bool = True  # whether a token attends to those before it only
    pool: Literal["end", "last"] = "end"  # which token becomes the feature: the end of text, or the last of the context
    end: Annotated[int, Field(ge=0)] | None = None  # the token id of the end of text; None: the last of `vocab`
    projection: Literal["matrix", "linear", "none"] = "matrix"  # from `width` to features: "linear" has a bias
    sigmoid: bool = False  # trained by a sigmoid of each pair, with a bias (SigLIP), not by a softmax over a batch
    # "clip": CLIP's byte pairs, which every runtime of this project can read. "own": another, in a `tokenizer.json`.
    tokenizer: Literal["clip", "own"] = "clip"
    # What happens to a text before it is tokenized: open_clip's cleaning functions of these names.
    clean: Literal["lower", "canonicalize", "whitespace"] = "lower"

    @model_validator(mode="after")
    def _fits(self) -> TextSpec:
        if self.tokenizer == "clip" and self.vocab > CLIP_VOCAB:
            raise ValueError(f"vocab {self.vocab} is more than the {CLIP_VOCAB} of CLIP's tokenizer")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.end is not None and self.end >= self.vocab:
            raise ValueError(f"end {self.end} is not below vocab {self.vocab}")
        return self

    @property
    def end_of_text(self) -> int:
        """The token id that ends a text."""
        return self.vocab - 1 if self.end is None else self.end

    @property
    def filled(self) -> bool:
        """Whether texts must be filled up to the context, because what stands after their end changes the feature."""
        return not self.causal or self.pool == "last"


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
    guidance: Annotated[int, Field(ge=0)] = 0  # hidden channels that draw a prompt into `dense` (`model/guidance.py`)
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
