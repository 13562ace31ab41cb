"""A stand-in for a machine with a GPU and TensorRT: it has what our code uses, and refuses what the real one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from standin_builder import add_builder
from standin_cuda import Gpu, cuda
from standin_engine import add_runtime

from samclip_edge.bundle import sessions
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.export.targets import tensorrt_builders
from samclip_edge.runtimes.tensorrt import cuda as our_cuda
from samclip_edge.runtimes.tensorrt import library


def tensorrt(gpu: Gpu) -> ModuleType:
    """`tensorrt` 10.3: what runs an engine, and what builds one."""
    module: Any = ModuleType("tensorrt")
    module.__version__ = "10.3.0"
    add_runtime(module, gpu)
    add_builder(module)
    return module


@contextmanager
def jetson(patch: pytest.MonkeyPatch, capability: str = "8.7") -> Iterator[tuple[Gpu, Any]]:
    """A machine with a GPU and `tensorrt`, and nothing else: the GPU's state, and the module."""
    gpu = Gpu(capability)
    engine, bindings, runtime = tensorrt(gpu), ModuleType("cuda.bindings"), cuda(gpu)
    bindings.runtime = runtime  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "cuda.bindings", bindings)
    patch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    patch.setitem(sys.modules, "tensorrt", engine)
    patch.setattr(library, "_MODULES", {"tensorrt": ("tensorrt",), "tensorrt_rtx": ("no_such_module",)})
    patch.setattr(library, "find_spec", lambda name: sys.modules.get(name) and Spec())
    for module in (sessions, our_cuda, tensorrt_builders):
        patch.setattr(module, "gpus", lambda: 1)
    forget()
    yield gpu, engine
    forget()


class Spec:
    """Where a module came from, for `find_spec`."""

    origin = "here"


def forget() -> None:
    """Let go of a device and its runtime."""
    our_cuda.the_device.cache_clear()
    library.the_runtime.cache_clear()
    library.logger.cache_clear()


def build(bundle: Bundle, folder: Path, version: str = "10.3") -> tuple[int, str]:
    """Run a copy of the bundle's `build.sh` with a stand-in of trtexec; its exit code and what it printed."""
    for file in bundle.files():
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_bytes((bundle.folder / file.path).read_bytes())
    (folder / MANIFEST).write_bytes((bundle.folder / MANIFEST).read_bytes())
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    programs = {"trtexec": f'exec {sys.executable} {Path(__file__).with_name("standin_trtexec.py")} {version} "$@"'}
    programs["recorder"] = 'echo recorded "$@"'  # in this process, where the stand-ins are
    for name, line in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": str(tools / "recorder")}
    ran = subprocess.run(["sh", folder / "build.sh"], env=env, cwd="/", capture_output=True, text=True)
    return ran.returncode, ran.stdout + ran.stderr


def change(bundle: Bundle, **engines: Any) -> None:
    """Write other facts about its engines into a bundle's manifest."""
    path = bundle.folder / MANIFEST
    fields = json.loads(path.read_text())
    fields["engines"].update(engines)
    path.write_text(json.dumps(fields))
