"""A bundle's graphs, each opened when it is first asked for and kept."""

from __future__ import annotations

import platform
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple

from samclip_edge.bundle import Bundle, File
from samclip_edge.contract import Array, Arrays, GraphName

if TYPE_CHECKING:
    from samclip_edge.runtimes.base import OpenSession, Session

# By name, because arrows run from the runtimes to the core: an engine is looked up only where a bundle asks for it.
_RUNTIMES = {"onnx": "samclip_edge.runtimes.onnxruntime", "coreml": "samclip_edge.runtimes.coreml"}
INTERPRETER = "samclip_edge.runtimes.mil"  # of Core ML's programs, where there is no Core ML
Units = Literal["all", "cpu", "cpu+gpu", "cpu+ne"]


def on_a_mac() -> bool:
    """Whether Core ML is there."""
    return platform.system() == "Darwin"


class Engine(NamedTuple):
    """How graphs are run: what an engine knows nothing of, it ignores."""

    threads: int | None = None  # of the CPU in one run; None leaves it to the engine
    units: Units = "all"  # that Core ML may use
    interpreted: bool = False  # Core ML's programs op by op, slowly, on any machine


class Graphs:
    """Runs the graphs of one bundle. May be used from several threads."""

    def __init__(self, bundle: Bundle, engine: Engine | None = None) -> None:
        self.bundle = bundle
        self._engine = engine or Engine()
        target = bundle.manifest.target
        self.interpreted = self._engine.interpreted and target == "coreml"
        self._runtime = INTERPRETER if self.interpreted else _RUNTIMES[target]
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
                for file in graph.files:
                    if file not in self._checked:
                        self.bundle.checked(file)
                        self._checked.add(file)
                open_session: OpenSession = import_module(self._runtime).open_session
                path = self.bundle.folder / graph.files[0].path
                self._sessions[name, size] = open_session(path, graph, self.bundle.manifest.precision, self._engine)
            return self._sessions[name, size]
