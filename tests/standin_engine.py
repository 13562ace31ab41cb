"""A stand-in runs engines as TensorRT does: an engine is its ONNX graph, and ONNX Runtime runs it."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
from standin_cuda import Gpu


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


class Runtime:
    """`IRuntime`, of one GPU."""

    engine_host_code_allowed = False

    def __init__(self, gpu: Gpu, log: Log) -> None:
        self.gpu, self.log = gpu, log

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        try:
            made = json.loads(content.partition(b"\n")[0])
        except ValueError:
            self.log.log(Severity.ERROR, "Error Code 1: Serialization (magicTag does not match)")
            return None
        return Engine(self.gpu, made["shapes"], content.partition(b"\n")[2])


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


class Refitter:
    """`IRefitter`."""

    def __init__(self, engine: Engine, log: Log) -> None:
        self.engine = engine

    def refit_cuda_engine(self) -> bool:
        return self.engine.session is not None


class OnnxParserRefitter:
    """`IParserRefitter`."""

    def __init__(self, refitter: Refitter, log: Log) -> None:
        self.engine = refitter.engine

    def refit_from_file(self, path: str) -> bool:
        self.engine.load(path)
        return True


def add_runtime(module: Any, gpu: Gpu) -> None:
    """Give a module what runs an engine on a GPU."""
    module.ILogger, module.Runtime = Log, partial(Runtime, gpu)
    module.Refitter, module.OnnxParserRefitter = Refitter, OnnxParserRefitter
    module.CudaGraphStrategy, module.ExecutionContextAllocationStrategy = Strategy, Allocation
