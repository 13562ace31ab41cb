"""A small bundle of kind sam+clip, with weights that show errors, as the tests of the package make them."""

from __future__ import annotations

import sys
from pathlib import Path

import native
import open_clip

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint

sys.path.insert(0, str(native.ROOT / "tests"))
from support import TEMPLATES, spread  # of the package's own tests


def export(folder: Path) -> Path:
    """The bundle, exported with its test vectors."""
    vision = {"image_size": 64, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 2562, "width": 128, "heads": 4, "layers": 3}
    clip = open_clip.CLIP(embed_dim=128, vision_cfg=vision, text_cfg=text).eval()
    spread(clip, seed=8)
    own = ClipVisionSpec.vit(width=64, depth=2, heads=4, patch=16, size=64)
    spec = PRESETS["tiny"].model_copy(update={"name": "sam+clip", "clip_vision": own})
    model = checkpoint.build(spec)
    spread(model, seed=9)
    checkpoint.load_clip(model, clip.state_dict(), "open_clip")
    weights = checkpoint.save(model, folder / "two.safetensors", checkpoint.Origin(note="spread at random"))
    export_onnx(weights, folder / "bundle", [128], templates=TEMPLATES, vectors=True)
    return folder / "bundle"
