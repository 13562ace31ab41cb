"""Exports the systems that `bench` compares, unless they are in the folder already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from samclip_edge.benchmarks.scenarios import WORDS
from samclip_edge.bundle.manifest import MANIFEST, Precision, Target
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.export.options import LiteRTOptions
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.export.targets.tensorrt import export_tensorrt
from samclip_edge.export.targets.tracing import quiet
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel, random_init
from samclip_edge.progress import Progress, silent

TEMPLATES = ("a photo of a {}.",)  # one: with CLIP's eighty, reading names took longer than the rest of an export
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def random_bundle(
    model: str | ModelSpec,
    folder: Path,
    precision: Precision = "fp32",
    sizes: Sequence[Size] | None = None,
    progress: Progress = silent,
    target: Target = "onnx",
) -> Path:
    """Export a bundle with random weights and a vocabulary of `WORDS`. Time and memory do not depend on the weights.

    model: a preset's name, or a spec. target: onnx, tensorrt or litert, whose prompts have two points. The layers of
    the CLIP head differ from each other, as in a trained one. A bundle that is in the folder already is kept. Returns
    the folder.
    """
    if not (folder / MANIFEST).is_file():
        path = folder.with_name(f"{folder.name}.safetensors")
        try:
            random_checkpoint(model, path)
            given: dict[str, Any] = {"progress": progress, "precision": precision, "templates": TEMPLATES}
            if target == "litert":
                from samclip_edge.export.targets.litert import export_litert  # an extra of its own

                export_litert(path, folder, sizes, WORDS, options=LiteRTOptions(points=2), **given)
            else:
                export = export_tensorrt if target == "tensorrt" else export_onnx
                export(path, folder, sizes, WORDS, **given)
        finally:
            path.unlink(missing_ok=True)
    return folder


def random_checkpoint(model: str | ModelSpec, path: Path) -> None:
    """Write a checkpoint of random weights, always the same. The file is what is left of the model in memory."""
    made = MergedModel(PRESETS[model] if isinstance(model, str) else model)
    random_init(made, seed=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(made, path, checkpoint.Origin(note="random, to be measured"))


def naive_encoder(path: Path) -> Path | None:
    """Export SAM ViT-B's encoder by `torch.onnx.export` alone, unless `path` exists. Returns the path of the ONNX file.

    Returns None if segment_anything is not installed.
    """
    try:
        from segment_anything import sam_model_registry
    except ImportError:
        return None
    if not path.is_file():
        partial = path.parent.with_name(f".{path.parent.name}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        encoder = sam_model_registry["vit_b"]().image_encoder.eval()
        image = torch.zeros(1, 3, encoder.img_size, encoder.img_size)
        with torch.inference_mode(), quiet():
            torch.onnx.export(encoder, (image,), partial / path.name, verbose=False)
        partial.rename(path.parent)
    return path
