"""Core ML: graphs traced by torch, converted by coremltools, and held against torch as they were saved.

A sized graph is one package with a function for each size, which share their weights, where the target has functions
(iOS18), and a package a size below. Nothing is believed of the converter: what was saved is read back and run op by op
(`runtimes.mil`), each op held against the value that torch has there.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from samclip_edge.bundle.contract import GraphName, probe, signature
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import File, Graph, Precision, Step
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
from samclip_edge.model.checkpoint import Origin
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent
from samclip_edge.runtimes.interpreters.mil import MilSession
from samclip_edge.runtimes.interpreters.mil import coremltools as ct
from samclip_edge.runtimes.interpreters.steps import distance

_OFF = {"fp32": 1e-2}  # a name of torch's whose value the program's is not even near was given to another value
_OFF_HALF = 0.5


def export_coreml(
    checkpoint: Path,
    folder: Path,
    sizes: Sequence[int] | None = None,
    vocabulary: Sequence[str] | None = None,
    progress: Progress = silent,
    precision: Precision = "fp16",
    options: CoreMLOptions | None = None,
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
        return PackageWriter(model, origin, partial, precision, options or CoreMLOptions())

    return export_bundle(checkpoint, folder, "coreml", precision, writer, sizes, vocabulary, vectors, progress)


class _Written(NamedTuple):
    """A converted graph, before it is put with its other sizes and held against torch."""

    name: GraphName
    size: int | None
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

    def write(self, name: GraphName, size: int | None, asked: list[Case]) -> None:
        """See `Writer.write`. Changes `asked` to what the graph takes, where its prompts or its image are fixed."""
        sides, points = signature(self._model.spec, name, size), self._points(name)
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

    def _join(self, name: GraphName, sizes: Sequence[int | None]) -> None:
        """One package of several, a function a size: equal weights are stored once."""
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
                std, values, error = float(array.std()), sampled(array), 0.0
            found[name] = Step(op=operation.op_type, std=std, values=values, error=error)

        session.program(written.asked[0][0], watch)
        return found, far


def _files(folder: Path, package: Path) -> tuple[File, ...]:
    first = package / "Manifest.json"
    rest = sorted(path for path in package.rglob("*") if path.is_file() and path != first)
    return tuple(describe(folder, path) for path in (first, *rest))
