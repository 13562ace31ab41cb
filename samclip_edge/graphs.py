"""A bundle's graphs, each opened when it is first asked for and kept."""

from __future__ import annotations

import ctypes
import platform
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple

from samclip_edge.bundle import Bundle, File, Graph, Target
from samclip_edge.contract import Array, Arrays, GraphName

if TYPE_CHECKING:
    from samclip_edge.runtimes.base import OpenSession, Session

# By name, because arrows run from the runtimes to the core: an engine is looked up only where a bundle asks for it.
_ONNX = "samclip_edge.runtimes.onnxruntime"
_RUNTIMES: dict[Target, str] = {
    "onnx": _ONNX,
    "coreml": "samclip_edge.runtimes.coreml",
    "tensorrt": "samclip_edge.runtimes.tensorrt",
}
# What runs a target's graphs where its engine is not: Core ML's programs op by op, and the ONNX that TensorRT is given.
INTERPRETERS: dict[Target, str] = {"coreml": "samclip_edge.runtimes.mil", "tensorrt": _ONNX}
Units = Literal["all", "cpu", "cpu+gpu", "cpu+ne"]


def on_a_mac() -> bool:
    """Whether Core ML is there."""
    return platform.system() == "Darwin"


def gpus() -> int:
    """How many NVIDIA GPUs the driver has; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0


def runs_here(bundle: Bundle) -> bool:
    """Whether this machine has the engine that a bundle was made for."""
    target = bundle.manifest.target
    if target == "tensorrt":
        return bundle.manifest.engines is not None and gpus() > 0
    return target == "onnx" or on_a_mac()


class Engine(NamedTuple):
    """How graphs are run: what an engine knows nothing of, it ignores."""

    threads: int | None = None  # of the CPU in one run; None leaves it to the engine
    units: Units = "all"  # that Core ML may use
    interpreted: bool = False  # what is for another machine's engine, slowly, on any machine


class Graphs:
    """Runs the graphs of one bundle. May be used from several threads."""

    def __init__(self, bundle: Bundle, engine: Engine | None = None) -> None:
        self.bundle = bundle
        self._engine = engine or Engine()
        target = bundle.manifest.target
        self.interpreted = self._engine.interpreted and target in INTERPRETERS
        self._runtime = INTERPRETERS[target] if self.interpreted else _RUNTIMES[target]
        self._sessions: dict[tuple[GraphName, int | None], Session] = {}
        self._checked: set[File] = set()
        self._lock = threading.Lock()

    def run(self, name: GraphName, size: int | None = None, /, **inputs: Array) -> Arrays:
        """Run a graph on its inputs. Raises ChecksumError or InputError when its files are not what they should be."""
        return self._session(name, size).run(inputs)

    def _session(self, name: GraphName, size: int | None) -> Session:
        with self._lock:
            if (name, size) not in self._sessions:
                graph = self.bundle.graph(name, size)
                for file in self._needed(graph):
                    if file not in self._checked:
                        self.bundle.checked(file)
                        self._checked.add(file)
                open_session: OpenSession = import_module(self._runtime).open_session
                self._sessions[name, size] = open_session(self.bundle, graph, self._engine)
            return self._sessions[name, size]

    def _needed(self, graph: Graph) -> tuple[File, ...]:
        """The files that running a graph reads."""
        engines = self.bundle.manifest.engines
        if self.interpreted or graph.engine is None or engines is None:
            return graph.files
        return (graph.engine, *graph.files) if engines.stripped else (graph.engine,)
