"""Core ML: graphs traced by torch, converted by coremltools, and held against torch as they were saved.

A sized graph is one package with a function for each size, which share their weights, where the target has functions
(iOS18), and a package a size below. Nothing is believed of the converter: what was saved is read back and run op by op
(`runtimes.mil`), each op held against the value that torch has there.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import nn

from samclip_edge.bundle import Bundle, File, Graph, Precision, Step, describe
from samclip_edge.contract import MEANINGS, Arrays, GraphName, Signature, probe, sample, signature
from samclip_edge.errors import InputError, ParityError
from samclip_edge.export.coreml_graphs import graph_module
from samclip_edge.export.export import export_bundle
from samclip_edge.export.onnx import quiet
from samclip_edge.export.parity import Case, ask, measure
from samclip_edge.model.checkpoint import Origin
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent
from samclip_edge.runtimes.mil import SAMPLES, MilSession, distance
from samclip_edge.runtimes.mil import coremltools as ct
from samclip_edge.verify import passes, reference_of

Minimum = Literal["iOS16", "iOS17", "iOS18"]
PROMPTS, POINTS = (
    64,
    32,
)  # the most in one call where they are ranged: what the pipeline hands over, and what a hand clicks
_OFF = {"fp32": 1e-2}  # a name of torch's whose value the program's is not even near was given to another value
_OFF_HALF = 0.5


class Options(NamedTuple):
    """What is peculiar to Core ML."""

    minimum: Minimum = "iOS18"
    image_input: bool = False  # the encoder takes an image (a CVPixelBuffer) in place of an array
    points: int | None = None  # one prompt in a call, of so many points; None leaves both open, in ranges


def export_coreml(
    checkpoint: Path,
    folder: Path,
    sizes: Sequence[int] | None = None,
    vocabulary: Sequence[str] | None = None,
    progress: Progress = silent,
    precision: Precision = "fp16",
    options: Options | None = None,
    vectors: bool = False,
) -> Bundle:
    """Write a Core ML bundle and return it, opened.

    sizes, vocabulary, vectors: see `export_onnx`. precision: fp32, or fp16 with weights in half, in int8 by the channel
    or in palettes of 8 or 6 bits; prompts are encoded in float32 always, because positions need it. Raises InputError
    for a bad checkpoint, size or folder, and ParityError, leaving no bundle, when a program that was saved is further
    from torch than `verify.passes` allows.
    """

    def writer(model: MergedModel, origin: Origin, partial: Path, smallest: int) -> PackageWriter:
        if model.spec.clip_vision:
            raise InputError(f"{checkpoint}: is {model.spec.kind}, which is exported to onnx only; name a merged model")
        return PackageWriter(model, origin, partial, precision, options or Options())

    return export_bundle(checkpoint, folder, "coreml", precision, writer, sizes, vocabulary, vectors, progress)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep coremltools' bars, and the notes of both converters, from the user."""
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        yield


class _Written(NamedTuple):
    """A converted graph, before it is put with its other sizes and held against torch."""

    name: GraphName
    size: int | None
    asked: list[Case]
    torch: dict[str, tuple[float, tuple[float, ...]]]  # what torch had at each step: deviation, samples


