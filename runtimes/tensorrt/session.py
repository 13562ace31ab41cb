"""TensorRT and TensorRT-RTX on an NVIDIA GPU, without torch. Elsewhere ONNX Runtime runs the same graphs as a check.

What one graph hands to another (tokens, embedding, sparse, dense) stays in the GPU's memory. Only photos, prompts and
texts go in; only masks, their predicted IoUs and features come out.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from samclip_edge.bundle.contract import Array, Arrays, Tensor, signature, sized
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import BuiltEngines, Graph
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.errors import InputError
from samclip_edge.runtimes.base import OpenSession
from samclip_edge.runtimes.tensorrt.cuda import Device, DeviceArray, the_device
from samclip_edge.runtimes.tensorrt.library import first_error, load_module, logger, the_runtime, version


def check_engines(folder: Path, engines: BuiltEngines, capability: str) -> None:
    """Raise InputError if engines were built for another GPU or, unless portable, by another version than runs here."""
    mend = f"build them here: sh {folder / 'build.sh'}"
    if capability not in engines.capabilities:
        made_for = ", ".join(engines.capabilities)
        raise InputError(f"{folder}: engines for compute capability {made_for}; this GPU is {capability}; {mend}")
    here = version(engines.builder)
    if here != engines.version and not engines.portable:
        raise InputError(f"{folder}: engines of {engines.builder} {engines.version}; here is {here}; {mend}")


class TensorRTSession:
    """One built engine. The buffers of its inputs and outputs are kept between calls."""

    def __init__(self, bundle: Bundle, graph: Graph) -> None:
        """Raises InputError when there is no GPU, and for an engine that is missing, or not for this machine."""
        device, engines = the_device(), bundle.manifest.built_engines
        if graph.built_engine is None or engines is None:
            raise InputError(f"{bundle.folder}: has no engines yet; build them here: sh {bundle.folder / 'build.sh'}")
        check_engines(bundle.folder, engines, device.capability)
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = load_module(engines.builder)
        path = bundle.folder / graph.built_engine.path
        runtime: trt.Runtime = the_runtime(engines.builder)
        log = logger(engines.builder)
        log.errors.clear()
        if engines.portable:
            runtime.engine_host_code_allowed = True  # it runs code of the file, which was checked against the manifest
        engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise InputError(f"{path}: {engines.builder} refuses it ({first_error(log)}); build it again: sh build.sh")
        if engines.stripped:
            refitter, onnx = trt.Refitter(engine, log), bundle.folder / graph.files[0].path
            if not (trt.OnnxParserRefitter(refitter, log).refit_from_file(str(onnx)) and refitter.refit_cuda_engine()):
                raise InputError(f"{path}: its weights do not fit ({first_error(log)}); build it again: sh build.sh")
        self._device, self._engine, self._path, self._log = device, engine, path, log
        self._signature = graph.signature
        self._captures = engines.builder == "tensorrt"  # TensorRT-RTX does it by itself (`_launch`)
        ours = trt.ExecutionContextAllocationStrategy.USER_MANAGED  # else it takes memory for the most prompts
        if self._captures:
            self._context: trt.IExecutionContext = engine.create_execution_context(ours)
        else:
            how = engine.create_runtime_config()
            how.set_execution_context_allocation_strategy(ours)
            how.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE  # type: ignore[attr-defined]
            self._context = engine.create_execution_context(how)
        if self._context is None:
            raise InputError(f"{path}: {engines.builder} cannot run it ({first_error(log)}); free memory on the GPU")
        spec = bundle.manifest.spec
        self._handed = {
            tensor.name
            for name in sized(spec)
            for tensor in signature(spec, name, graph.size or bundle.manifest.sizes[0]).inputs
        }
        self._buffers: dict[str, tuple[int, int]] = {}  # of inputs and outputs, by name: address, bytes
        self._spare: dict[int, list[int]] = {}  # free addresses of outputs that were handed over, by their bytes
        self._shapes: dict[str, tuple[int, ...]] = {}  # of the inputs in the last call
        self._workspace, self._needed = device.workspace(), 0  # and the bytes that those shapes need
        self._places: dict[str, int] = {}  # the addresses of all inputs and outputs in the last call
        self._block = (0, 0)  # the workspace in the last call: address, bytes
        self._again: Callable[[], None] | None = None  # replays the last call, once it is captured
        weakref.finalize(self, _free, device, self._buffers, self._spare).atexit = False

    def run(self, inputs: Arrays) -> Arrays:
        """See `Session.run`. Raises InputError for more prompts, points or texts than the engine was built for."""
        with self._device.lock:
            shapes = {each.name: tuple(inputs[each.name].shape) for each in self._signature.inputs}
            if shapes != self._shapes:
                self._shape(shapes)
            places = {each.name: self._input(each, inputs[each.name]) for each in self._signature.inputs}
            given = {each.name: _sides(self._context.get_tensor_shape(each.name)) for each in self._signature.outputs}
            places |= {name: self._buffer(name, 4 * math.prod(shape)) for name, shape in given.items()}
            self._launch(places, self._workspace.reserve(self._needed))
            outputs = {name: self._output(name, shape, places[name]) for name, shape in given.items()}
            self._device.wait()
            return outputs

    def _shape(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Set the shapes of the inputs, all of which must be within the engine's profile."""
        self._shapes, self._places = {}, {}
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                least, _, most = (_sides(each) for each in self._engine.get_tensor_profile_shape(name, 0))
                raise InputError(f"{self._path}: takes {name} of {least} to {most}, not {shape}; give less at once")
        # 0 may also mean an error: then take what is enough for any shapes. 1, because a workspace cannot be empty.
        self._needed = self._context.update_device_memory_size_for_shapes() or self._engine.device_memory_size_v2 or 1
        self._shapes = shapes

    def _input(self, tensor: Tensor, values: Any) -> int:
        """Copy an input into its buffer. Returns the address, which is the same in every call with the same shape."""
        if isinstance(values, DeviceArray) and values.device is self._device:
            address = self._buffer(tensor.name, values.nbytes)
            self._device.copy(address, values.address, values.nbytes)
        else:
            array = np.ascontiguousarray(values, tensor.dtype)
            address = self._buffer(tensor.name, array.nbytes)
            self._device.upload(array, address)
        return address

    def _buffer(self, name: str, count: int) -> int:
        """The address of a buffer of at least `count` bytes: the last call's, if it is large enough."""
        address, size = self._buffers.get(name, (0, -1))
        if size < count:
            if size >= 0:
                self._device.free(address)
            address = self._device.allocate(count)
            self._buffers[name] = address, count
        return address

    def _launch(self, places: dict[str, int], block: tuple[int, int]) -> None:
        """Run the engine. The second call with the same shapes and addresses is captured as a CUDA graph and replayed.

        TensorRT-RTX is not captured here. It captures by itself, once it has replaced general kernels by kernels for
        the shapes.
        """
        if (places, block) != (self._places, self._block):
            self._places, self._again = {}, None
            self._context.set_device_memory(*block)
            for name, address in places.items():
                self._context.set_tensor_address(name, address)
            self._execute()
            self._places, self._block = places, block
        elif not self._captures:
            self._execute()
        else:
            self._again = self._again or self._device.capture(self._execute)
            self._again()

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._device.stream):
            raise InputError(f"{self._path}: did not run ({first_error(self._log)}); free memory on the GPU")

    def _output(self, name: str, shape: tuple[int, ...], address: int) -> Array:
        """Copy an output to the host; or, if another graph takes it in, to GPU memory.

        A later call does not overwrite that memory while somebody holds the output.
        """
        array = DeviceArray(self._device, address, shape)
        if name not in self._handed:
            return np.asarray(array)
        spare = self._spare.setdefault(array.nbytes, [])
        kept = spare.pop() if spare else self._device.allocate(array.nbytes)
        self._device.copy(kept, address, array.nbytes)
        return cast("Array", DeviceArray(self._device, kept, shape, spare.append))


def _sides(dims: Any) -> tuple[int, ...]:
    """An engine's `Dims` as a tuple: its type stubs do not say that it is a sequence."""
    return tuple(dims)


def _free(device: Device, buffers: dict[str, tuple[int, int]], spare: dict[int, list[int]]) -> None:
    for address in (*(each for each, _ in buffers.values()), *(each for some in spare.values() for each in some)):
        device.free(address)


def _open(bundle: Bundle, graph: Graph, options: SessionOptions) -> TensorRTSession:
    return TensorRTSession(bundle, graph)


open_session: OpenSession = _open
