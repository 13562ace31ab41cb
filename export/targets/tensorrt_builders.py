"""TensorRT's two builders behind one interface: typed ONNX in, a built engine out, or one line that says why not.

`tensorrt` times kernels on the GPU that is here, and builds for it alone. `tensorrt_rtx` needs no GPU: it builds for
the compute capabilities that it is given, and leaves the last step to the machine that loads the engine. This file
needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from samclip_edge.bundle.contract import Signature, Tensor
from samclip_edge.bundle.machine import gpus
from samclip_edge.bundle.manifest import BuilderName
from samclip_edge.bundle.sizes import PHOTOS
from samclip_edge.errors import InputError
from samclip_edge.export.options import POINTS, PROMPTS, TOKENS, TensorRTOptions
from samclip_edge.files import write_whole
from samclip_edge.runtimes.tensorrt.cuda import the_device
from samclip_edge.runtimes.tensorrt.library import first_error, load_module, logger, version

# A box is two points; a click is one and a padding point; a text is a short phrase.
_USUAL = {"I": 1, "B": 1, "M": 1, "N": 2, "L": 12}
_LEAST = {"I": 1, "B": 1, "M": 1, "N": 0, "L": 1}  # a prompt of a mask alone has no points
_JETSONS = ("7.2", "8.7", "11.0")  # their compute capabilities
# The least, the usual and the most of each input with open dimensions, by its name.
Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


def profile(signature: Signature) -> Shapes:
    """The optimisation profile of a graph: the shapes that its inputs with open dimensions (I, B, M, N, L) may have."""
    bounds = _LEAST, _USUAL, {"I": PHOTOS, "B": PROMPTS, "M": PROMPTS, "N": POINTS, "L": TOKENS}
    return {
        tensor.name: (_sides(tensor, bounds[0]), _sides(tensor, bounds[1]), _sides(tensor, bounds[2]))
        for tensor in signature.inputs
        if any(isinstance(side, str) for side in tensor.shape)
    }


def _sides(tensor: Tensor, chosen: dict[str, int]) -> tuple[int, ...]:
    return tuple(side if isinstance(side, int) else chosen[side] for side in tensor.shape)


def choose(options: TensorRTOptions) -> Builder:
    """The builder that the options name, or else the first that is installed.

    Raises InputError when it is not installed, or cannot do what the options ask.
    """
    installed = [name for name in get_args(BuilderName) if _is_installed(name)]
    if options.builder is None and not installed:
        raise InputError(
            ": none of TensorRT's is installed; pip install 'samclip-edge[tensorrt]' for TensorRT-RTX's, or ask for "
            "the ONNX only and build on the device",
            "builder",
        )
    builder = options.builder or installed[0]
    load_module(builder)  # raises InputError if it is not installed
    if builder == "tensorrt":
        if options.capabilities:
            raise InputError(
                f" {options.capabilities[0]}: tensorrt builds for the GPU here; leave it out", "capabilities"
            )
        if options.timing_cache is not None and not options.timing_cache.parent.is_dir():
            raise InputError(f" {options.timing_cache}: its folder is not there; make it first", "timing_cache")
        return Builder(builder, options, (the_device().capability,))
    for name, asked in (("portable", options.portable), ("timing_cache", options.timing_cache)):
        if asked:
            raise InputError(": TensorRT-RTX has no such thing; leave it out, or choose the builder tensorrt", name)
    if options.stripped and not gpus():
        raise InputError(": TensorRT-RTX strips weights only where there is a GPU; leave it out", "stripped")
    offered = _offered()
    for each in options.capabilities:
        if each not in offered:
            mend = "for a Jetson ask for the ONNX only, and build there" if each in _JETSONS else "choose one"
            raise InputError(f" {each}: TensorRT-RTX builds for {', '.join(offered)}; {mend}", "capabilities")
    if not options.capabilities and not gpus():
        raise InputError(f": no GPU here to build for; name one or more of {', '.join(offered)}", "capabilities")
    return Builder(builder, options, options.capabilities or (the_device().capability,))


def _is_installed(name: BuilderName) -> bool:
    try:
        load_module(name)
    except InputError:
        return False
    return True


def _offered() -> list[str]:
    """The compute capabilities that TensorRT-RTX builds for: SM89 is 8.9, SM120 12.0."""
    names = load_module("tensorrt_rtx").ComputeCapability.__members__
    return [f"{name[2:-1]}.{name[-1]}" for name in names if name.startswith("SM")]


class Builder:
    """One of the two builders, ready to build."""

    def __init__(self, name: BuilderName, options: TensorRTOptions, capabilities: Sequence[str]) -> None:
        self.name, self.version, self.capabilities = name, version(name), tuple(capabilities)
        self._options = options
        self._log = logger(name)
        self._builder = load_module(name).Builder(self._log)

    def build(self, onnx: Path, shapes: Shapes) -> bytes:
        """Build an ONNX file. Returns the built engine's bytes. Raises InputError with the builder's first error."""
        if TYPE_CHECKING:
            import tensorrt as trt  # whose stubs also stand for those of TensorRT-RTX
        else:
            trt = load_module(self.name)
        builder: trt.Builder = self._builder
        self._log.errors.clear()
        self._log.layers = ""
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._log)
        if not parser.parse_from_file(str(onnx)) or not network.num_outputs:
            why = "no ONNX graph"
            if parser.num_errors:
                error = parser.get_error(0)
                known = not error.node_operator() or parser.supports_operator(error.node_operator())
                what = " ".join(error.desc().split())[:200] if known else "an op that it does not have"
                why = f"{error.node_operator()} {error.node_name()}: {what}" if error.node_operator() else what
            raise InputError(f"{onnx}: {self.name} does not take it ({why}); export it again")
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.clear_flag(trt.BuilderFlag.TF32)  # TF32 would round factors of type float32 to 10 bits
        resize = trt.PreviewFeature.__members__.get("RUNTIME_ACTIVATION_RESIZE_10_10")
        if resize is not None:  # so that a call takes memory for its own prompts, not for the most
            config.set_preview_feature(resize, True)
        if shapes:
            made = builder.create_optimization_profile()
            for name, bounds in shapes.items():
                made.set_shape(name, *(trt.Dims(list(each)) for each in bounds))
            config.add_optimization_profile(made)
        if self._options.stripped:
            config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        if self.name == "tensorrt":
            if self._options.portable:
                config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
            self._read_times(config)
        else:
            config.num_compute_capabilities = len(self.capabilities)  # type: ignore[attr-defined]
            for index, each in enumerate(self.capabilities):
                known = trt.ComputeCapability.__members__  # type: ignore[attr-defined]
                config.set_compute_capability(known["SM" + each.replace(".", "")], index)  # type: ignore[attr-defined]
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise InputError(f"{onnx}: {self.name} cannot build it ({first_error(self._log)}); export it again")
        if self.name == "tensorrt":
            self._write_times(config)
        return bytes(engine)

    @property
    def layers(self) -> str:
        """The layers of the engine that was built last, as the builder lists them."""
        return str(self._log.layers)

    def _read_times(self, config: Any) -> None:
        path = self._options.timing_cache
        if path is not None:
            known = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
            if known is None or not config.set_timing_cache(known, False):
                raise InputError(f" {path}: is not of this GPU and {self.version}; name another file", "timing_cache")

    def _write_times(self, config: Any) -> None:
        path = self._options.timing_cache
        if path is not None:
            write_whole(path, bytes(config.get_timing_cache().serialize()))
