"""LiteRT: graphs are converted by litert-torch, a file each, and compared with torch in the engine that phones have.

LiteRT's delegates take no open dimensions. So a file has a signature for each input size and each number of prompts and
points, or of texts and token ids; signatures share the weights. `Graph.calls` lists them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from samclip_edge.bundle.contract import (
    BACKGROUND,
    BOTTOM_RIGHT,
    FOREGROUND,
    MEANINGS,
    NOTHING,
    TOP_LEFT,
    Arrays,
    GraphName,
    Signature,
    probe,
    signature,
)
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import Call, Graph, Moved, Parity, Precision
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.verify import passes, reference_of
from samclip_edge.errors import InputError, ParityError
from samclip_edge.export.export import export_bundle
from samclip_edge.export.forms.mobile_gpu import graph_module
from samclip_edge.export.options import LiteRTOptions
from samclip_edge.export.parity import Case, Photos, SeenBy, ask, has_points, measure, package_photos
from samclip_edge.export.precision.choice import HURTS, moved
from samclip_edge.export.precision.int8 import layer_names
from samclip_edge.export.precision.tflite import calibrated, hurting, in_int8, name_layers, requantised
from samclip_edge.export.targets import litert_conversion
from samclip_edge.export.targets.litert_constants import strange_constants
from samclip_edge.export.targets.litert_operators import taken
from samclip_edge.export.targets.litert_signatures import fitting, signatures
from samclip_edge.model.checkpoint import Origin, read_spec
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent
from samclip_edge.runtimes.litert import LiteRTSession

_LABELS = (BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, NOTHING)
_SHARED = ("mask", "dense")  # the inputs that prompts may share
_IN_FLOAT = ("prompt_encoder",)  # whose positions int8 does not hold


def export_litert(
    checkpoint: Path,
    folder: Path,
    sizes: Sequence[Size] | None = None,
    vocabulary: Sequence[str] | None = None,
    progress: Progress = silent,
    precision: Precision = "fp32",
    options: LiteRTOptions | None = None,
    photos: Photos | None = None,
    vectors: bool = False,
    templates: Sequence[str] | None = None,
) -> Bundle:
    """Write a LiteRT bundle and return it, opened.

    sizes, vocabulary, photos, vectors, templates: see `export_onnx`. precision: fp16 stores the weights of products in
    half; int8 puts a product into int8, as `options.int8` says, when that changes the outputs by at most 1 %, and the
    others into half. Raises InputError for a bad checkpoint, size, option or folder, and where the converter refuses a
    graph. Raises ParityError, and leaves no bundle, when a graph in LiteRT is further from torch than `verify.passes`
    allows.
    """
    options = options or LiteRTOptions()
    options.check(precision)
    if (kind := read_spec(checkpoint)[0].kind) != "merged":
        raise InputError(f"{checkpoint}: is {kind}, which is exported to onnx and tensorrt only; name a merged model")

    def writer(model: MergedModel, origin: Origin, partial: Path) -> LiteRTWriter:
        return LiteRTWriter(model, partial, precision, options, photos or package_photos(), progress)

    return export_bundle(
        checkpoint, folder, "litert", precision, writer, sizes, vocabulary, templates, vectors, progress
    )


class _Asked(NamedTuple):
    """A graph of one size, before it is converted with its other sizes."""

    name: GraphName
    size: Size | None
    asked: list[Case]
    sides: Signature
    calls: tuple[Call, ...]


class _Answer(NamedTuple):
    """What a graph sees of a photo, and what it answers in float."""

    inputs: Arrays
    outputs: Arrays


class LiteRTWriter:
    """Writes `.tflite` files into a folder, one for each graph with all its sizes."""

    def __init__(
        self,
        model: MergedModel,
        folder: Path,
        precision: Precision,
        options: LiteRTOptions,
        photos: Photos,
        progress: Progress,
    ) -> None:
        """photos: what int8 is measured on."""
        self._model, self._folder, self._precision, self._options = model, folder, precision, options
        self._photos, self._progress = photos, progress
        self._seen = SeenBy(model, photos, options.points)
        self._names = layer_names(model)
        self._asked: list[_Asked] = []

    def write(self, name: GraphName, size: Size | None, asked: list[Case]) -> None:
        """See `Writer.write`; a graph is converted in `finish`. Changes `asked` to match what the file takes."""
        model, points = self._model, self._points(name)
        sides = signature(model.spec, name, size).fixed({"I": 1, "M": 1})
        shared = [each.name for each in sides.inputs if each.name in _SHARED and each.shape[0] == 1]
        asked[:] = [case for case in asked if all(len(case[0][each]) == 1 for each in shared)]
        if points:
            fitting = [case for case in asked if has_points(case[0], points)]
            asked[:] = [ask(model, name, size, probe(model.spec, name, size, (1, points), {"M": 1})), *fitting]
        calls = signatures(self._model.spec, name, size, sides, self._options.points)
        self._asked.append(_Asked(name, size, asked, sides, calls))

    def _points(self, name: GraphName) -> int | None:
        return self._options.points if name in ("prompt_encoder", "mask_decoder") else None

    def finish(self) -> dict[str, Any]:
        """See `Writer.finish`."""
        graphs = []
        for name in self._progress(list(dict.fromkeys(each.name for each in self._asked)), "converting"):
            graphs += self._file(name, [each for each in self._asked if each.name == name])
        if self._precision != "int8":
            return {"graphs": tuple(graphs)}
        return {"graphs": tuple(graphs), "quantisation": self._options.int8, "measured_on": self._photos.what}

    def _file(self, name: GraphName, sizes: list[_Asked]) -> list[Graph]:
        """Write the file of a graph, and measure it at each size."""
        path, whole = self._folder / f"{name}.tflite", self._folder / f"{name}.float.tflite"
        conversions: list[litert_conversion.Call] = []
        apart: dict[Any, tuple[nn.Module, Arrays]] = {}  # by what constants depend on
        for each in sizes:
            for call in each.calls:
                module, inputs = graph_module(self._model, name, each.size), self._probe(each, call)
                outputs = tuple(output.name for output in each.sides.outputs)
                conversions.append(litert_conversion.Call(call.function, module, inputs, outputs))
                apart.setdefault((each.size, call.sides.get("L")), (module, inputs))
        litert_conversion.convert(conversions, whole)
        with litert_conversion.silence():
            strange = strange_constants(whole, apart.values())
        if strange:
            told = ", ".join([*strange[:3], *([f"and {len(strange) - 3} more"] if strange[3:] else [])])
            raise ParityError(f"{path.name}: the converter changed {told}; no bundle was written")
        if self._precision != "fp32":  # else it is compared below
            for each in sizes:
                self._compared(whole, each, "fp32")
        layers = name_layers(whole, self._names, _told(sizes[0].sides))
        in_float: tuple[str, ...] = ()
        answers: dict[Size | None, list[_Answer]] = {}
        if self._precision == "fp32":
            whole.rename(path)
        elif self._precision == "fp16" or name in _IN_FLOAT:
            self._requantise(whole, path, "half")
        else:
            answers = {each.size: list(self._answers(whole, each)) for each in sizes}
            in_float = self._int8(whole, path, layers, sizes, answers)
        graphs = [self._measured(path, each, in_float) for each in sizes]
        if answers:
            found = [_worst(_moves(path, each, answers[each.size])) for each in sizes]
            graphs = [graph.model_copy(update={"moved": moves}) for graph, moves in zip(graphs, found, strict=True)]
        whole.unlink(missing_ok=True)
        return graphs

    def _compared(self, path: Path, each: _Asked, precision: Precision) -> dict[str, Parity]:
        """How far the answers of a file are from torch's. Raises ParityError where that is too far for a precision."""
        parity = measure(_session(path, each), chain(each.asked, self._own(each)))
        for output, found in parity.items():
            if not passes(found, precision):
                mend = "; try another --int8, or other photos" if precision == "int8" else ""
                at = f" at {each.size}" if each.size else ""
                raise ParityError(
                    f"{each.name}.tflite in {precision}{at}: {output} differs from torch's by "
                    f"{found.error:.1e} of its standard deviation (cosine {found.cosine:.6f}); "
                    f"no bundle was written{mend}"
                )
        return parity

    def _measured(self, path: Path, each: _Asked, in_float: tuple[str, ...]) -> Graph:
        parity = self._compared(path, each, self._precision)
        # A phone's GPU and NPU take one prompt a call.
        told = taken(path, [call.function for call in each.calls if call.sides.get("B", 1) == 1])
        return Graph(
            name=each.name,
            size=each.size,
            files=(describe(self._folder, path),),
            operators=told.operators,
            left_to_cpu=told.left,
            points=self._points(each.name),
            calls=each.calls,
            signature=each.sides,
            parity=parity,
            reference={output: reference_of(values) for output, values in each.asked[0][1].items()},
            in_float=in_float,
        )

    def _own(self, each: _Asked) -> Iterator[Case]:
        """Cases for each signature, so that each is held against torch: the probe, and points of every label."""
        for call in each.calls:
            inputs = self._probe(each, call)
            yield ask(self._model, each.name, each.size, inputs)
            if "labels" in inputs:
                shape = inputs["labels"].shape
                for first in range(0, len(_LABELS), inputs["labels"].size):
                    labels = np.resize(np.roll(np.array(_LABELS, np.float32), -first), shape)
                    yield ask(self._model, each.name, each.size, {**inputs, "labels": labels})

    def _probe(self, each: _Asked, call: Call) -> Arrays:
        return probe(self._model.spec, each.name, each.size, fixed={"M": 1, **call.sides})

    def _answers(self, whole: Path, each: _Asked) -> Iterator[_Answer]:
        session = _session(whole, each)
        for inputs in self._seen(each.name, each.size):
            yield _Answer(inputs, session.run(inputs))

    def _int8(
        self,
        whole: Path,
        path: Path,
        layers: Mapping[str, str],
        sizes: list[_Asked],
        answers: Mapping[Size | None, list[_Answer]],
    ) -> tuple[str, ...]:
        """Put the layers of a file into int8, but for those that move an output too far, or cannot. Returns these.

        layers: the operator of each, by name.
        """
        ranges = None
        if self._options.int8 == "static":
            seen = {size: [each.inputs for each in known] for size, known in answers.items()}
            with litert_conversion.silence():
                ranges = calibrated(
                    whole, {c.function: fitting(e.sides, c, seen[e.size]) for e in sizes for c in e.calls}
                )

        def hurt(rounded: Collection[str]) -> bool:
            kept = [each for each in layers if each not in rounded]
            self._requantise(whole, path, self._options.int8, kept, ranges)
            found = (each for asked in sizes for each in _moves(path, asked, answers[asked.size]))
            return any(move.error > HURTS for each in found for move in each.values())

        able = [layer for layer, operator in layers.items() if in_int8(self._options.int8, operator)]
        alone = hurting(able, hurt)
        in_float = tuple(layer for layer in layers if layer in alone or layer not in able)
        self._requantise(whole, path, self._options.int8, in_float, ranges)
        return in_float

    @staticmethod
    def _requantise(*how: Any) -> None:
        with litert_conversion.silence():
            requantised(*how)


def _moves(path: Path, each: _Asked, answers: Sequence[_Answer]) -> Iterator[dict[str, Moved]]:
    """How far the layers in int8 move each output in LiteRT, one photo after another."""
    session = _session(path, each)
    for inputs, wanted in answers:
        got = session.run(inputs)
        yield {output: moved(values, got[output]) for output, values in wanted.items()}


def _worst(found: Iterable[dict[str, Moved]]) -> dict[str, Moved]:
    worst: dict[str, Moved] = {}
    for told in found:
        for output, now in told.items():
            known = worst.get(output, now)
            worst[output] = Moved(error=max(now.error, known.error), cosine=min(now.cosine, known.cosine))
    return worst


def _session(path: Path, each: _Asked) -> LiteRTSession:
    return LiteRTSession(path, each.sides, each.calls)


def _told(sides: Signature) -> dict[str, str]:
    """What each input and output is, in words."""
    return {tensor.name: MEANINGS[tensor.name] for tensor in (*sides.inputs, *sides.outputs)}
