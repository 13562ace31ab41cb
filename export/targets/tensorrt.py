"""TensorRT: strongly typed ONNX, compared with torch in ONNX Runtime, and an engine built from each graph and size.

The ONNX stays in the bundle: any machine can check it, and another GPU builds its own engines from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from samclip_edge.bundle.contract import GraphName
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import BuiltEngines, Graph, Precision
from samclip_edge.bundle.sizes import Size
from samclip_edge.export.export import export_bundle
from samclip_edge.export.options import TensorRTOptions
from samclip_edge.export.parity import Photos, SeenBy, package_photos
from samclip_edge.export.precision.choice import Choice
from samclip_edge.export.precision.half import halve_types
from samclip_edge.export.precision.qdq import StaticInt8
from samclip_edge.export.targets.onnx import Change, OnnxWriter, int8_fields
from samclip_edge.export.targets.tensorrt_builders import Builder, choose, profile
from samclip_edge.export.targets.tensorrt_script import SCRIPT, build_script
from samclip_edge.model.checkpoint import Origin
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent


def export_tensorrt(
    checkpoint: Path,
    folder: Path,
    sizes: Sequence[Size] | None = None,
    vocabulary: Sequence[str] | None = None,
    progress: Progress = silent,
    precision: Precision = "fp16",
    photos: Photos | None = None,
    options: TensorRTOptions | None = None,
    vectors: bool = False,
    templates: Sequence[str] | None = None,
) -> Bundle:
    """Write a TensorRT bundle and return it, opened.

    sizes, vocabulary, photos, vectors, templates: see `export_onnx`. precision: fp32; fp16, by the types in the graph;
    or int8, by pairs of QuantizeLinear and DequantizeLinear, with the rest in fp16. The prompt encoder is always
    float32, because positions need it. Raises InputError for a bad checkpoint, size or folder, when no builder is
    installed, and for what the builder refuses. Raises ParityError, and leaves no bundle, when a typed graph in ONNX
    Runtime is further from torch than `verify.passes` allows.
    """
    options = options or TensorRTOptions()
    builder = None if options.only_onnx else choose(options)

    measured_on = photos or package_photos()

    def writer(model: MergedModel, origin: Origin, partial: Path) -> EngineWriter:
        int8 = StaticInt8(model, SeenBy(model, measured_on), progress) if precision == "int8" else None
        says = int8_fields("qdq", measured_on) if int8 else {}
        return EngineWriter(model, partial, precision, typing(precision, int8), says, builder, options, progress)

    return export_bundle(
        checkpoint, folder, "tensorrt", precision, writer, sizes, vocabulary, templates, vectors, progress
    )


def typing(precision: Precision, int8: StaticInt8 | None) -> Change:
    """A function that puts a traced graph into a precision, as `OnnxWriter` takes it. int8: applied first if given."""

    def change(name: GraphName, size: Size | None, proto: onnx.ModelProto) -> Choice:
        if precision == "fp32" or name == "prompt_encoder":
            return Choice()
        done = int8.apply(name, size, proto) if int8 else Choice()
        halve_types(proto)
        return done

    return change


class EngineWriter(OnnxWriter):
    """Writes typed ONNX into a folder, then the built engines, and `build.sh`, which builds them on another machine."""

    def __init__(
        self,
        model: MergedModel,
        folder: Path,
        precision: Precision,
        change: Change,
        says: dict[str, Any],
        builder: Builder | None,
        options: TensorRTOptions,
        progress: Progress,
    ) -> None:
        super().__init__(model, folder, precision, change, says)
        self._builder, self._options, self._progress = builder, options, progress

    def finish(self) -> dict[str, Any]:
        """See `Writer.finish`."""
        found = super().finish()
        graphs: Sequence[Graph] = found["graphs"]
        script = self._folder / SCRIPT
        script.write_text(build_script(graphs, self._options), "utf-8")
        found["script"] = describe(self._folder, script)
        if self._builder is None:
            return found
        built = []
        for graph in self._progress(graphs, "building engines"):
            path = self._folder / graph.files[0].path
            engine = path.with_suffix(".engine")
            engine.write_bytes(self._builder.build(path, profile(graph.signature)))
            built.append(graph.model_copy(update={"built_engine": describe(self._folder, engine)}))
        engines = BuiltEngines(
            builder=self._builder.name,
            version=self._builder.version,
            capabilities=self._builder.capabilities,
            portable=self._options.portable,
            stripped=self._options.stripped,
        )
        return found | {"graphs": tuple(built), "built_engines": engines}
