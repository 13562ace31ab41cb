"""The machine and the bundle of a report: facts that anybody may see, without a user, a host or a path."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.sessions import runs_here
from samclip_edge.errors import InputError
from samclip_edge.files import sha256

# What decides how fast products are, by the name that Linux (x86-64, ARM) or macOS gives it.
_INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
    "asimd": "NEON",
    "asimdhp": "NEON fp16",
    "asimddp": "dot product",
    "i8mm": "i8mm",
    "sve": "SVE",
    "hw.optional.avx2_0": "AVX2",
    "hw.optional.avx512f": "AVX-512",
    "hw.optional.avx512vnni": "VNNI",
    "hw.optional.AdvSIMD": "NEON",
    "hw.optional.arm.FEAT_FP16": "NEON fp16",
    "hw.optional.arm.FEAT_DotProd": "dot product",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
}
CPUS, CPUINFO = "/sys/devices/system/cpu", "/proc/cpuinfo"


def measurable(folder: Path) -> Bundle:
    """A bundle that this machine has the engine for. Raises InputError for any other."""
    bundle = Bundle.open(folder)
    if not runs_here(bundle):
        where = {"coreml": "Core ML, which runs on a Mac", "tensorrt": "TensorRT, and needs engines and their GPU"}
        told = where[bundle.manifest.target]
        raise InputError(f"{folder}: is for {told}; measure it there, or a bundle for target onnx here")
    return bundle


def machine(threads: int, bundle: Bundle) -> dict[str, Any]:
    """The machine that measured, and the engine that ran the bundle."""
    built = bundle.manifest.built_engines
    engine = {"onnx": f"ONNX Runtime {onnxruntime.__version__}", "coreml": f"Core ML of macOS {platform.mac_ver()[0]}"}
    if bundle.manifest.target == "litert":
        engine["litert"] = f"LiteRT {version('ai-edge-litert')}"
    if built is not None:
        engine["tensorrt"] = f"{built.builder} {built.version} on a GPU of {', '.join(built.capabilities)}"
    told, apple = _cpuinfo(), _sysctl()
    total = [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    memory = total[0] if total else int(apple.get("hw.memsize", 0))
    flags = {*told.get("flags", told.get("Features", "")).split(), *(name for name, has in apple.items() if has == "1")}
    names = [_board(), told.get("model name"), apple.get("machdep.cpu.brand_string"), platform.processor()]
    return {
        "processor": next(filter(None, names), platform.machine()),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(memory / 1e9, 1) if memory else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "engine": engine[bundle.manifest.target],
        "instructions": list(dict.fromkeys(told for name, told in _INSTRUCTIONS.items() if name in flags)),
    }


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """What a bundle is, without what its owner may have written into it: names, photos, where weights came from."""
    manifest = bundle.manifest
    return {
        "model": manifest.spec.name,
        "kind": manifest.kind,
        "target": manifest.target,
        "precision": manifest.precision,
        "sizes": list(manifest.sizes),
        "trained": manifest.trained,
        "bytes": sum(file.bytes for file in bundle.files()),
        "manifest_sha256": sha256(bundle.folder / MANIFEST),
    }


def megahertz() -> float | None:
    """What the cores run at now, on average; None where the system does not tell."""
    found = [int(line) / 1e3 for path in Path(CPUS).glob("cpu[0-9]*/cpufreq/scaling_cur_freq") for line in _lines(path)]
    if not found:
        found = [float(line.partition(":")[2]) for line in _lines(CPUINFO) if line.startswith("cpu MHz")]
    return round(statistics.mean(found)) if found else None


def _board() -> str:
    """The name of a board with an ARM processor, as its firmware tells it: "NVIDIA Jetson Orin Nano"."""
    return " ".join(_lines("/proc/device-tree/model")).strip("\0 ")


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core."""
    pairs = [line.partition(":") for line in reversed(_lines(CPUINFO))]
    return {key.strip(): value.strip() for key, _, value in pairs}


def _sysctl() -> dict[str, str]:
    """What macOS says of the processor; empty elsewhere."""
    if platform.system() != "Darwin":
        return {}
    asked = ["sysctl", "machdep.cpu.brand_string", "hw.memsize", "hw.optional"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in told)}


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:  # there is no such file, or it is not for us
        return []
