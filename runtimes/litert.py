"""LiteRT (TensorFlow Lite as it is called now), on the CPU by XNNPACK: the library that Android apps have too.

A file is opened by LiteRT's CompiledModel. XNNPACK lays out weights anew for its kernels. Here it keeps them in one
place for all signatures of a file; by itself it would hold them once for each signature.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge.bundle.contract import Array, Arrays, Signature, Tensor
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Call, Graph
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.errors import InputError, one_line
from samclip_edge.native import native_lines
from samclip_edge.runtimes.base import OpenSession

_SHARED_WEIGHTS = ":memory"  # XNNPACK's name for weights that it keeps in memory once
# XNNPACK's flags (`xnnpack_delegate.h`): for signed and unsigned int8, as LiteRT sets them by itself; and for
# convolutions that look up in each run which pixels they read, where by itself each keeps a table of them. For images
# of more than so many pixels that saves much memory, for little time (docs/litert.md).
_INT8, _NO_TABLES = 0x01 | 0x02, 0x20
_LARGE = 512 * 512


class LiteRTSession:
    """A graph in LiteRT. Its file has a signature for each number of prompts or texts that a call may have.

    A call of another number is cut into calls of those: 20 prompts into 16 and four times one.
    """

    def __init__(self, path: Path, signature: Signature, calls: Sequence[Call], threads: int | None = None) -> None:
        """calls: the signatures of the file that are for this graph. threads: None takes all that this process may use.

        Raises InputError where LiteRT is not installed, and where it refuses the file.
        """
        self._path, self._signature, self._calls = path, signature, calls
        self._lock = threading.Lock()  # a signature has buffers of its own, and runs one call at a time
        self._buffers: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        if not calls:
            raise InputError(f"{path}: the manifest lists no signature of it; export the bundle again")
        # With threads that cannot be made, pthreadpool waits for them for ever.
        self._model = _compiled(path, min(threads or _cores(), _cores()), _flags(_pixels(signature)))
        for call in calls:
            try:
                fits = self._fits(call)
            except Exception as error:  # RuntimeError, with texts of its own
                raise _refused(path, error) from None
            if not fits:
                raise InputError(
                    f"{path}: its signature {call.function} is not the manifest's; export the bundle again"
                )

    def _fits(self, call: Call) -> bool:
        """Whether a signature of the file is what the manifest says."""
        has = self._model.get_signature_list().get(call.function, {"inputs": [], "outputs": []})
        inputs, outputs = self._signature.inputs, self._signature.outputs
        letters = {side for tensor in inputs for side in tensor.shape if isinstance(side, str)}
        named = [sorted(tensor.name for tensor in side) for side in (inputs, outputs)]
        if set(call.sides) != letters or named != [sorted(has["inputs"]), sorted(has["outputs"])]:
            return False
        details = self._model.get_input_tensor_details(call.function) | self._model.get_output_tensor_details(
            call.function
        )
        return all(list(details[each.name]["shape"]) == _shape(each, call) for each in (*inputs, *outputs))

    def run(self, inputs: Arrays) -> Arrays:
        """See `Session.run`. Raises InputError for numbers that no signature is for, and when memory is short."""
        inputs = self._filled(inputs)
        numbers = self._numbers(inputs)
        parts = list(self._parts(numbers))
        if [count for _, count in parts] == [numbers.get("B", 1)]:
            return self._run(parts[0][0], inputs)
        found: list[Arrays] = []
        start = 0
        for call, count in parts:
            found.append(self._run(call, {name: self._rows(name, inputs[name], start, count) for name in inputs}))
            start += count
        return {each.name: _whole(each, [part[each.name] for part in found]) for each in self._signature.outputs}

    def _filled(self, inputs: Arrays) -> Arrays:
        """Texts (B,L) filled up to a length that there is a signature for: what follows their end is not read."""
        lengths = sorted({call.sides["L"] for call in self._calls if "L" in call.sides})
        if not lengths:
            return inputs
        tokens = inputs["tokens"]
        length = next((each for each in lengths if each >= tokens.shape[1]), tokens.shape[1])
        return {"tokens": np.pad(tokens, ((0, 0), (0, length - tokens.shape[1])))}

    def _numbers(self, inputs: Arrays) -> dict[str, int]:
        """The number that stands for each letter of the signature in a call."""
        return {
            side: values.shape[axis]
            for tensor in self._signature.inputs
            for values in [inputs[tensor.name]]
            for axis, side in enumerate(tensor.shape)
            if isinstance(side, str)
        }

    def _parts(self, numbers: dict[str, int]) -> Iterator[tuple[Call, int]]:
        """The calls that together are one, and how many prompts or texts each takes: the largest first."""
        others = {letter: number for letter, number in numbers.items() if letter != "B"}
        fitting = {
            call.sides.get("B", 1): call
            for call in self._calls
            if {letter: number for letter, number in call.sides.items() if letter != "B"} == others
        }
        left = numbers.get("B", 1)
        while left:
            most = max((count for count in fitting if count <= left), default=0)
            if not most:
                told = " and ".join(f"{letter} = {number}" for letter, number in numbers.items())
                raise InputError(f"{self._path}: has no signature for {told}; export the bundle with one")
            yield fitting[most], most
            left -= most

    def _rows(self, name: str, values: Any, start: int, count: int) -> Any:
        first = self._signature.input(name).shape[0]
        return values[start : start + count] if first == "B" else values

    def _run(self, call: Call, inputs: Arrays) -> Arrays:
        for tensor in self._signature.inputs:
            if list(inputs[tensor.name].shape) != _shape(tensor, call):
                shape = tuple(inputs[tensor.name].shape)
                raise InputError(f"{self._path}: {tensor.name} is {shape}, not {tuple(_shape(tensor, call))}")
        with self._lock:
            try:
                with native_lines() if call.function not in self._buffers else contextlib.nullcontext():
                    self._fill(call.function, inputs)
                    self._model.run_by_name(call.function, *self._buffers[call.function])
                found = self._buffers[call.function][1]
                return {each.name: self._read(each, found[each.name], call) for each in self._signature.outputs}
            except Exception as error:  # LiteRT raises RuntimeError, with texts of its own
                where = f"{self._path}: LiteRT did not run {call.function}"
                raise InputError(f"{where} ({one_line(error)}); free memory, or ask for less at once") from error

    def _fill(self, function: str, inputs: Arrays) -> None:
        if function not in self._buffers:
            self._buffers[function] = self._made(function)
        for name, buffer in self._buffers[function][0].items():
            buffer.write(np.ascontiguousarray(inputs[name], self._signature.input(name).dtype))

    def _made(self, function: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Buffers for the inputs and outputs of a signature, by name."""
        ends, model = self._signature, self._model
        given = {each.name: model.create_input_buffer_by_name(function, each.name) for each in ends.inputs}
        found = {each.name: model.create_output_buffer_by_name(function, each.name) for each in ends.outputs}
        return given, found

    @staticmethod
    def _read(tensor: Tensor, buffer: Any, call: Call) -> Array:
        shape = _shape(tensor, call)
        return np.asarray(buffer.read(math.prod(shape), np.dtype(tensor.dtype).type)).reshape(shape)


