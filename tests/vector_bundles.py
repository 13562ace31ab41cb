"""Bundles with test vectors of the whole pipeline, by which runtimes in other languages are held to Python's answers.

`make` writes them to build/vectors, a folder for each kind, once for all of those runtimes:

    python tests/vector_bundles.py FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import open_clip
from support import TEMPLATES, spread

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint

WORDS = "white hexagon\nblue square\nred arrow\ngreen ring\nyellow heart\ncaf\u00e9\n"
KINDS = ("photo", "tiny-fp32", "tiny-fp16", "tiny-int8", "tiny-words", "tiny-static", "tiny-litert", "sam+clip")


def export(kind: str, bundle: Path) -> None:
    """Write a bundle of a kind."""
    if kind == "sam+clip":
        export_two_models(bundle)
        return
    model, *rest = kind.split("-")
    options = ["--model", model]
    for word in rest:
        if word == "words":
            words = bundle.with_suffix(".txt")
            words.write_text(WORDS, "utf-8")
            options += ["--vocabulary", str(words)]
        else:
            options += {"static": ["--static"], "litert": ["--target", word, "--size", "128"]}.get(
                word, ["--precision", word]
            )
    command = [sys.executable, "-m", "samclip_edge.cli", "export", *options, "--test-vectors", "-o", str(bundle)]
    subprocess.run(command, check=True)


def export_two_models(bundle: Path) -> None:
    """Write a small bundle of kind sam+clip, with weights that show errors, as the tests of the package make them."""
    vision = {"image_size": 64, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 2562, "width": 128, "heads": 4, "layers": 3}
    clip = open_clip.CLIP(embed_dim=128, vision_cfg=vision, text_cfg=text).eval()
    spread(clip, seed=8)
    own = ClipVisionSpec.vit(width=64, depth=2, heads=4, patch=16, size=64)
    spec = PRESETS["tiny"].model_copy(update={"name": "sam+clip", "clip_vision": own})
    model = checkpoint.build(spec)
    spread(model, seed=9)
    checkpoint.load_clip(model, clip.state_dict(), "open_clip")
    path = bundle.with_suffix(".safetensors")
    weights = checkpoint.save(model, path, checkpoint.Origin(note="spread at random"))
    export_onnx(weights, bundle, [128], templates=TEMPLATES, vectors=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for kind in KINDS:
        export(kind, folder / kind)
