"""An NVIDIA GPU: its memory, one stream, and CUDA graphs, through cuda-python's bindings of the CUDA runtime."""

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
    """The first GPU. Everything goes through one stream, in order. A caller holds `lock` while it uses the GPU."""

    def __init__(self) -> None:
        """Raises InputError when there is no GPU, or no cuda-python."""
        if not gpus():
            raise InputError(
                "TensorRT: no NVIDIA GPU here; `samclip-edge verify` and `eval` run the bundle's ONNX, and one for "
                "target onnx runs here"
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
        """Call a function of the CUDA runtime. Returns its result. Raises InputError when its status is an error."""
        status, *given = getattr(self._cuda, function)(*arguments)
        if int(status):
            name = getattr(status, "name", status)
            raise InputError(f"CUDA: {function} failed ({name}); free memory on the GPU, or start again")
        return given[0] if given else None

    @functools.cached_property
    def capability(self) -> str:
        """The compute capability of the GPU, such as 8.7."""
        attributes = self._cuda.cudaDeviceAttr
        major = self._ask("cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMajor, 0)
        minor = self._ask("cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMinor, 0)
        return f"{major}.{minor}"

    def allocate(self, count: int) -> int:
        """Allocate `count` bytes of the GPU's memory. Returns their address."""
        return int(self._ask("cudaMalloc", max(count, 1)))

    def free(self, address: int) -> None:
        """Free what `allocate` gave."""
        self._ask("cudaFree", address)

    def upload(self, values: npt.NDArray[Any], address: int) -> None:
        """Copy an array to the device; it must be contiguous, in C order. It may be overwritten once this returns."""
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
        """Wait until all that was launched is done."""
        self._ask("cudaStreamSynchronize", self.stream)

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        """Capture what `launch` puts on the stream as a CUDA graph. Returns a function that launches the graph."""
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
        """The workspace that others hold now, or a new one if nobody holds one."""
        held = self._workspace() if self._workspace else None
        if held is None:
            held = Workspace(self)
            self._workspace = weakref.ref(held)
        return held


class Workspace:
    """Memory that a launch needs only while it runs. All launches share it, because they run one after the other."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._block = [0, 0]
        weakref.finalize(self, _give_back, device, self._block).atexit = False

    def reserve(self, count: int) -> tuple[int, int]:
        """Make it at least `count` bytes. Returns its address and its bytes. The address changes when it grows."""
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
    """An array in the GPU's memory. numpy copies it to the host when it makes an array of it."""

    def __init__(
        self, device: Device, address: int, shape: tuple[int, ...], release: Callable[[int], None] | None = None
    ) -> None:
        """float32 at `address`. release: called with the address when nobody holds the array any more."""
        self.device, self.address, self.shape, self._release = device, address, shape, release

    @property
    def nbytes(self) -> int:
        """The size of the array in bytes."""
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
    """The GPU, opened once in a process."""
    return Device()