class PackageWriter:
    """Writes packages into a folder."""

    def __init__(
        self, model: MergedModel, origin: Origin, folder: Path, precision: Precision, options: Options
    ) -> None:
        self._model, self._origin, self._folder = model, origin, folder
        self._precision, self._options = precision, options
        self._written: list[_Written] = []

    def write(self, name: GraphName, size: int | None, asked: list[Case]) -> None:
        """See `Writer.write`. Changes `asked` to what the graph takes, where its prompts or its image are fixed."""
        sides, points = signature(self._model.spec, name, size), self._points(name)
        if points:
            asked[:] = [ask(self._model, name, size, probe(self._model.spec, name, size, (1, points)))]
        if self._image(name):
            asked[0] = ask(self._model, name, size, {"image": asked[0][0]["image"].round()})
        inputs = asked[0][0]
        program = _program(graph_module(self._model, name, size), sides, inputs, points is None)
        steps = _record(program, inputs)
        converted = _convert(program, sides, self._precision, name, self._options.minimum)
        _describe_sides(converted, sides)
        converted.save(str(self._folder / f"{name}_{size}.mlpackage" if size else self._folder / f"{name}.mlpackage"))
        self._written.append(_Written(name, size, asked, steps))

    def _points(self, name: GraphName) -> int | None:
        return self._options.points if name in ("prompt_encoder", "mask_decoder") else None

    def _image(self, name: GraphName) -> bool:
        return self._options.image_input and name == "image_encoder"

    def finish(self) -> dict[str, Any]:
        """See `Writer.finish`."""
        names = list(dict.fromkeys(each.name for each in self._written))
        together = {name for name in names if self._options.minimum == "iOS18" and name != "text_encoder"}
        for name in together:
            self._join(name, [each.size for each in self._written if each.name == name])
        packages = sorted(self._folder.glob("*.mlpackage"))
        for package in packages:
            _finish_description(package, self._origin, self._options.image_input)
        return {"graphs": tuple(self._measured(each, each.name in together) for each in self._written)}

    def _join(self, name: GraphName, sizes: Sequence[int | None]) -> None:
        """One package of several, a function a size: equal weights are stored once."""
        parts = {f"size_{size}": self._folder / f"{name}_{size}.mlpackage" for size in sizes}
        joined = ct.utils.MultiFunctionDescriptor()
        for function, part in parts.items():
            joined.add_function(str(part), "main", function)
        joined.default_function_name = next(reversed(parts))
        with _quiet():
            ct.utils.save_multifunction(joined, str(self._folder / f"{name}.mlpackage"))
        for part in parts.values():
            shutil.rmtree(part)

    def _measured(self, written: _Written, joined: bool) -> Graph:
        name, size = written.name, written.size
        package = self._folder / (f"{name}.mlpackage" if joined or not size else f"{name}_{size}.mlpackage")
        graph = Graph(
            name=name,
            size=size,
            files=_files(self._folder, package),
            function=f"size_{size}" if joined else "main",
            image=self._image(name),
            points=self._points(name),
            signature=signature(self._model.spec, name, size),
            parity={},
            reference={output: reference_of(values) for output, values in written.asked[0][1].items()},
        )
        session = MilSession(package / "Manifest.json", graph)
        parity = measure(session, written.asked)
        steps, far = self._steps(session, written)
        for output, found in parity.items():
            if not passes(found, self._precision):
                named = far[0] if far else max(steps, key=lambda each: steps[each].error)
                raise ParityError(
                    f"{package.name}, {graph.function}: {output} is off torch's by {found.error:.1e} of its deviation "
                    f"(cosine {found.cosine:.6f}), first of all at {steps[named].op} {named!r}; no bundle was written"
                )
        path = self._folder / "steps" / (f"{name}_{size}.json" if size else f"{name}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({key: step.model_dump() for key, step in steps.items()}), "utf-8")
        return graph.model_copy(update={"parity": parity, "steps": describe(self._folder, path)})

    def _steps(self, session: MilSession, written: _Written) -> tuple[dict[str, Step], list[str]]:
        """What torch has at each op, by the name that coremltools gave on; where it has none, what the program has.

        And in order the names that both have, and the program far off: a fusion's or, where outputs are off, a fault's.
        """
        found: dict[str, Step] = {}
        far: list[str] = []
        most = _OFF.get(self._precision, _OFF_HALF)

        def watch(operation: Any, name: str, value: torch.Tensor) -> None:
            std, values = written.torch.get(re.sub(r"(_cast_fp(16|32))+$", "", name), (0.0, ()))
            error = distance(std, values, value)
            if error > most:
                if values:
                    far.append(name)
                array = value.float().numpy()
                std, values, error = float(array.std()), _sampled(array), 0.0
            found[name] = Step(op=operation.op_type, std=std, values=values, error=error)

        session.program(written.asked[0][0], watch)
        return found, far


def _sampled(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{each:.7g}") for each in sample(values, SAMPLES))


def _files(folder: Path, package: Path) -> tuple[File, ...]:
    first = package / "Manifest.json"
    rest = sorted(path for path in package.rglob("*") if path.is_file() and path != first)
    return tuple(describe(folder, path) for path in (first, *rest))


def _program(module: nn.Module, sides: Signature, inputs: Arrays, ranged: bool) -> torch.export.ExportedProgram:
    """A graph's module as torch's own ops, the numbers of prompts and points in their ranges where they are."""
    dims = {
        "B": torch.export.Dim("B", min=1, max=PROMPTS),
        "N": torch.export.Dim("N", min=1, max=POINTS),
    }
    shapes = tuple(
        {axis: dims[side] for axis, side in enumerate(tensor.shape) if isinstance(side, str) and ranged}
        for tensor in sides.inputs
    )
    given = tuple(torch.from_numpy(inputs[tensor.name]) for tensor in sides.inputs)
    with quiet():
        program = torch.export.export(module, given, dynamic_shapes=shapes).run_decompositions({})
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.alias.default:  # which coremltools 9.0 has not heard of
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()
    return program


def _record(program: torch.export.ExportedProgram, inputs: Arrays) -> dict[str, tuple[float, tuple[float, ...]]]:
    """The deviation and some values of what every node of a program gives, by its name."""
    found: dict[str, tuple[float, tuple[float, ...]]] = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                array = value.detach().numpy()
                found[n.name] = (float(array.std()), _sampled(array))
            return value

    with torch.inference_mode():
        Recorder(program.module()).run(*(torch.from_numpy(values) for values in inputs.values()))
    return found


def _convert(
    program: torch.export.ExportedProgram, sides: Signature, precision: Precision, name: GraphName, minimum: Minimum
) -> ct.models.MLModel:
    """A program of torch's as one of Core ML's, its weights in the precision asked for."""
    whole = precision == "fp32" or name == "prompt_encoder"
    with _quiet():
        model = ct.convert(
            program,
            outputs=[ct.TensorType(name=tensor.name, dtype=np.float32) for tensor in sides.outputs],
            minimum_deployment_target=ct.target[minimum],
            compute_precision=ct.precision.FLOAT32 if whole else ct.precision.FLOAT16,
            skip_model_load=True,
        )
        optimize = ct.optimize.coreml
        if precision == "int8":
            linear = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_channel")
            model = optimize.linear_quantize_weights(model, optimize.OptimizationConfig(global_config=linear))
        elif precision in ("palette8", "palette6"):
            palette = optimize.OpPalettizerConfig(mode="kmeans", nbits=int(precision[-1]))
            model = optimize.palettize_weights(model, optimize.OptimizationConfig(global_config=palette))
    return model


def _describe_sides(model: ct.models.MLModel, sides: Signature) -> None:
    """What each input and output means, as Xcode shows it."""
    for tensor in sides.inputs:
        model.input_description[tensor.name] = MEANINGS[tensor.name]
    for tensor in sides.outputs:
        model.output_description[tensor.name] = MEANINGS[tensor.name]


def _finish_description(package: Path, origin: Origin, image_input: bool) -> None:
    """Author, licence and version; and where asked for, that the encoder's `image` is an image."""
    import samclip_edge

    spec = ct.utils.load_spec(str(package))
    about = spec.description.metadata
    name = re.sub(r"_\d+$", "", package.stem)
    about.shortDescription = f"SAM-CLIP, {name.replace('_', ' ')} ({'trained' if origin.trained else 'untrained'})"
    about.author = f"samclip-edge; weights: {origin.note}"
    about.license = "samclip-edge: Apache-2.0; the weights: as where they came from"
    about.versionString = samclip_edge.__version__
    if name == "image_encoder" and image_input:
        for described in spec.description.functions or [spec.description]:
            (image,) = described.input
            side = image.type.multiArrayType.shape[-1]
            image.type.imageType.width = image.type.imageType.height = side
            image.type.imageType.colorSpace = ct.proto.FeatureTypes_pb2.ImageFeatureType.RGB
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(spec.SerializeToString())


def check_minimum(minimum: str) -> Minimum:
    """A target as given, or InputError."""
    for known in get_args(Minimum):
        if known.lower() == minimum.lower():
            return known
    raise InputError(f"--minimum-target {minimum}: give {', '.join(get_args(Minimum))}")
