"""NVIDIA's two libraries, TensorRT and TensorRT-RTX: loading them, their versions, and their error messages."""

from __future__ import annotations

import functools
import importlib
from importlib.util import find_spec
from typing import Any

from samclip_edge.bundle.manifest import BuilderName
from samclip_edge.errors import InputError, one_line

_MODULES: dict[
    BuilderName, tuple[str, ...]
] = {  # TensorRT-RTX's wheel has the second name where its metapackage is missing
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}


def load_module(name: BuilderName) -> Any:
    """The Python module of an engine. Raises InputError when it is not installed."""
    for module in _MODULES[name]:
        spec = find_spec(module)
        if spec is not None and spec.origin is not None:  # a folder of type stubs alone has none
            return importlib.import_module(module)
    mend = "it comes with JetPack; see docs/jetson.md" if name == "tensorrt" else "pip install 'samclip-edge[tensorrt]'"
    raise InputError(f"{name}: is not installed here; {mend}")


@functools.cache
def logger(name: BuilderName) -> Any:
    """The logger that all objects of an engine share: TensorRT heeds only the first logger of a process.

    It prints nothing. `errors` are the error messages; `layers` is the builder's last list of a built engine's layers.
    """
    trt = load_module(name)

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.layers = ""

        def log(self, severity: Any, message: str) -> None:
            if severity.value <= trt.ILogger.ERROR.value:
                self.errors.append(message)
            elif message.startswith("Layers:"):
                self.layers = message

    return Log()


@functools.cache
def the_runtime(name: BuilderName) -> Any:
    """The engine's `Runtime`, made once in a process."""
    return load_module(name).Runtime(logger(name))


def version(name: BuilderName) -> str:
    """The version of an engine that is installed here."""
    return str(load_module(name).__version__)


def first_error(log: Any) -> str:
    """The first error message of an engine, in one line."""
    return one_line(ValueError(log.errors[0])) if log.errors else "and does not say why"
