"""A GPU by NVIDIA: its memory, one stream, and graphs of launches, over cuda-python's bindings of the CUDA runtime."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.machine import gpus
from samclip_edge.errors import InputError


class Device:
    """The first GPU. Everything goes through one stream, in order; who uses it holds `lock`."""

    def __init__(self) -> None:
        """Raises InputError where there is no GPU, or no cuda-python."""
        if not gpus():
            raise InputError(
                "TensorRT: no NVIDIA GPU here; `samclip-edge verify` and `eval` run the bundle's ONNX, and a bundle of "
                "--target onnx runs here"
            )
        try:
            from cuda.bindings import runtime
        except ImportError:
            raise InputError("TensorRT: needs cuda-python, of your CUDA's version; pip install cuda-python") from None
        self._cuda = runtime
        self._workspace: weakref.ref[Workspace] | None = None
        self.lock = threading.RLock()
        self.stream = int(self._ask("cudaStreamCreate"))

    def _ask(self, function: str, *arguments: Any) -> Any:
        """Call a function of the CUDA runtime; what it gives beside its status. Raises InputError for a bad status."""
        status, *given = getattr(self._cuda, function)(*arguments)
        if int(status):
            name = getattr(status, "name", status)
            raise InputError(f"CUDA: {function} failed ({name}); free memory on the GPU, or start again")
        return given[0] if given else None

    @functools.cached_property
    def capability(self) -> str:
        """Its compute capability, such as 8.7."""
        attributes = self._cuda.cudaDeviceAttr
        major = self._ask("cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMajor, 0)
        minor = self._ask("cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMinor, 0)
        return f"{major}.{minor}"

    def allocate(self, count: int) -> int:
        """The address of so many bytes of its memory."""
        return int(self._ask("cudaMalloc", max(count, 1)))

    def free(self, address: int) -> None:
        """Give memory back."""
        self._ask("cudaFree", address)

    def upload(self, values: npt.NDArray[Any], address: int) -> None:
        """Copy an array, whole and in C order, to the device. May be overwritten once this returns."""
        self._copy(address, values.ctypes.data, values.nbytes, "cudaMemcpyHostToDevice")
        self.wait()

    def download(self, address: int, values: npt.NDArray[Any]) -> None:
        """Copy from the device into an array, after all that was launched before."""
        self._copy(values.ctypes.data, address, values.nbytes, "cudaMemcpyDeviceToHost")
        self.wait()

    def copy(self, target: int, source: int, count: int) -> None:
        """Copy bytes within the device's memory, after all that was launched before."""
        self._copy(target, source, count, "cudaMemcpyDeviceToDevice")

    def _copy(self, target: int, source: int, count: int, kind: str) -> None:
        self._ask("cudaMemcpyAsync", target, source, count, getattr(self._cuda.cudaMemcpyKind, kind), self.stream)

    def wait(self) -> None:
        """Until all that was launched is done."""
        self._ask("cudaStreamSynchronize", self.stream)

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        """What `launch` puts on the stream, as one launch (a CUDA graph), to be made as often as wanted."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._ask("cudaStreamBeginCapture", self.stream, mode)
        try:
            launch()
        finally:
            graph = self._ask("cudaStreamEndCapture", self.stream)
        instance = self._ask("cudaGraphInstantiate", graph, 0)
        self._ask("cudaGraphDestroy", graph)

        def replay() -> None:
            self._ask("cudaGraphLaunch", instance, self.stream)

        weakref.finalize(replay, self._ask, "cudaGraphExecDestroy", instance).atexit = False
        return replay

    def workspace(self) -> Workspace:
        """The one that others hold now, or a new one."""
        held = self._workspace() if self._workspace else None
        if held is None:
            held = Workspace(self)
            self._workspace = weakref.ref(held)
        return held


class Workspace:
    """Memory for what launches hold only while they run: one for all of them, as they take turns."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._block = [0, 0]
        weakref.finalize(self, _give_back, device, self._block).atexit = False

    def reserve(self, count: int) -> tuple[int, int]:
        """Its address and bytes, of which there are at least so many. Where it must grow it moves."""
        if self._block[1] < count:
            _give_back(self._device, self._block)
            self._block[:] = self._device.allocate(count), count
        address, size = self._block
        return address, size


def _give_back(device: Device, block: list[int]) -> None:
    address, size = block
    block[:] = 0, 0
    if size:
        device.free(address)


class DeviceArray:
    """An array in the device's memory, which numpy copies to the host when it is asked for there."""

    def __init__(
        self, device: Device, address: int, shape: tuple[int, ...], release: Callable[[int], None] | None = None
    ) -> None:
        """float32 at `address`. release: is given the address when nobody holds the array any more."""
        self.device, self.address, self.shape, self._release = device, address, shape, release

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return 4 * int(np.prod(self.shape))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        values = np.empty(self.shape, np.float32)
        with self.device.lock:
            self.device.download(self.address, values)
        return values if dtype is None else values.astype(dtype)

    def __del__(self) -> None:
        if self._release:
            self._release(self.address)


@functools.cache
def the_device() -> Device:
    """The GPU, opened once a process."""
    return Device()
