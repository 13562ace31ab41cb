"""A stand-in for Core ML's own model, which runs on a Mac only: the program is interpreted op by op."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from samclip_edge.runtimes.interpreters.mil import Interpreter, load_function


class Mac:
    """Stands where Core ML's own model stands on a Mac, and remembers what it was asked for."""

    asked: ClassVar[list[tuple[str, str | None]]] = []
    compiled: ClassVar[list[str]] = []  # packages that were compiled

    def __init__(self, path: str, compute_units: Any, function_name: str | None) -> None:
        self.program = Interpreter(load_function(Path(path), function_name or "main"), path)
        self.path = Path(path)
        Mac.asked.append((compute_units.name, function_name))
        Mac.compiled.append(path)

    def get_compiled_model_path(self) -> str:
        """What Core ML made of the package. Here it is the package."""
        return str(self.path)

    def predict(self, given: dict[str, Any]) -> dict[str, np.ndarray]:
        if "image" in given and not isinstance(given["image"], np.ndarray):
            given = {"image": np.asarray(given["image"], np.float32).transpose(2, 0, 1)[None]}
        return self.program(given)


class MacCompiled(Mac):
    """Stands where a model stands that was compiled before. Core ML takes only what has this ending."""

    def __init__(self, path: str, compute_units: Any, function_name: str | None) -> None:
        assert path.endswith(".mlmodelc")
        super().__init__(path, compute_units, function_name)
        Mac.compiled.pop()
