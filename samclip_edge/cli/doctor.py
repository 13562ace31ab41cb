"""`samclip-edge doctor`: what this machine can do with the tool, and what to install for the rest."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from typing import Any

from samclip_edge import __version__
from samclip_edge.cli.common import Json, emit, table

_OPENCV, _ONNX_RUNTIME = "opencv", "onnxruntime"  # which come in several flavours: any of them will do
_BROKEN = "does not load"
_NEEDS = {
    "run": ("numpy", "pillow", _ONNX_RUNTIME, "tokenizers", "pydantic"),
    "export": ("torch", "onnx", "onnxscript", "open_clip_torch", "pycocotools", "safetensors", _OPENCV),
    "coreml": ("torch", "onnx", "onnxscript", "safetensors", "coremltools", "scikit-learn", "pillow"),
    "litert": ("torch", "ai-edge-litert", "ai-edge-quantizer", "litert-torch"),
    "tensorrt": ("cuda-bindings", "tensorrt-rtx-cu13-bindings"),
    "train": ("torch", "accelerate", "pyyaml", "tensorboard", "matplotlib", "open_clip_torch", _OPENCV),
    "bench": ("torch", "onnx", "onnxscript", "open_clip_torch", "pycocotools", "safetensors", "matplotlib", _OPENCV),
}


def run(json: Json = False) -> None:
    """Say what is installed, which verbs work here, and what to install for the others."""
    from samclip_edge.bundle import jetpack

    have = _packages()
    abilities = {}
    for ability, names in _NEEDS.items():
        missing = [name for name in names if not _works(have[name]) and not _stands_for(name)]
        mend = f"pip install 'samclip-edge[{ability}]'" if ability != "run" else "pip install samclip-edge"
        abilities[ability] = f"needs {', '.join(missing)}: {mend}" if missing else "ready"
    machine: dict[str, Any] = {
        "samclip-edge": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "engines": _engines(),
        "devices": _devices(),
        "photos": _photos(),
        "cache": _cache(),
    }
    jetson = jetpack.told()
    if jetson is not None:
        machine["jetson"] = jetson
    shown = machine | {name: ", ".join(machine[name]) for name in ("engines", "devices", "photos")}
    rows = [*shown.items(), *abilities.items(), *((name, found or "not installed") for name, found in have.items())]
    document = {"machine": machine, "abilities": abilities, "packages": have}
    emit(document, json, lambda: table(("what", "found"), [(name, str(found)) for name, found in rows]))


def _packages() -> dict[str, str | None]:
    """Each package that a verb needs: its version, and where it comes in flavours, which; None where it is missing."""
    have = {name: _version(name) for names in _NEEDS.values() for name in names}
    bringers = packages_distributions()  # by the module that a distribution brings, whatever its own name is
    have[_OPENCV] = _opencv(sorted(set(bringers.get("cv2", []))))
    flavours = sorted(set(bringers.get(_ONNX_RUNTIME, [])) - {_ONNX_RUNTIME})
    if flavours:
        both = have[_ONNX_RUNTIME] is not None
        have[_ONNX_RUNTIME] = _flavours([_ONNX_RUNTIME, *flavours] if both else flavours)
    return have


def _flavours(distributions: list[str]) -> str:
    """The distributions that bring one module: one, unless one was installed over another."""
    told = " and ".join(f"{each} {version(each)}" for each in distributions)
    return f"{told}, one over the other: keep one" if len(distributions) > 1 else told


def _opencv(distributions: list[str]) -> str | None:
    """OpenCV of whichever flavour: a wheel's, or the system's, such as JetPack's, which no distribution records.

    The version is cv2's own. It is imported in another process, because one that was built for numpy 1 fails in many
    ways under numpy 2, and prints pages.
    """
    if not distributions and find_spec("cv2") is None:
        return None
    command = [sys.executable, "-c", "import cv2; print(cv2.__version__)"]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=60, cwd=sys.prefix, check=False
        )
        failed, said = ran.returncode != 0, (ran.stderr if ran.returncode else ran.stdout).strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, said = True, str(error)
    last = said.splitlines()[-1] if said else "it ends without a word"
    brought = _flavours(distributions) if distributions else "of the system: no package records it"
    return f"{_BROKEN} ({last}; {brought})" if failed else f"{last} ({brought})"


def _works(found: str | None) -> bool:
    return found is not None and not found.startswith(_BROKEN)


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

    engines = [f"onnxruntime {provider}" for provider in _providers()]
    if on_a_mac() and _version("coremltools"):
        engines.append("coreml")
    if _version("ai-edge-litert"):
        engines.append("litert")
    for name in ("tensorrt", "tensorrt-rtx-cu13-bindings"):
        if _version(name):
            engines.append(f"{name.removesuffix('-cu13-bindings')} ({gpus()} GPUs)")
    return engines


def _providers() -> list[str]:
    """The execution providers that are here: of ONNX Runtime's build, and of installed plugins."""
    try:
        from samclip_edge.runtimes.providers import available
    except Exception:  # no ONNX Runtime, or one that does not load; the list of packages shows which
        return []
    return available()


def _devices() -> list[str]:
    """What `--device` takes here. Whether one starts, only running it says."""
    from samclip_edge.bundle.device import KNOWN

    have = set(_providers())
    return [name for name, known in KNOWN.items() if known.providers[0].name in have]


def _photos() -> list[str]:
    """The photo formats of phones that are read here, beside those that every Pillow reads."""
    try:
        from PIL import features
    except ImportError:
        return []
    known = find_spec("PIL.AvifImagePlugin") is not None  # before 11.3 Pillow warns of what it does not know
    avif = ["avif"] if known and features.check("avif") else []
    return avif + (["heic"] if find_spec("pillow_heif") is not None else [])


def _cache() -> str:
    """Where things are kept that come out the same each time, and how large that is."""
    from samclip_edge.cache import VARIABLE, folder, size

    place = folder()
    return f"off ({VARIABLE})" if place is None else f"{place}, {size() / 1e6:.1f} MB"
