"""Runs an ML Program where there is no Core ML: op by op, from the saved package itself.

Core ML predicts on a Mac only, so elsewhere nobody could tell whether a conversion is right. Here coremltools loads the
package back, and every op is computed as its specification says (`mil_ops`). Weights are expanded from the compressed
ones in the package, and each result is rounded to the type that the program declares, such as float16. It is for
checking, not for speed, and does not show what an engine does inside one op.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samclip_edge.bundle.contract import Arrays
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Graph
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.errors import InputError, one_line
from samclip_edge.runtimes.base import OpenSession
from samclip_edge.runtimes.interpreters.mil_ops import OPS

logging.getLogger("coremltools").setLevel(logging.ERROR)  # its import warns of what is missing off a Mac
import coremltools as coremltools  # noqa: E402
from coremltools.converters.mil.frontend.milproto import load  # noqa: E402
from coremltools.converters.mil.mil import Function, Operation, Var, types  # noqa: E402

_ROUNDED = {"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32, "bool": torch.bool}
Watch = Callable[[Operation, str, torch.Tensor], None]
_KEPT = 1024  # a constant of this many numbers is made a tensor once, not in each call


class MilSession:
    """One function of a package, run by an `Interpreter`."""

    def __init__(self, path: Path, graph: Graph) -> None:
        """path: the package's Manifest.json. Raises InputError for a bad package, or an op that is not in `mil_ops`."""
        name = f"{graph.name} {graph.size}" if graph.size else graph.name
        self.program = Interpreter(load_function(path.parent, graph.function), f"{path.parent.name}: {name}")
        self._outputs = [tensor.name for tensor in graph.signature.outputs]

    def run(self, inputs: Arrays) -> Arrays:
        """See `Session.run`."""
        outputs = self.program(inputs)
        return {name: outputs[name] for name in self._outputs}


def _open(bundle: Bundle, graph: Graph, options: SessionOptions) -> MilSession:
    return MilSession(bundle.folder / graph.files[0].path, graph)


open_session: OpenSession = _open


def load_function(package: Path, name: str) -> Function:
    """Read a function of a saved package with coremltools. Raises InputError if that fails, or for a bad name."""
    try:
        spec = coremltools.utils.load_spec(str(package))
        weights = package / "Data" / "com.apple.CoreML" / "weights"
        functions = load.load(spec, spec.specificationVersion, str(weights)).functions
    except Exception as error:  # coremltools raises whatever its parsers do
        raise InputError(f"{package}: coremltools cannot read it ({one_line(error)}); export it again") from None
    if name not in functions:
        raise InputError(f"{package}: has no function {name!r}, only {sorted(functions)}; export it again")
    return functions[name]


class Interpreter:
    """Calls a function of an ML Program on numpy arrays."""

    def __init__(self, function: Function, where: str) -> None:
        """where: the package and graph, for error messages. Raises InputError for an op that is not in `mil_ops`."""
        self._where, self._inputs, self._outputs = where, function.inputs, function.outputs
        operations = [each for each in function.operations if each.op_type != "const"]
        unknown = sorted({each.op_type for each in operations} - set(OPS))
        if unknown:
            raise InputError(f"{where}: op {', '.join(unknown)} is not one that this version knows; export it again")
        self._operations = [each for each in operations if not each.op_type.startswith("constexpr_")]
        self._constants: dict[Var, Any] = {}
        for each in operations:
            if each not in self._operations:
                self._step(each, self._constants)
        last = {var: each for each in self._operations for given in each.inputs.values() for var in _vars(given)}
        kept = {*function.outputs, *self._constants}
        self._done_after: dict[Operation, list[Var]] = {}
        for var, operation in last.items():
            if var not in kept:
                self._done_after.setdefault(operation, []).append(var)

    def __call__(self, inputs: Arrays, watch: Watch | None = None) -> Arrays:
        """Takes all inputs by name, returns all outputs by name. watch: called with each op's results, in order."""
        values = {var: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name, var in self._inputs.items()}
        for operation in self._operations:
            self._step(operation, values)
            if watch:
                for var in operation.outputs:
                    watch(operation, var.name, values[var])
            for var in self._done_after.get(operation, ()):
                values.pop(var, None)
        return {var.name: values[var].float().numpy() for var in self._outputs}

    @torch.inference_mode()
    def _step(self, operation: Operation, values: dict[Var, Any]) -> None:
        """Compute one op from `values` and the constants, and add its results to `values`."""
        given = {name: self._given(values, each) for name, each in operation.inputs.items() if each is not None}
        try:
            out = OPS[operation.op_type](**given)
        except Exception as error:  # an input that the op does not know, or a shape that does not fit
            at = f"{self._where}: {operation.op_type} {operation.name}"
            raise InputError(f"{at}: {one_line(error)}; export it again") from error
        for var, value in zip(operation.outputs, out if isinstance(out, tuple) else (out,), strict=True):
            kind = _ROUNDED.get(types.builtin_to_string(var.dtype))
            values[var] = value.to(kind) if kind else value

    def _given(self, values: dict[Var, Any], given: Any) -> Any:
        """An input of an op: a tensor, as float32 if it is of a float type, or a plain Python constant."""
        if isinstance(given, list | tuple):
            return [self._given(values, each) for each in given]
        value = values.get(given, self._constants.get(given))
        if value is None:
            value = _constant(given.val)
            if isinstance(value, torch.Tensor) and value.numel() >= _KEPT:
                self._constants[given] = value
        return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _constant(value: Any) -> Any:
    """A constant of a program: an array as a tensor, a single number as a Python number."""
    if not isinstance(value, np.ndarray):
        return value.item() if isinstance(value, np.generic) else value
    if value.dtype.kind == "u":  # torch has only uint8 in full; types below a byte come as bytes
        value = value.astype(np.uint8 if value.dtype.itemsize == 1 else np.int64)
    return torch.from_numpy(np.ascontiguousarray(value))


def _vars(given: Any) -> list[Var]:
    return list(given) if isinstance(given, list | tuple) else [given]
