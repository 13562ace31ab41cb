"""ONNX: graphs are traced by torch, one file for each size. All sizes of a graph share a weight file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import onnx

from samclip_edge.bundle.contract import GraphName, probe, signature
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import Graph, Precision
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.verify import passes, reference_of
from samclip_edge.errors import ParityError
from samclip_edge.export.export import export_bundle
from samclip_edge.export.forms.fixed_size import graph_module
from samclip_edge.export.options import STATIC_POINTS, OnnxOptions
from samclip_edge.export.parity import Case, Photos, SeenBy, ask, has_points, measure, package_photos
from samclip_edge.export.precision.choice import Choice, Int8
from samclip_edge.export.precision.half import BESIDE_INT8, halve_weights
from samclip_edge.export.precision.qdq import StaticInt8
from samclip_edge.export.targets.tracing import trace
from samclip_edge.export.weights import WeightFile, places
from samclip_edge.model.checkpoint import Origin, save
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent
from samclip_edge.runtimes.onnxruntime import OrtSession

CHECKPOINT = "model.safetensors"  # of a bundle whose graphs read weights from it


def export_onnx(
    checkpoint: Path,
    folder: Path,
    sizes: Sequence[Size] | None = None,
    vocabulary: Sequence[str] | None = None,
    progress: Progress = silent,
    precision: Precision = "fp32",
    photos: Photos | None = None,
    vectors: bool = False,
    templates: Sequence[str] | None = None,
    options: OnnxOptions | None = None,
) -> Bundle:
    """Write an ONNX bundle and return it, opened.

    sizes: some of the spec's input sizes; None: all of them. vocabulary: names whose features replace the text encoder.
    precision: fp16 computes in float32 and stores the weights in half, most of them in a checkpoint that the graphs
    read; int8 runs a layer in int8 when that changes the outputs by at most 1 %, and stores convolutions and tables in
    half. photos: what int8 is measured on;
    None: the photos that ship with the package. vectors: also write test vectors (`export.vectors`).
    templates: prompt templates, each with `{}` where the name goes; None: CLIP's eighty.
    Raises InputError for a bad checkpoint, size, option or folder. Raises ParityError, and leaves no bundle, when a
    graph in ONNX Runtime is further from torch than `verify.passes` allows.
    """
    options = options or OnnxOptions()
    options.check(precision)
    measured_on = photos or package_photos()
    points = STATIC_POINTS if options.static else None

    def writer(model: MergedModel, origin: Origin, partial: Path) -> OnnxWriter:
        stored: Path | None = None
        # Not beside a vocabulary: that replaces the text encoder, which a checkpoint would bring along.
        if precision == "fp16" and vocabulary is None:
            stored = save(model, partial / CHECKPOINT, origin, half=True)
        known = places(stored) if stored else {}
        int8: Int8 | None = None
        if precision == "int8":
            int8 = (StaticInt8 if options.qdq else Int8)(model, SeenBy(model, measured_on, points), progress)

        def change(name: GraphName, size: Size | None, proto: onnx.ModelProto) -> Choice:
            if precision == "fp16":
                halve_weights(proto, known)
            done = int8.apply(name, size, proto) if int8 else Choice()
            if int8 and not options.qdq:
                halve_weights(proto, {}, BESIDE_INT8)
            return done

        says = int8_fields("qdq" if options.qdq else "dynamic", measured_on) if int8 else {}
        return OnnxWriter(model, partial, precision, change, says, stored, points)

    return export_bundle(checkpoint, folder, "onnx", precision, writer, sizes, vocabulary, templates, vectors, progress)


def int8_fields(quantisation: Literal["dynamic", "qdq"], photos: Photos) -> dict[str, Any]:
    """What the manifest of an int8 bundle says of all its graphs. photos: what they were measured on."""
    return {"quantisation": quantisation, "measured_on": photos.what}


# Puts a traced graph into a precision, in place. Returns what int8 did to its layers.
Change = Callable[[GraphName, Size | None, onnx.ModelProto], Choice]


class OnnxWriter:
    """Writes ONNX graphs into a folder, with one weight file for all sizes of a graph."""

    def __init__(
        self,
        model: MergedModel,
        folder: Path,
        precision: Precision,
        change: Change,
        says: dict[str, Any],
        checkpoint: Path | None = None,
        points: int | None = None,
    ) -> None:
        """change: puts a graph into `precision`. says: more fields of the manifest.

        checkpoint: a file of the folder that graphs read weights from too. points: of the one prompt of a call, where
        that is fixed.
        """
        self._model, self._folder, self._precision, self._change = model, folder, precision, change
        self._says, self._checkpoint, self._points = says, checkpoint, points
        self._weights: dict[GraphName, WeightFile] = {}
        self._graphs: list[Graph] = []

    def write(self, name: GraphName, size: Size | None, asked: list[Case]) -> None:
        """See `Writer.write`: trace, write and measure one graph. Changes `asked` to match fixed prompts."""
        model = self._model
        points = self._points if name in ("prompt_encoder", "mask_decoder") else None
        if points:
            fitting = [case for case in asked if has_points(case[0], points)]
            asked[:] = [ask(model, name, size, probe(model.spec, name, size, (1, points))), *fitting]
        weights = self._weights.setdefault(name, WeightFile(self._folder / f"{name}.weights"))
        sides = signature(model.spec, name, size).fixed({"I": 1} if self._points else {})
        traced = sides.fixed({"B": 1, "M": 1, "N": points}) if points else sides
        proto = trace(graph_module(model, name, size), traced, asked[0][0])
        done = self._change(name, size, proto)
        weights.take(proto)
        path = self._folder / (f"{name}_{size}.onnx" if size else f"{name}.onnx")
        onnx.save_model(proto, path)
        onnx.checker.check_model(path)
        parity = measure(OrtSession(path, sides, self._precision, None), asked)
        for output, found in parity.items():
            if not passes(found, self._precision):
                raise ParityError(
                    f"{path.name}: {output} differs from torch's by {found.error:.1e} of its standard deviation "
                    f"(cosine {found.cosine:.6f}); no bundle was written"
                )
        self._graphs.append(
            Graph(
                name=name,
                size=size,
                files=(describe(self._folder, path),),
                points=points,
                signature=sides,
                parity=parity,
                reference={output: reference_of(values) for output, values in asked[0][1].items()},
                in_float=done.in_float,
                moved=dict(done.moved),
            )
        )

    def finish(self) -> dict[str, Any]:
        """See `Writer.finish`. Checksums are taken here, because only now no weight file grows any more."""
        done = []
        for graph in self._graphs:
            path = self._weights[graph.name].path
            shared = [describe(self._folder, each) for each in (path, self._checkpoint) if each and each.exists()]
            done.append(graph.model_copy(update={"files": (*graph.files, *shared)}))
        return {"graphs": tuple(done), **self._says}
