"""What Python reads of a bundle, as the native code writes what it read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from samclip_edge import SamClip
from samclip_edge.bundle.contract import fixed_sides, signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import File, Graph, Manifest
from samclip_edge.bundle.sizes import sides
from samclip_edge.errors import InputError


def entry(file: File | None) -> list[Any] | None:
    return file and [file.path, file.sha256, file.bytes]


def shown_graph(manifest: Manifest, graph: Graph) -> dict[str, Any]:
    contract = signature(manifest.spec, graph.name, graph.size)
    tensors = [
        [[t.name, t.dtype == "int32", list(t.shape)] for t in each]
        for each in (graph.signature.inputs, graph.signature.outputs)
    ]
    asked = [side for tensor in contract.inputs + contract.outputs for side in tensor.shape]
    stands = [side for tensor in graph.signature.inputs + graph.signature.outputs for side in tensor.shape]
    return {
        "name": graph.name,
        "size": graph.size and list(sides(graph.size)),
        "files": [entry(each) for each in graph.files],
        "engine": entry(graph.built_engine),
        "function": graph.function,
        "points": graph.points,
        "inputs": tensors[0],
        "outputs": tensors[1],
        "fixed": fixed_sides(graph.signature, contract),
        "own_masks": ("M", "B") in zip(asked, stands, strict=True),
    }


def shown(manifest: Manifest) -> dict[str, Any]:
    """What Python reads, as the probe writes it."""
    text, vision, calibration = manifest.spec.text, manifest.spec.clip_vision, manifest.calibration
    model = SimpleNamespace(bundle=SimpleNamespace(manifest=manifest), sizes=manifest.sizes)
    cleaning = ("lower", "canonicalize", "whitespace").index(text.clean)
    return {
        "format": manifest.format,
        "two": manifest.kind == "sam+clip",
        "target": manifest.target,
        "precision": manifest.precision,
        "sizes": [list(sides(size)) for size in manifest.sizes],
        "trained": manifest.trained,
        "trained_at": [list(sides(size)) for size in manifest.trained_at or ()],
        "features": manifest.spec.features,
        "guidance": manifest.spec.guidance,
        "max_grid": manifest.spec.clip_head.max_grid,
        "text": [text.vocab, text.context, text.end_of_text, text.filled, text.tokenizer == "clip", cleaning],
        "clip_vision": vision
        and [
            vision.size,
            ("shortest", "longest", "squash").index(vision.resize),
            vision.interpolation == "bicubic",
        ],
        "graphs": [shown_graph(manifest, graph) for graph in manifest.graphs],
        "templates": entry(manifest.text.templates),
        "logit_scale": manifest.text.logit_scale,
        "logit_bias": manifest.text.logit_bias,
        "tokenizer": entry(manifest.text.tokenizer),
        "names": entry(manifest.text.names),
        "names_features": entry(manifest.text.features),
        "calibration": calibration
        and [
            entry(calibration.names),
            entry(calibration.features),
            calibration.same,
            [
                [list(sides(each.size)), *([x.slope, x.offset] for x in (each.patches, each.mask, each.photo))]
                for each in calibration.sizes
            ],
        ],
        "dynamic": manifest.dynamic,
        "names_size": list(sides(SamClip.names_size.fget(model))),  # type: ignore[attr-defined]
    }


def python_answer(folder: str | Path) -> dict[str, Any]:
    try:
        opened = Bundle.open(folder)
    except InputError as error:
        return {"status": 1, "error": str(error)}
    return {"given": str(folder), "manifest": shown(opened.manifest)}
