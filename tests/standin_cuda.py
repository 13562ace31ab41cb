"""A stand-in for a GPU and the CUDA runtime: its memory is the host's.

It refuses what the real one refuses (a copy past the end of an allocation, an address that was freed, a copy that is
captured), and counts what crosses between host and device.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any


class Gpu:
    """The state of the CUDA stand-in."""

    def __init__(self, capability: str) -> None:
        self.major, self.minor = map(int, capability.split("."))
        self.memory: dict[int, Any] = {}  # by address
        self.count: Counter[str] = Counter()  # bytes up, down and across; launches, captures, replays
        self.workspaces: set[int] = set()  # addresses of what launches wrote to while they ran
        self.capturing: list[Callable[[], None]] | None = None

    def check(self, address: int, count: int) -> None:
        """Raise where bytes lie outside what was allocated."""
        for start, block in self.memory.items():
            if start <= address and address + count <= start + len(block):
                return
        raise AssertionError(f"{count} bytes at {address:#x} are not the device's")


class Kind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class Mode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


class Attribute(IntEnum):
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


def cuda(gpu: Gpu) -> ModuleType:
    """`cuda.bindings.runtime`."""
    module: Any = ModuleType("cuda.bindings.runtime")

    module.cudaMemcpyKind, module.cudaStreamCaptureMode, module.cudaDeviceAttr = Kind, Mode, Attribute

    def allocate(count: int) -> tuple[int, int]:
        block = ctypes.create_string_buffer(b"\xff" * count, count)  # NaN, as floats: what is not written shows
        gpu.memory[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def free(address: int) -> tuple[int]:
        del gpu.memory[address]
        return (0,)

    def copy(target: int, source: int, count: int, kind: Kind, stream: int) -> tuple[int]:
        assert gpu.capturing is None, "a copy from pageable memory may not be captured"
        if kind != Kind.cudaMemcpyHostToDevice:
            gpu.check(source, count)
        if kind != Kind.cudaMemcpyDeviceToHost:
            gpu.check(target, count)
        gpu.count[kind.name] += count
        ctypes.memmove(target, source, count)
        return (0,)

    def begin(stream: int, mode: Mode) -> tuple[int]:
        gpu.capturing = []
        return (0,)

    def end(stream: int) -> tuple[int, Any]:
        captured, gpu.capturing = gpu.capturing, None
        gpu.count["captures"] += 1
        return 0, captured

    def launch(captured: list[Callable[[], None]], stream: int) -> tuple[int]:
        gpu.count["replays"] += 1
        for each in captured:
            each()
        return (0,)

    module.cudaStreamCreate = lambda: (0, 7)
    module.cudaStreamSynchronize = lambda stream: (0,)
    module.cudaDeviceGetAttribute = lambda attribute, device: (0, gpu.major if attribute == 75 else gpu.minor)
    module.cudaMalloc, module.cudaFree, module.cudaMemcpyAsync = allocate, free, copy
    module.cudaStreamBeginCapture, module.cudaStreamEndCapture = begin, end
    module.cudaGraphInstantiate = lambda graph, flags: (0, graph)
    module.cudaGraphDestroy = module.cudaGraphExecDestroy = lambda graph: (0,)
    module.cudaGraphLaunch = launch
    return module
