"""The options of one target: a validated object each. A check raises InputError that names the command's option."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from samclip_edge.bundle.manifest import BuilderName
from samclip_edge.errors import InputError

Minimum = Literal["iOS16", "iOS17", "iOS18"]


@dataclass(frozen=True)
class CoreMLOptions:
    """Of `--target coreml`."""

    minimum: Minimum = "iOS18"  # the least system; in letters of any case
    image_input: bool = False  # the encoder takes an image (a CVPixelBuffer) in place of an array
    points: int | None = None  # one prompt in a call, of so many points; None leaves both open, in ranges

    def __post_init__(self) -> None:
        known = {each.lower(): each for each in get_args(Minimum)}
        if self.minimum.lower() not in known:
            raise InputError(f"--minimum-target {self.minimum}: give {', '.join(get_args(Minimum))}")
        object.__setattr__(self, "minimum", known[self.minimum.lower()])


@dataclass(frozen=True)
class TensorRTOptions:
    """Of `--target tensorrt`: how engines are built."""

    builder: BuilderName | None = None  # the one that is installed where None
    capabilities: tuple[str, ...] = ()  # of `tensorrt_rtx`: what to build for; the GPU that is here where empty
    portable: bool = False  # version-compatible engines, of `tensorrt`
    stripped: bool = False  # engines without weights
    timing_cache: Path | None = None  # of `tensorrt`: kernel times, read where it is there and added to
    only_onnx: bool = False  # no engine: it is built on the device, by trtexec

    def __post_init__(self) -> None:
        if self.builder not in (None, *get_args(BuilderName)):
            raise InputError(f"--builder {self.builder}: no such builder; give {' or '.join(get_args(BuilderName))}")
        of_builders = {
            "--builder": self.builder,
            "--compute-capability": self.capabilities,
            "--timing-cache": self.timing_cache,
        }
        for option in (name for name, value in of_builders.items() if value and self.only_onnx):
            raise InputError(f"{option}: with --onnx-only nothing is built here; leave one of them out")
