"""Core ML, on a Mac. On other machines `runtimes.interpreters.mil` runs the same packages, to check them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge.bundle.contract import Arrays
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.machine import on_a_mac
from samclip_edge.bundle.manifest import Graph
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.errors import InputError, one_line
from samclip_edge.runtimes.base import OpenSession

_UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "cpu+gpu": "CPU_AND_GPU", "cpu+ne": "CPU_AND_NE"}


class CoreMLSession:
    """One function of a package, compiled by the system when it is loaded."""

    def __init__(self, path: Path, graph: Graph, options: SessionOptions) -> None:
        """path: the package's Manifest.json. Raises InputError off a Mac, and when Core ML refuses the package."""
        package = path.parent
        if not on_a_mac():
            raise InputError(
                f"{package}: Core ML runs on a Mac, an iPhone or an iPad only; `samclip-edge verify` checks the bundle "
                "here, and one for target onnx runs here"
            )
        import coremltools

        try:
            self._model = coremltools.models.MLModel(
                str(package),
                compute_units=coremltools.ComputeUnit[_UNITS[options.units]],
                function_name=None if graph.function == "main" else graph.function,
            )
        except Exception as error:  # coremltools raises whatever Core ML does
            raise InputError(f"{package}: Core ML refuses it ({one_line(error)}); export it again") from None
        self._graph = graph

    def run(self, inputs: Arrays) -> Arrays:
        """See `Session.run`. Raises InputError for a prompt without points, because Core ML has no empty arrays."""
        given: dict[str, Any] = dict(inputs)
        if any(0 in values.shape for values in inputs.values()):
            raise InputError("prompt: a mask alone is no prompt for Core ML, which takes no empty arrays; add a point")
        if self._graph.image:
            from PIL import Image

            given["image"] = Image.fromarray(inputs["image"][0].transpose(1, 2, 0).round().astype(np.uint8))
        outputs = self._model.predict(given)
        return {each.name: np.asarray(outputs[each.name], np.float32) for each in self._graph.signature.outputs}


def _open(bundle: Bundle, graph: Graph, options: SessionOptions) -> CoreMLSession:
    return CoreMLSession(bundle.folder / graph.files[0].path, graph, options)


open_session: OpenSession = _open
