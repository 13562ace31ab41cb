"""The models that have a name: each base with its sizes, its decoder, and the text tower that it is trained beside."""

from __future__ import annotations

from samclip_edge.bundle.encoder_spec import RadioSpec, TinyVitSpec, VitSpec
from samclip_edge.bundle.spec import AdaptorHeadSpec, ClipHeadSpec, ClipVisionSpec, DecoderSpec, ModelSpec, TextSpec

PRESETS = {
    "vit_b": ModelSpec(
        name="vit_b",
        encoder=VitSpec(width=768, depth=12, heads=12, global_layers=(2, 5, 8, 11)),
        text=TextSpec(width=768, depth=12, heads=12),
        features=768,
        sizes=(224, 336, 448, 1024),
    ),
    "vit_l": ModelSpec(
        name="vit_l",
        encoder=VitSpec(width=1024, depth=24, heads=16, global_layers=(5, 11, 17, 23)),
        text=TextSpec(width=768, depth=12, heads=12),
        features=768,
        sizes=(224, 336, 448, 1024),
    ),
    "vit_h": ModelSpec(
        name="vit_h",
        encoder=VitSpec(width=1280, depth=32, heads=16, global_layers=(7, 15, 23, 31)),
        text=TextSpec(width=768, depth=12, heads=12),
        features=768,
        sizes=(224, 336, 448, 1024),
    ),
    # MobileSAM's TinyViT-5M, beside the text tower of OpenCLIP's ViT-B-16.
    "mobile": ModelSpec(
        name="mobile",
        encoder=TinyVitSpec(),
        clip_head=ClipHeadSpec(hidden=512),
        text=TextSpec(width=512, depth=12, heads=8),
        features=512,
        sizes=(224, 448, 512, 1024),
    ),
    # C-RADIOv3-B, beside the text tower of DFN's ViT-H-14, one of the models that it was taught by.
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
        encoder=VitSpec(width=768, depth=12, heads=12, global_layers=(2, 5, 8, 11)),
        clip_vision=ClipVisionSpec.vit(width=768, depth=12, heads=12),
        text=TextSpec(width=512, depth=12, heads=8),
        features=512,
        sizes=(1024,),
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