def _shape(tensor: Tensor, call: Call) -> list[int]:
    """The shape of an input or output in a signature."""
    return [call.sides[side] if isinstance(side, str) else side for side in tensor.shape]


def _whole(tensor: Tensor, parts: list[Array]) -> Array:
    """An output of the parts of a call. What all prompts share comes with each part, and is the same."""
    return np.concatenate(parts) if tensor.shape[0] == "B" else parts[0]


def _pixels(signature: Signature) -> int:
    """How many pixels the largest map has that goes in."""
    sides = ([side for side in tensor.shape[2:] if isinstance(side, int)] for tensor in signature.inputs)
    return max(math.prod(each) for each in sides)


def _flags(pixels: int) -> int:
    """The flags of XNNPACK for a graph whose largest map that goes in has so many pixels."""
    return _INT8 | _NO_TABLES if pixels > _LARGE else _INT8


def _compiled(path: Path, threads: int, flags: int) -> Any:
    try:
        with native_lines():
            from ai_edge_litert.compiled_model import CompiledModel
            from ai_edge_litert.hardware_accelerator import HardwareAccelerator
            from ai_edge_litert.interpreter import Interpreter
            from ai_edge_litert.options import Options
    except ImportError as error:
        raise InputError(
            f"{path}: needs LiteRT, which is not here ({one_line(error)}); pip install ai-edge-litert"
        ) from None
    options = Options(hardware_accelerators=HardwareAccelerator.CPU)
    options.cpu_options.num_threads = threads
    options.cpu_options.xnnpack_weight_cache_path = _SHARED_WEIGHTS
    options.cpu_options.xnnpack_flags = flags
    try:
        with native_lines():
            Interpreter(model_path=str(path))  # reads the whole structure, which the next does not: it would crash
            return CompiledModel.from_file(str(path), environment=_environment(), options=options)
    except Exception as error:  # RuntimeError, with texts of its own
        raise _refused(path, error) from None


def _refused(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: LiteRT refuses it ({one_line(error)}); free memory, or export the bundle again")


@functools.cache
def _environment() -> Any:
    """What all files of a process share."""
    from ai_edge_litert.environment import Environment

    return Environment.create()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open(bundle: Bundle, graph: Graph, options: SessionOptions) -> LiteRTSession:
    return LiteRTSession(bundle.folder / graph.files[0].path, graph.signature, graph.calls, options.threads)


open_session: OpenSession = _open
