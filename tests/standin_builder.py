"""A stand-in builds engines as TensorRT does: an engine is its ONNX graph."""

from __future__ import annotations

import json
from enum import IntEnum
from functools import partial
from typing import Any

import onnx


def engine_bytes(path: str, shapes: dict[str, Any], stripped: bool) -> bytes:
    """The stand-in of an engine: the shapes that its inputs may have, and the ONNX graph with its weights."""
    model = b"" if stripped else onnx.load(path).SerializeToString()
    return json.dumps({"shapes": shapes, "stripped": stripped}).encode() + b"\n" + model


class Flags(IntEnum):
    """The flags of a network and of a build, and how much an engine tells of itself."""

    STRONGLY_TYPED = 1
    VERSION_COMPATIBLE = 2
    STRIP_PLAN = 3
    DETAILED = 4
    TF32 = 5


class Network:
    """`INetworkDefinition`."""

    num_outputs = 1
    path = ""


class Parser:
    """`OnnxParser`."""

    num_errors = 0

    def __init__(self, network: Network, log: Any) -> None:
        self.network = network

    def parse_from_file(self, path: str) -> bool:
        self.network.path = path
        return True


class Profile:
    """`IOptimizationProfile`."""

    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, *bounds: list[int]) -> None:
        self.shapes[name] = bounds


class Times:
    """`ITimingCache`: one `+` is one build more."""

    def __init__(self, content: bytes) -> None:
        self.content = content + b"+"

    def serialize(self) -> bytes:
        return self.content


class Config:
    """`IBuilderConfig`."""

    def __init__(self) -> None:
        self.flags = {Flags.TF32}  # on where nobody clears it
        self.preview: dict[Any, bool] = {}
        self.set_preview_feature = self.preview.__setitem__
        self.shapes: dict[str, Any] = {}

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
    """`IBuilder`. `configs` gets what each build is asked for."""

    def __init__(self, configs: list[Config], log: Any) -> None:
        self.configs, self.create_optimization_profile = configs, Profile

    def create_builder_config(self) -> Config:
        self.configs.append(Config())
        return self.configs[-1]

    def create_network(self, flags: int) -> Network:
        assert flags == 1 << Flags.STRONGLY_TYPED
        return Network()

    def build_serialized_network(self, network: Network, config: Config) -> bytes:
        return engine_bytes(network.path, config.shapes, Flags.STRIP_PLAN in config.flags)


def add_builder(module: Any) -> None:
    """Give a module what builds an engine."""
    module.configs = []  # of each build
    module.Builder, module.OnnxParser, module.Dims = partial(Builder, module.configs), Parser, list
    module.PreviewFeature = IntEnum("PreviewFeature", {"ALIASED_PLUGIN_IO_10_03": 1})  # of 10.3; the next came later
    module.NetworkDefinitionCreationFlag = module.BuilderFlag = module.ProfilingVerbosity = Flags
