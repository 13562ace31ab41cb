"""What every engine offers: a module of this folder with an `open_session`, a function as `OpenSession` describes it.

`bundle.sessions` names the module of each target and calls it. mypy checks each runtime against the protocol.
"""

from __future__ import annotations

from typing import Protocol

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Graph
from samclip_edge.bundle.sessions import Session, SessionOptions


class OpenSession(Protocol):
    """Load a graph whose files were already checked against the manifest.

    Raises InputError in one line when the engine is not installed, cannot run here, or refuses the graph.
    """

    def __call__(self, bundle: Bundle, graph: Graph, options: SessionOptions) -> Session:
        """Open a graph of a bundle."""
        ...
