"""A stand-in for TensorRT and its tools where there is no GPU (`standin_cuda`): an engine is its ONNX graph.

It keeps the parts of the interface that the runtime and the builder use, and refuses what the real one refuses.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from standin_cuda import Gpu, cuda

from samclip_edge.bundle import sessions
from samclip_edge.export.targets import tensorrt_builders
from samclip_edge.runtimes.tensorrt import cuda as our_cuda
from samclip_edge.runtimes.tensorrt import library


def engine_bytes(path: str, shapes: dict[str, Any], stripped: bool) -> bytes:
    """The stand-in of an engine: the shapes that its inputs may have, and the ONNX graph with its weights."""
    model = b"" if stripped else onnx.load(path).SerializeToString()
    return json.dumps({"shapes": shapes, "stripped": stripped}).encode() + b"\n" + model


def scratch(shapes: Iterable[Sequence[int]]) -> int:
    """Bytes that the stand-in of an engine writes to while it runs, by the shapes of its inputs."""
    return sum(4 * math.prod(shape) for shape in shapes)


class Severity(IntEnum):
    ERROR = 1
    INFO = 3


class Log:
    """`ILogger`."""

    ERROR = Severity.ERROR
    log: Callable[..., None]


class Engine:
    """`ICudaEngine`."""

    def __init__(self, gpu: Gpu, shapes: dict[str, Any], model: bytes) -> None:
        self.gpu, self.open, self.session = gpu, shapes, None
        self.known: dict[Any, dict[str, tuple[int, ...]]] = {}
        if model:
            self.load(model)

    def load(self, model: bytes | str) -> None:
        """Take in weights."""
        self.session: Any = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.types = {each.name: np.int32 if "int32" in each.type else np.float32 for each in self.session.get_inputs()}
        self.profile = {each.name: [each.shape] * 3 for each in self.session.get_inputs()} | self.open

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, how: Allocation | RuntimeConfig) -> Context:
        assert self.session, "an engine without weights cannot run"
        config = how if isinstance(how, RuntimeConfig) else RuntimeConfig()
        if isinstance(how, Allocation):
            config.set_execution_context_allocation_strategy(how)
        return Context(self, config)

    @property
    def device_memory_size_v2(self) -> int:
        return scratch(most for _, _, most in self.profile.values())

    def get_tensor_profile_shape(self, name: str, index: int) -> list[list[int]]:
        return self.profile[name]

    def run(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [each.name for each in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, values), strict=True))


class Strategy(IntEnum):
    """`CudaGraphStrategy`, of TensorRT-RTX."""

    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class Allocation(IntEnum):
    """`ExecutionContextAllocationStrategy`."""

    STATIC = 0
    USER_MANAGED = 2


class RuntimeConfig:
    """`IRuntimeConfig`."""

    cuda_graph_strategy = Strategy.DISABLED

    def set_execution_context_allocation_strategy(self, strategy: Allocation) -> None:
        assert strategy == Allocation.USER_MANAGED, "another takes memory for the most prompts"


class Context:
    """`IExecutionContext`."""

    def __init__(self, engine: Engine, config: RuntimeConfig) -> None:
        self.engine, self.config = engine, config
        self.shapes, self.addresses = dict[str, tuple[int, ...]](), dict[str, int]()
        self.needs, self.memory = 1 << 60, (0, 0)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.profile[name]
        within = len(shape) == len(most) and all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))
        if within:
            self.shapes[name], self.needs = shape, 1 << 60
        return within

    def update_device_memory_size_for_shapes(self) -> int:
        self.needs = scratch(self.shapes.values())
        return self.needs

    def set_device_memory(self, memory: int, size: int) -> None:
        self.memory = memory, size

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        known, key = self.engine.known, tuple(self.shapes.items())
        if key not in known:
            zeros = {each: np.zeros(shape, self.engine.types[each]) for each, shape in self.shapes.items()}
            known[key] = {each: values.shape for each, values in self.engine.run(zeros).items()}
        return known[key][name]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        gpu, shapes, addresses = self.engine.gpu, dict(self.shapes), dict(self.addresses)
        memory, needs = self.memory, self.needs
        assert memory[1] >= needs, "less memory than the shapes need"

        def launch() -> None:
            gpu.check(memory[0], needs)
            gpu.workspaces.add(memory[0])
            ctypes.memset(memory[0], 0xFF, needs)  # it is written to, and nothing that was there may be wanted after
            values = {name: np.empty(shape, self.engine.types[name]) for name, shape in shapes.items()}
            for name, given in values.items():
                gpu.check(addresses[name], given.nbytes)
                ctypes.memmove(given.ctypes.data, addresses[name], given.nbytes)
            for name, out in self.engine.run(values).items():
                gpu.check(addresses[name], out.nbytes)
                ctypes.memmove(addresses[name], np.ascontiguousarray(out).ctypes.data, out.nbytes)

        if gpu.capturing is not None:
            gpu.capturing.append(launch)
        else:
            gpu.count["launches"] += 1
            gpu.count["captured by the engine"] += self.config.cuda_graph_strategy
            launch()
        return True


def tensorrt(gpu: Gpu) -> ModuleType:
    """`tensorrt` 10.3: what runs an engine, and what builds one."""
    module: Any = ModuleType("tensorrt")
    module.__version__ = "10.3.0"
    module.configs = []  # of each build

    class Runtime:
        engine_host_code_allowed = False

        def __init__(self, log: Log) -> None:
            self.log = log

        def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
            try:
                made = json.loads(content.partition(b"\n")[0])
            except ValueError:
                self.log.log(Severity.ERROR, "Error Code 1: Serialization (magicTag does not match)")
                return None
            return Engine(gpu, made["shapes"], content.partition(b"\n")[2])

    class Refitter:
        def __init__(self, engine: Engine, log: Log) -> None:
            self.engine = engine

        def refit_cuda_engine(self) -> bool:
            return self.engine.session is not None

    class OnnxParserRefitter:
        def __init__(self, refitter: Refitter, log: Log) -> None:
            self.engine = refitter.engine

        def refit_from_file(self, path: str) -> bool:
            self.engine.load(path)
            return True

    class Flags(IntEnum):
        STRONGLY_TYPED = 1
        VERSION_COMPATIBLE = 2
        STRIP_PLAN = 3
        DETAILED = 4
        TF32 = 5

    class Network:
        num_outputs = 1
        path = ""

    class Parser:
        num_errors = 0

        def __init__(self, network: Network, log: Log) -> None:
            self.network = network

        def parse_from_file(self, path: str) -> bool:
            self.network.path = path
            return True

    class Profile:
        def __init__(self) -> None:
            self.shapes: dict[str, Any] = {}

        def set_shape(self, name: str, *bounds: list[int]) -> None:
            self.shapes[name] = bounds

    class Times:
        def __init__(self, content: bytes) -> None:
            self.content = content + b"+"

        def serialize(self) -> bytes:
            return self.content

    class Config:
        def __init__(self) -> None:
            self.flags = {Flags.TF32}  # on where nobody clears it
            self.preview: dict[Any, bool] = {}
            self.set_preview_feature = self.preview.__setitem__
            self.shapes: dict[str, Any] = {}
            module.configs.append(self)

        def set_flag(self, flag: Flags) -> None:
            self.flags.add(flag)

        def clear_flag(self, flag: Flags) -> None:
            self.flags.discard(flag)

        def add_optimization_profile(self, profile: Profile) -> None:
            self.shapes = profile.shapes

        def create_timing_cache(self, content: bytes) -> Times:
            return Times(content)

        def set_timing_cache(self, times: Times, ignore: bool) -> bool:
            self.times = times
            return not times.content.startswith(b"another GPU")

        def get_timing_cache(self) -> Times:
            return self.times

    class Builder:
        def __init__(self, log: Log) -> None:
            self.create_builder_config, self.create_optimization_profile = Config, Profile

        def create_network(self, flags: int) -> Network:
            assert flags == 1 << Flags.STRONGLY_TYPED
            return Network()

        def build_serialized_network(self, network: Network, config: Config) -> bytes:
            return engine_bytes(network.path, config.shapes, Flags.STRIP_PLAN in config.flags)

    module.ILogger, module.Runtime, module.Builder, module.OnnxParser, module.Dims = Log, Runtime, Builder, Parser, list
    module.Refitter, module.OnnxParserRefitter = Refitter, OnnxParserRefitter
    module.CudaGraphStrategy, module.ExecutionContextAllocationStrategy = Strategy, Allocation
    module.PreviewFeature = IntEnum("PreviewFeature", {"ALIASED_PLUGIN_IO_10_03": 1})  # of 10.3; the next came later
    module.NetworkDefinitionCreationFlag = module.BuilderFlag = module.ProfilingVerbosity = Flags
    return module


@contextmanager
def jetson(patch: pytest.MonkeyPatch, capability: str = "8.7") -> Iterator[tuple[Gpu, Any]]:
    """A machine with a GPU and `tensorrt`, and nothing else: the GPU's state, and the module."""
    gpu = Gpu(capability)
    engine, bindings, runtime = tensorrt(gpu), ModuleType("cuda.bindings"), cuda(gpu)
    bindings.runtime = runtime  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "cuda.bindings", bindings)
    patch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    patch.setitem(sys.modules, "tensorrt", engine)
    patch.setattr(library, "_MODULES", {"tensorrt": ("tensorrt",), "tensorrt_rtx": ("no_such_module",)})
    patch.setattr(library, "find_spec", lambda name: sys.modules.get(name) and Spec())
    for module in (sessions, our_cuda, tensorrt_builders):
        patch.setattr(module, "gpus", lambda: 1)
    forget()
    yield gpu, engine
    forget()


