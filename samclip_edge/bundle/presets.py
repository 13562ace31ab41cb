"""The models that have a name: each base with its sizes, its decoder, and the text tower that it is trained beside."""

from __future__ import annotations

from samclip_edge.bundle.encoder_spec import EfficientNetLiteSpec, RadioSpec, TinyVitSpec, VitSpec
from samclip_edge.bundle.spec import (
    AdaptorHeadSpec,
    ClassHeadSpec,
    ClipHeadSpec,
    ClipVisionSpec,
    DecoderSpec,
    ModelSpec,
    TextSpec,
)


def _of_sam(name: str, width: int, depth: int, heads: int) -> ModelSpec:
    """A ViT of SAM, whose four global layers end the quarters of it, beside the text tower of OpenCLIP's ViT-L-14."""
    step = depth // 4
    return ModelSpec(
        name=name,
        encoder=VitSpec(width=width, depth=depth, heads=heads, global_layers=tuple(range(step - 1, depth, step))),
        text=TextSpec(width=768, depth=12, heads=12),
        features=768,
        sizes=(224, 336, 448, 1024),
    )


_VIT_B = _of_sam("vit_b", 768, 12, 12)

PRESETS = {
    "vit_b": _VIT_B,
    "vit_l": _of_sam("vit_l", 1024, 24, 16),
    "vit_h": _of_sam("vit_h", 1280, 32, 16),
    # MobileSAM's TinyViT-5M, beside the text tower of OpenCLIP's ViT-B-16.
    "mobile": ModelSpec(
        name="mobile",
        encoder=TinyVitSpec(),
        clip_head=ClipHeadSpec(hidden=512),
        text=TextSpec(width=512, depth=12, heads=8),
        features=512,
        sizes=(224, 448, 512, 1024),
    ),
    # C-RADIOv3-B, beside the text tower of DFN's ViT-H-14-378, one of the models that it was taught by.
    "radio": ModelSpec(
        name="radio",
        encoder=RadioSpec(),
        clip_head=AdaptorHeadSpec(),
        text=TextSpec(width=1024, depth=24, heads=16, activation="quick_gelu"),
        features=1024,
        sizes=(224, 448, 512, 1024),
    ),
    # What the merged model is compared with: SAM ViT-B and OpenCLIP's ViT-B-16, unmerged.
    "sam+clip": ModelSpec(
        name="sam+clip",
        encoder=_VIT_B.encoder,
        clip_vision=ClipVisionSpec.vit(width=768, depth=12, heads=12),
        text=TextSpec(width=512, depth=12, heads=8),
        features=512,
        sizes=(1024,),
    ),
    # EfficientNet-Lite0 and its classifier, beside a text tower as wide as MiniLM's features, which teach it.
    "photo": ModelSpec(
        name="photo",
        encoder=EfficientNetLiteSpec(),
        decoder=DecoderSpec(mlp=256),
        clip_head=ClassHeadSpec(),
        text=TextSpec(width=192, depth=4, heads=4, vocab=4098),
        features=384,
        guidance=64,
        sizes=(256, 384),
    ),
    "tiny": ModelSpec(
        name="tiny",
        encoder=VitSpec(
            width=128, depth=4, heads=4, window=4, global_layers=(1, 3), mlp_ratio=2.0, grid=16, stem="convolutions"
        ),
        decoder=DecoderSpec(mlp=256),
        clip_head=ClipHeadSpec(depth=3, hidden=128),
        text=TextSpec(width=128, depth=3, heads=4, vocab=2562),
        features=128,
        sizes=(128, 256),
    ),
}
