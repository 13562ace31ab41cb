"""A bundle's sessions: each of its graphs loaded into an engine when it is first asked for, and kept.

Engines are modules of `runtimes/`, which import this file. So they are named here, and imported only where a bundle
asks for one.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from samclip_edge.bundle.contract import Array, Arrays, GraphName
from samclip_edge.bundle.device import Device, on_cpu, providers_of, spoken
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.machine import gpus, on_a_mac
from samclip_edge.bundle.manifest import File, Graph, Target
from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError

_ONNX_RUNTIME = "samclip_edge.runtimes.onnxruntime"
_PROVIDERS = "samclip_edge.runtimes.providers"
_RUNTIMES: dict[Target, str] = {
    "onnx": _ONNX_RUNTIME,
    "coreml": "samclip_edge.runtimes.coreml",
    "tensorrt": "samclip_edge.runtimes.tensorrt.session",
    "litert": "samclip_edge.runtimes.litert",
}
# What runs a target's graphs on a machine without its engine: Core ML's programs op by op, TensorRT's ONNX as it is.
INTERPRETERS: dict[Target, str] = {"coreml": "samclip_edge.runtimes.interpreters.mil", "tensorrt": _ONNX_RUNTIME}
_ENGINES = {  # the package that a runtime runs graphs by; TensorRT's version stands in the manifest
    _ONNX_RUNTIME: "onnxruntime",
    "samclip_edge.runtimes.coreml": "coremltools",
    "samclip_edge.runtimes.interpreters.mil": "torch",
    "samclip_edge.runtimes.litert": "ai_edge_litert",
}
Units = Literal["all", "cpu", "cpu+gpu", "cpu+ne"]


class Session(Protocol):
    """One graph, loaded into an engine. `run` may be called from several threads at once."""

    def run(self, inputs: Arrays) -> Arrays:
        """All inputs by name to all outputs by name, as numpy arrays of the contract's types and shapes.

        What one graph hands to another may stay where the engine has it, as something that numpy makes an array of.
        """
        ...


class SessionOptions(NamedTuple):
    """How graphs are run. An engine ignores an option that is not for it."""

    threads: int | None = None  # of the CPU in one run; None leaves it to the engine
    units: Units = "all"  # the compute units that Core ML may use
    interpreted: bool = False  # run a bundle of another machine's engine by its interpreter: slow, but on any machine
    # What ONNX Runtime runs on: "cpu", "cuda", "tensorrt", "coreml", "directml", "openvino", "qnn", any of them with
    # options ("cuda:device_id=1"), or its providers in its own form: names, and pairs of a name and options. Once at
    # load, each graph's answers are compared with the CPU's (`runtimes.onnxruntime.held_to_the_cpu`).
    device: Device = "cpu"


def runs_here(bundle: Bundle) -> bool:
    """Whether this machine has the engine that a bundle was made for."""
    target = bundle.manifest.target
    if target == "tensorrt":
        return bundle.manifest.built_engines is not None and gpus() > 0
    return target in ("onnx", "litert") or on_a_mac()


class Sessions:
    """The sessions of one bundle. May be used from several threads."""

    def __init__(self, bundle: Bundle, options: SessionOptions | None = None) -> None:
        """Raises InputError for a device that is not here, or does not run bundles of this target."""
        self.bundle = bundle
        options = options or SessionOptions()
        target = bundle.manifest.target
        self.interpreted = options.interpreted and target in INTERPRETERS
        self._runtime = INTERPRETERS[target] if self.interpreted else _RUNTIMES[target]
        self._options = options._replace(device=self._device(options.device))
        self._sessions: dict[tuple[GraphName, Size | None], Session] = {}
        self._checked: set[File] = set()
        self._locks: dict[tuple[GraphName, Size | None], threading.Lock] = {}

    def _device(self, device: Device) -> Device:
        """What a device is for this bundle, by which all is said early that can be said before a graph is opened."""
        target = self.bundle.manifest.target
        if device == target != "onnx":
            return "cpu"  # the bundle's own engine, which takes no device
        if not on_cpu(device):
            if self._runtime != _ONNX_RUNTIME:
                mend = "leave the device out, or export the bundle for target onnx"
                raise InputError(f" {spoken(device)}: {self.bundle.folder} is for target {target}; {mend}", "device")
            import_module(_PROVIDERS).ready(device)
        return device if isinstance(device, str) else providers_of(device)  # a list may be changed later

    @property
    def engine(self) -> str:
        """What decides the bits of an answer besides the graph: the engine as it is installed here, and its options."""
        spec = find_spec(_ENGINES[self._runtime]) if self._runtime in _ENGINES else None
        installed = ""
        if spec is not None and spec.origin is not None:  # another version is another file; importing it takes long
            stat = Path(spec.origin).stat()
            installed = f"{spec.origin} {stat.st_size} {stat.st_mtime_ns}"
        where = platform.machine(), platform.mac_ver()[0], spoken(self._options.device), self._options.units
        return " ".join([self._runtime, installed, *where])

    def __getstate__(self) -> dict[str, Any]:
        """What `pickle` and `copy` take along: no session, which is the engine's, and no lock."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_sessions", "_checked", "_locks")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open graphs anew, in a copy or another process, and trust no check of files that was made elsewhere."""
        self.__dict__.update(state)
        self._sessions, self._checked, self._locks = {}, set(), {}

    def run(self, name: GraphName, size: Size | None = None, /, **inputs: Array) -> Arrays:
        """Run a graph on its inputs. Raises ChecksumError or InputError when its files are not what they should be."""
        return self.open(name, size).run(inputs)

    def open(self, name: GraphName, size: Size | None = None) -> Session:
        """The session of a graph, opened at the first call. Raises what `run` raises.

        Opening takes seconds. Other graphs can be opened and run meanwhile: each has a lock of its own.
        """
        session = self._sessions.get((name, size))
        if session is not None:
            return session
        with self._locks.setdefault((name, size), threading.Lock()):
            if (name, size) not in self._sessions:
                self._sessions[name, size] = self._opened(self.bundle.graph(name, size))
            return self._sessions[name, size]

    def prepare(self, *names: GraphName, size: Size | None = None) -> None:
        """Begin to open graphs, one after another in a thread, so that they are there when they are asked for.

        What goes wrong is raised where they are asked for.
        """

        if self.bundle.manifest.target == "litert":  # its notes can be kept from stderr in the main thread alone
            return

        def work() -> None:
            for name in names:
                with suppress(Exception):
                    self.open(name, size)

        if any((name, size) not in self._sessions for name in names):
            threading.Thread(target=work, name="samclip-prepare").start()

    def _opened(self, graph: Graph) -> Session:
        for file in self._needed(graph):
            if file not in self._checked:
                self.bundle.checked(file)
                self._checked.add(file)
        # `runtimes.base.OpenSession`, by which every runtime is held
        open_session: Callable[[Bundle, Graph, SessionOptions], Session]
        open_session = import_module(self._runtime).open_session
        return open_session(self.bundle, graph, self._options)

    def _needed(self, graph: Graph) -> tuple[File, ...]:
        """The files that running a graph reads."""
        built = self.bundle.manifest.built_engines
        if self.interpreted or graph.built_engine is None or built is None:
            return graph.files
        return (graph.built_engine, *graph.files) if built.stripped else (graph.built_engine,)
