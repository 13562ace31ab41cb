"""`samclip-edge doctor`: what this machine can do with the tool, and what to install for the rest."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from samclip_edge import __version__
from samclip_edge.cli.common import Json, emit, table

_NEEDS = {
    "run": ("numpy", "opencv-python-headless", "onnxruntime", "tokenizers", "pydantic"),
    "export": ("torch", "onnx", "onnxscript", "pycocotools", "safetensors"),
    "coreml": ("torch", "onnx", "onnxscript", "safetensors", "coremltools", "scikit-learn", "pillow"),
    "tensorrt": ("cuda-bindings", "tensorrt-rtx-cu13-bindings"),
    "train": ("torch", "accelerate", "pyyaml", "tensorboard", "matplotlib", "open_clip_torch"),
    "bench": ("torch", "onnx", "onnxscript", "pycocotools", "safetensors", "matplotlib"),
}


def run(json: Json = False) -> None:
    """Say what is installed, which verbs work here, and what to install for the others."""
    have = {name: _version(name) for names in _NEEDS.values() for name in names}
    abilities = {}
    for ability, names in _NEEDS.items():
        missing = [name for name in names if have[name] is None and not _stands_for(name)]
        mend = f"pip install 'samclip-edge[{ability}]'" if ability != "run" else "pip install samclip-edge"
        abilities[ability] = f"needs {', '.join(missing)}: {mend}" if missing else "ready"
    machine: dict[str, Any] = {
        "samclip-edge": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "engines": _engines(),
    }
    shown = machine | {"engines": ", ".join(machine["engines"])}
    rows = [*shown.items(), *abilities.items(), *((name, found or "not installed") for name, found in have.items())]
    document = {"machine": machine, "abilities": abilities, "packages": have}
    emit(document, json, lambda: table(("what", "found"), [(name, str(found)) for name, found in rows]))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _stands_for(name: str) -> bool:
    """Whether something else is there in a package's place: TensorRT itself, which comes with JetPack."""
    return name == "tensorrt-rtx-cu13-bindings" and _version("tensorrt") is not None


def _engines() -> list[str]:
    from samclip_edge.bundle.machine import gpus, on_a_mac

    try:
        import onnxruntime
    except ImportError:
        return []
    engines = [f"onnxruntime {provider}" for provider in onnxruntime.get_available_providers()]
    if on_a_mac() and _version("coremltools"):
        engines.append("coreml")
    for name in ("tensorrt", "tensorrt-rtx-cu13-bindings"):
        if _version(name):
            engines.append(f"{name.removesuffix('-cu13-bindings')} ({gpus()} GPUs)")
    return engines
