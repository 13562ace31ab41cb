"""LiteRT (TensorFlow Lite as it is called now), on the CPU by XNNPACK: the library that Android apps have too."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge.bundle.contract import Arrays, Signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Call, Graph
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.errors import InputError, one_line
from samclip_edge.runtimes.base import OpenSession


class LiteRTSession:
    """A graph in LiteRT. Its file has a signature for each number of prompts or texts that a call may have.

    A call of another number is cut into calls of those: 20 prompts into 16 and four times one.
    """

    def __init__(self, path: Path, signature: Signature, calls: Sequence[Call], threads: int | None = None) -> None:
        """calls: the signatures of the file that are for this graph. threads: None takes all that this process may use.

        Raises InputError where LiteRT is not installed, and where it refuses the file.
        """
        self._path, self._signature, self._calls = path, signature, calls
        self._lock = threading.Lock()  # an interpreter runs one call at a time
        self._runners: dict[str, Any] = {}
        self._interpreter = _interpreter(path, threads or _cores())
        have = self._interpreter.get_signature_list()
        ours = [[t.name for t in side] for side in (signature.inputs, signature.outputs)]
        for call in calls:
            theirs = have.get(call.function, {"inputs": [], "outputs": []})
            if any(sorted(a) != sorted(b) for a, b in zip(ours, (theirs["inputs"], theirs["outputs"]), strict=True)):
                raise InputError(f"{path}: its signature {call.function} is not the manifest's; export the bundle again")

    def run(self, inputs: Arrays) -> Arrays:
        """See `Session.run`. Raises InputError for numbers of points that no signature is for, and when memory is short."""
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
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _filled(self, inputs: Arrays) -> Arrays:
        """Texts (B,L) filled up to the least length that there is a signature for: what follows their end is not read."""
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
                raise InputError(f"{self._path}: has no signature for {told}; export it with one")
            yield fitting[most], most
            left -= most

    def _rows(self, name: str, values: Any, start: int, count: int) -> Any:
        first = self._signature.input(name).shape[0]
        return values[start : start + count] if first == "B" else values

    def _run(self, call: Call, inputs: Arrays) -> Arrays:
        with self._lock:
            try:
                given = {name: np.ascontiguousarray(values) for name, values in inputs.items()}
                if call.function not in self._runners:
                    self._runners[call.function] = self._interpreter.get_signature_runner(call.function)
                    with quiet():  # memory is taken at the first run, and a delegate made
                        return self._ordered(self._runners[call.function](**given))
                return self._ordered(self._runners[call.function](**given))
            except Exception as error:  # LiteRT raises ValueError and RuntimeError, with texts of its own
                where = f"{self._path}: LiteRT did not run {call.function}"
                raise InputError(f"{where} ({one_line(error)}); free memory, or ask for less at once") from error

    def _ordered(self, found: Arrays) -> Arrays:
        return {each.name: found[each.name] for each in self._signature.outputs}


def _interpreter(path: Path, threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise InputError(
            f"{path}: needs LiteRT, which is not here ({one_line(error)}); pip install ai-edge-litert"
        ) from None
    try:
        with quiet():
            return Interpreter(model_path=str(path), num_threads=threads)
    except Exception as error:  # ValueError and RuntimeError, with texts of its own
        raise InputError(f"{path}: LiteRT refuses it ({one_line(error)}); export the bundle again") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what LiteRT's C++ writes to the process's standard error, as that it has made a delegate."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _open(bundle: Bundle, graph: Graph, options: SessionOptions) -> LiteRTSession:
    return LiteRTSession(bundle.folder / graph.files[0].path, graph.signature, graph.calls, options.threads)


open_session: OpenSession = _open
