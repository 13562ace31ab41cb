"""Where the time of a LiteRT file goes: its seconds by operator, by the profiler of LiteRT's C interface.

The Python wheel has no functions for it, but the library in it has.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge.bundle.contract import Array
from samclip_edge.errors import InputError
from samclip_edge.native import native_lines

_RUNS = 3  # of which the last one counts
_OWN, _XNNPACKS = 2, 8  # kinds of events: an operator of LiteRT's own, which may be a delegate; one of XNNPACK's
_WRITE = 1
_CPU = 1
_FLAGS, _FLAGS_LARGE = 0x03, 0x23  # XNNPACK's, as `runtimes/litert.py` sets them
_LARGE = 512 * 512  # pixels of an image, above which the second counts


class _Event(ctypes.Structure):
    """`ProfiledEventData` of `litert/c/litert_profiler_event.h`."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start", ctypes.c_uint64),
        ("elapsed", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("more", ctypes.c_uint64 * 2),
        ("source", ctypes.c_int),
    ]


class _Type(ctypes.Structure):
    """`LiteRtRankedTensorType` of `litert/c/litert_layout.h`."""

    _fields_ = [
        ("element", ctypes.c_int),
        ("rank", ctypes.c_uint32),
        ("sides", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]


class Profiled:
    """A file, opened with the profiler on."""

    def __init__(self, path: Path, threads: int, flags: int) -> None:
        """flags: XNNPACK's. Raises InputError where LiteRT refuses the file."""
        spec = find_spec("ai_edge_litert")
        assert spec is not None
        assert spec.origin is not None
        self._library = ctypes.CDLL(str(Path(spec.origin).with_name("libLiteRt.so")))
        self._path, libc = path, ctypes.CDLL(None)
        libc.strdup.restype = ctypes.c_void_p
        self._environment = self._made("CreateEnvironment", 0, None)
        self._model = self._made("CreateModelFromFile", self._environment, str(path).encode())
        options = self._made("CreateOptions")
        self._call("SetOptionsHardwareAccelerators", options, _CPU)
        told = {
            b"xnnpack": f'num_threads = {threads}\nflags = {flags}\nweight_cache_file_path = ":memory"\n',
            b"runtime_options_string": "enable_profiling = true\n",
        }
        for name, text in told.items():
            payload = ctypes.c_void_p(libc.strdup(text.encode()))  # which LiteRT frees
            self._call("AddOpaqueOptions", options, self._made("CreateOpaqueOptions", name, payload, libc.free))
        self._compiled = self._made("CreateCompiledModel", self._environment, self._model, options)
        self._profiler = self._made("CompiledModelGetProfiler", self._compiled)

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self._library, f"LiteRt{name}")(*arguments):
            raise InputError(f"{self._path}: LiteRt{name} fails with status {status}")

    def _made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(made))
        return made

    def by_operator(self, inputs: Mapping[str, Array]) -> dict[str, float]:
        """Seconds of one run of the file's first signature, all of an operator together, the most first."""
        signature = self._made("GetModelSignature", self._model, ctypes.c_size_t(0))
        given = self._buffers(signature, "Input", inputs)
        found = self._buffers(signature, "Output", {})
        for turn in range(_RUNS):
            if turn == _RUNS - 1:
                self._call("StartProfiler", self._profiler)
            sides = [argument for each in (given, found) for argument in (ctypes.c_size_t(len(each)), each)]
            self._call("RunCompiledModel", self._compiled, ctypes.c_size_t(0), *sides)
        self._call("StopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("GetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("GetProfilerEvents", self._profiler, count, events)
        seconds: dict[str, float] = defaultdict(float)
        for event in events:
            name = (event.tag or b"").decode()
            if event.kind == _XNNPACKS or (event.kind == _OWN and "elegate" not in name):
                seconds[name] += event.elapsed / 1e6
        return dict(sorted(seconds.items(), key=lambda each: -each[1]))

    def _buffers(self, signature: ctypes.c_void_p, side: str, values: Mapping[str, Array]) -> Any:
        count = ctypes.c_size_t()
        self._call(f"GetNumSignature{side}s", signature, ctypes.byref(count))
        made = (ctypes.c_void_p * count.value)()
        for index in range(count.value):
            place, name = ctypes.c_size_t(index), ctypes.c_char_p()
            self._call(f"GetSignature{side}Name", signature, place, ctypes.byref(name))
            tensor = self._made(f"GetSignature{side}TensorByIndex", signature, place)
            kind = _Type()
            self._call("GetRankedTensorType", tensor, ctypes.byref(kind))
            needs = self._made(f"GetCompiledModel{side}BufferRequirements", self._compiled, ctypes.c_size_t(0), place)
            buffer = self._made(
                "CreateManagedTensorBufferFromRequirements", self._environment, ctypes.byref(kind), needs
            )
            made[index] = buffer.value
            if values:
                array = np.ascontiguousarray(values[(name.value or b"").decode()])
                memory = ctypes.c_void_p()
                self._call("LockTensorBuffer", buffer, ctypes.byref(memory), _WRITE)
                ctypes.memmove(memory, array.ctypes.data, array.nbytes)
                self._call("UnlockTensorBuffer", buffer)
        return made


def encoder_by_operator(path: Path, size: int, threads: int) -> dict[str, float]:
    """Seconds of one run of an image encoder's file at its size, by operator; see `Profiled.by_operator`."""
    with native_lines():
        profiled = Profiled(path, threads, _FLAGS_LARGE if size * size > _LARGE else _FLAGS)
        return profiled.by_operator({"image": np.full((1, 3, size, size), 128, np.float32)})
