"""The options of each target, a validated dataclass each. A bad value raises InputError that names the field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from samclip_edge.bundle.manifest import BuilderName, Precision
from samclip_edge.errors import InputError

# The most in one call of a graph: what the pipeline sends, what a hand clicks, and CLIP's context.
PROMPTS, POINTS, TOKENS = 64, 32, 77
STATIC_POINTS = 2  # of a static graph: a click and the point after it, or the corners of a box
MEASURED_POINTS = (2, 3)  # of the prompts that int8 is measured on: a box or a click, and two clicks
Minimum = Literal["iOS16", "iOS17", "iOS18"]
Int8Way = Literal["dynamic", "static", "weights"]


@dataclass(frozen=True)
class OnnxOptions:
    """Options of `--target onnx`."""

    static: bool = False  # one prompt a call, of `STATIC_POINTS` points; else each call chooses both numbers
    qdq: bool = False  # int8 by pairs of QuantizeLinear and DequantizeLinear; of precision int8 only

    def check(self, precision: Precision) -> None:
        """Raise InputError for `qdq` in another precision than int8."""
        if self.qdq and precision != "int8":
            raise InputError(f": is of precision int8, not of {precision}; leave it out", "qdq")


@dataclass(frozen=True)
class CoreMLOptions:
    """Options of `--target coreml`. Raises InputError for a `minimum` that is not known."""

    minimum: Minimum = "iOS18"  # the oldest system that runs the packages; upper and lower case are alike
    image_input: bool = False  # the encoder takes an image (a CVPixelBuffer), not an array
    points: int | None = None  # one prompt a call, of this many points; None leaves both numbers open, in ranges

    def __post_init__(self) -> None:
        known = {each.lower(): each for each in get_args(Minimum)}
        if self.minimum.lower() not in known:
            raise InputError(f" {self.minimum}: give {', '.join(get_args(Minimum))}", "minimum")
        if self.points is not None and self.points < 1:
            raise InputError(f" {self.points}: give 1 or more points", "points")
        object.__setattr__(self, "minimum", known[self.minimum.lower()])


@dataclass(frozen=True)
class LiteRTOptions:
    """Options of `--target litert`. Raises InputError for a way of int8 that is not known, and for too few points."""

    points: int | None = None  # one prompt a call, of this many points; None: signatures for several numbers of both
    int8: Int8Way = "dynamic"  # of precision int8 only: how products are computed; see `precision.tflite.requantised`

    def __post_init__(self) -> None:
        if self.int8 not in get_args(Int8Way):
            raise InputError(f" {self.int8}: give {', '.join(get_args(Int8Way))}", "int8")
        if self.points is not None and self.points < 2:
            raise InputError(f" {self.points}: give 2 or more points; a click has two", "points")

    def check(self, precision: Precision) -> None:
        """Raise InputError for a way of int8 in another precision, and for prompts that int8 is not measured on."""
        if self.int8 != "dynamic" and precision != "int8":
            raise InputError(f": is of precision int8, not of {precision}; leave it out", "int8")
        if precision == "int8" and self.points not in (None, *MEASURED_POINTS):
            measured = " or ".join(map(str, MEASURED_POINTS))
            raise InputError(f" {self.points}: int8 is measured on prompts of {measured} points; give that", "points")


@dataclass(frozen=True)
class TensorRTOptions:
    """Options of `--target tensorrt`: how engines are built.

    Raises InputError for an unknown builder, and for options of a builder beside `only_onnx`.
    """

    builder: BuilderName | None = None  # None: the first that is installed
    capabilities: tuple[str, ...] = ()  # `tensorrt_rtx` only: the GPUs to build for; empty: the GPU that is here
    portable: bool = False  # `tensorrt` only: build version-compatible engines
    stripped: bool = False  # build engines without weights
    timing_cache: Path | None = None  # `tensorrt` only: kernel times, read if the file exists, then added to
    only_onnx: bool = False  # build no engine here; trtexec builds it on the device

    def __post_init__(self) -> None:
        if self.builder not in (None, *get_args(BuilderName)):
            raise InputError(f" {self.builder}: no such builder; give {' or '.join(get_args(BuilderName))}", "builder")
        for each in self.capabilities:
            if not re.fullmatch(r"\d+\.\d+", each):
                raise InputError(f" {each}: give a number such as 8.9", "capabilities")
        of_builders = {
            "builder": self.builder,
            "capabilities": self.capabilities,
            "timing_cache": self.timing_cache,
        }
        for name in (name for name, value in of_builders.items() if value and self.only_onnx):
            raise InputError(": is for engines, and only the ONNX is asked for; leave one of them out", name)


Options = OnnxOptions | CoreMLOptions | TensorRTOptions | LiteRTOptions
