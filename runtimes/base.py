"""What every engine offers the pipeline: open one graph of a bundle, run it, nothing more.

A runtime is a module of this folder with a function `open_session` of the shape `OpenSession`. `samclip_edge.graphs`
picks it by the bundle's target.
"""

from __future__ import annotations

from typing import Protocol

from samclip_edge.bundle import Bundle, Graph
from samclip_edge.contract import Arrays
from samclip_edge.graphs import Engine


class Session(Protocol):
    """One graph, loaded. `run` may be called from several threads at once."""

    def run(self, inputs: Arrays) -> Arrays:
        """All inputs by name to all outputs by name, as numpy arrays of the contract's types and shapes.

        What one graph hands to another may stay where the engine has it, as something that numpy makes an array of.
        """
        ...


class OpenSession(Protocol):
    """Load a graph whose bytes were already held against the manifest.

    Raises InputError in one line when the engine is not installed, cannot run here, or refuses the graph.
    """

    def __call__(self, bundle: Bundle, graph: Graph, engine: Engine) -> Session:
        """Open a graph of a bundle."""
        ...
