"""Core ML: graphs are traced by torch, converted and saved by coremltools, and compared with torch as saved.

For iOS18, a graph that has sizes is one package with a function for each size, and the functions share their weights.
Older systems know no functions, so for them each size is a package. The converter is not trusted: each saved package is
read back and run op by op (`runtimes.interpreters.mil`), and each op is compared with torch's value there.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from samclip_edge.bundle.contract import GraphName, Signature, probe, signature
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import File, Graph, Precision, Step
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.verify import passes, reference_of
from samclip_edge.errors import InputError, ParityError
from samclip_edge.export.export import export_bundle
from samclip_edge.export.forms.neural_engine import graph_module
from samclip_edge.export.options import CoreMLOptions
from samclip_edge.export.parity import Case, ask, measure
from samclip_edge.export.targets.coreml_conversion import (
    Recorded,
    convert,
    describe_sides,
    exported_program,
    finish_description,
    quieter,
    record,
    sampled,
)
from samclip_edge.model.checkpoint import Origin, read_spec
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent
from samclip_edge.runtimes.interpreters.mil import MilSession
from samclip_edge.runtimes.interpreters.mil import coremltools as ct
from samclip_edge.runtimes.interpreters.steps import distance

# Further than this from torch's value of the same name, an op's value is another one: coremltools reused the name.
_OFF = {"fp32": 1e-2}
_OFF_HALF = 0.5
_MASKS = ("mask", "dense")  # the inputs that prompts may share


def export_coreml(
    checkpoint: Path,
    folder: Path,
    sizes: Sequence[Size] | None = None,
    vocabulary: Sequence[str] | None = None,
    progress: Progress = silent,
    precision: Precision = "fp16",
    options: CoreMLOptions | None = None,
    vectors: bool = False,
    templates: Sequence[str] | None = None,
) -> Bundle:
    """Write a Core ML bundle and return it, opened.

    sizes, vocabulary, vectors, templates: see `export_onnx`. precision: all but fp32 compute in float16. They differ in
    the weights: float16 (fp16), int8 with a per-channel scale (int8), or palettes of 8 or 6 bits (palette8, palette6).
    The prompt encoder always computes in float32, because positions need it. Raises InputError for a bad checkpoint,
    size or folder. Raises ParityError, and leaves no bundle, when a saved program is further from torch than
    `verify.passes` allows.
    """

    if (kind := read_spec(checkpoint)[0].kind) != "merged":
        raise InputError(f"{checkpoint}: is {kind}, which is exported to onnx and tensorrt only; name a merged model")

    def writer(model: MergedModel, origin: Origin, partial: Path) -> PackageWriter:
        return PackageWriter(model, origin, partial, precision, options or CoreMLOptions())

    return export_bundle(
        checkpoint, folder, "coreml", precision, writer, sizes, vocabulary, templates, vectors, progress
    )


class _Written(NamedTuple):
    """A converted graph, before it is joined with its other sizes and compared with torch."""

    name: GraphName
    size: Size | None
    asked: list[Case]
    torch: Recorded


class PackageWriter:
    """Writes packages into a folder."""

    def __init__(
        self, model: MergedModel, origin: Origin, folder: Path, precision: Precision, options: CoreMLOptions
    ) -> None:
        self._model, self._origin, self._folder = model, origin, folder
        self._precision, self._options = precision, options
        self._written: list[_Written] = []

    def write(self, name: GraphName, size: Size | None, asked: list[Case]) -> None:
        """See `Writer.write`. Changes `asked` to match the graph: its mask, and what options fix."""
        sides, points = self._sides(name, size), self._points(name)
        shared = [each.name for each in sides.inputs if each.name in _MASKS and each.shape[0] == 1]
        asked[:] = [case for case in asked if all(len(case[0][each]) == 1 for each in shared)]
        if points:
            asked[:] = [ask(self._model, name, size, probe(self._model.spec, name, size, (1, points)))]
        if self._image(name):
            asked[0] = ask(self._model, name, size, {"image": asked[0][0]["image"].round()})
        inputs = asked[0][0]
        program = exported_program(graph_module(self._model, name, size), sides, inputs, points is None)
        steps = record(program, inputs)
        converted = convert(program, sides, self._precision, name, self._options.minimum)
        describe_sides(converted, sides)
        converted.save(str(self._folder / f"{name}_{size}.mlpackage" if size else self._folder / f"{name}.mlpackage"))
        self._written.append(_Written(name, size, asked, steps))

    def _sides(self, name: GraphName, size: Size | None) -> Signature:
        """The signature of a graph, of one photo, as suits the Neural Engine.

        All prompts of a call share one mask: Core ML has no side that is either 1 or B.
        """
        return signature(self._model.spec, name, size).fixed({"I": 1, "M": 1})

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
            finish_description(package, self._origin, self._options.image_input)
        return {"graphs": tuple(self._measured(each, each.name in together) for each in self._written)}

    def _join(self, name: GraphName, sizes: Sequence[Size | None]) -> None:
        """Join the packages of several sizes into one, with a function for each size. Equal weights are stored once."""
        parts = {f"size_{size}": self._folder / f"{name}_{size}.mlpackage" for size in sizes}
        joined = ct.utils.MultiFunctionDescriptor()
        for function, part in parts.items():
            joined.add_function(str(part), "main", function)
        joined.default_function_name = next(reversed(parts))
        with quieter():
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
            signature=self._sides(name, size),
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
                    f"{package.name}, {graph.function}: {output} differs from torch's by {found.error:.1e} of its "
                    f"standard deviation (cosine {found.cosine:.6f}), first at {steps[named].op} {named!r}; "
                    "no bundle was written"
                )
        path = self._folder / "steps" / (f"{name}_{size}.json" if size else f"{name}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({key: step.model_dump() for key, step in steps.items()}), "utf-8")
        return graph.model_copy(update={"parity": parity, "steps": describe(self._folder, path)})

    def _steps(self, session: MilSession, written: _Written) -> tuple[dict[str, Step], list[str]]:
        """Run the program on the probe. Returns the steps to keep, and the names of the ops whose values are far off.

        A step is torch's value of the name that coremltools kept for the op. Where torch has none, or one that is far
        off, it is the program's own value. A name far off comes from fused ops; or, if an output is off too, from a
        fault: the first one then names the op where it begins.
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
                std, values, error = float(array.std()), sampled(array), 0.0
            found[name] = Step(op=operation.op_type, std=std, values=values, error=error)

        session.program(written.asked[0][0], watch)
        return found, far


def _files(folder: Path, package: Path) -> tuple[File, ...]:
    first = package / "Manifest.json"
    rest = sorted(path for path in package.rglob("*") if path.is_file() and path != first)
    return tuple(describe(folder, path) for path in (first, *rest))