class Spec:
    """Where a module came from, for `find_spec`."""

    origin = "here"


def forget() -> None:
    """Let go of a device and its runtime."""
    our_cuda.the_device.cache_clear()
    library.the_runtime.cache_clear()
    library.logger.cache_clear()


def trtexec(version: str, arguments: list[str]) -> None:
    """The stand-in of a version's trtexec, which `build.sh` runs."""
    given = dict(each.removeprefix("--").partition("=")[::2] for each in arguments)
    resizes = version != "10.3"
    if "help" in given:
        print("--preview=spec", '"runtimeActivationResize"' if resizes else '"profileSharing0806"')
        return
    assert given.get("preview") == ("+runtimeActivationResize" if resizes else None)
    assert {"stronglyTyped", "noTF32"} <= set(given)
    shapes: dict[str, list[list[int]]] = {}
    for bound in ("min", "opt", "max"):
        for each in filter(None, given.get(f"{bound}Shapes", "").split(",")):
            name, _, sides = each.partition(":")
            shapes.setdefault(name, []).append([int(side) for side in sides.split("x")])
    Path(given["saveEngine"]).write_bytes(engine_bytes(given["onnx"], shapes, "stripWeights" in given))


if __name__ == "__main__":
    trtexec(sys.argv[1], sys.argv[2:])
