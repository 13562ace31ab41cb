"""An order: a checkpoint, a target and its options; and the bundle that comes of it, whichever the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Precision, Target
from samclip_edge.bundle.sizes import Size
from samclip_edge.export.costs import costs_of, rendered
from samclip_edge.export.options import CoreMLOptions, LiteRTOptions, Options, TensorRTOptions
from samclip_edge.export.parity import Photos, package_photos
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model.checkpoint import read_spec
from samclip_edge.photo.read import read_photo
from samclip_edge.progress import Progress, silent

Costs = dict[str, dict[str, float]]  # a measure of `eval synthetic`, by what runs in int8


@dataclass(frozen=True)
class Order:
    """What is asked of every target, and the options of one."""

    checkpoint: Path
    target: Target
    precision: Precision
    sizes: Sequence[Size] | None  # None: all of the spec's
    vocabulary: list[str] | None  # names whose features replace the text encoder
    templates: list[str] | None  # prompt templates; None: CLIP's eighty
    photos: list[Path]  # that int8 is measured on; empty: rendered scenes for a model of those, else the package's
    vectors: bool  # with test vectors
    options: Options

    def export(self, folder: Path, progress: Progress = silent) -> Bundle:
        """Write the bundle. Raises what the `export_` function of the target raises."""
        common: dict[str, Any] = {
            "sizes": self.sizes,
            "vocabulary": self.vocabulary,
            "templates": self.templates,
            "progress": progress,
            "precision": self.precision,
            "vectors": self.vectors,
        }
        if isinstance(self.options, CoreMLOptions):
            from samclip_edge.export.targets.coreml import export_coreml  # which needs coremltools

            return export_coreml(self.checkpoint, folder, options=self.options, **common)
        photos = self._measured_on() if self.precision == "int8" else None
        if isinstance(self.options, LiteRTOptions):
            from samclip_edge.export.targets.litert import export_litert  # which needs litert-torch

            return export_litert(self.checkpoint, folder, options=self.options, photos=photos, **common)
        if isinstance(self.options, TensorRTOptions):
            from samclip_edge.export.targets.tensorrt import export_tensorrt

            return export_tensorrt(self.checkpoint, folder, options=self.options, photos=photos, **common)
        return export_onnx(self.checkpoint, folder, options=self.options, photos=photos, **common)

    def _measured_on(self) -> Photos:
        """What int8 is measured on. Each photo is decoded when its turn comes."""
        if self.photos:
            return Photos(
                f"{len(self.photos)} photos that the export was given", lambda _: map(read_photo, self.photos)
            )
        if read_spec(self.checkpoint)[1].rendered:
            return Photos("rendered scenes", rendered)
        return package_photos()

    def int8_costs(self, bundle: Bundle, progress: Progress = silent) -> Costs | str:
        """What int8 costs on `eval synthetic`, or why it was not measured; "" where there is nothing to measure."""
        manifest = bundle.manifest
        if manifest.precision != "int8" or manifest.target == "coreml":
            return ""
        if not read_spec(self.checkpoint)[1].rendered:
            return "its weights were not trained on rendered scenes"
        if manifest.text.tokenizer is None:
            return "the bundle holds a vocabulary; it takes a text encoder"
        if points := next((graph.points for graph in manifest.graphs if graph.points), None):
            return f"the bundle takes prompts of {points} points only"
        return costs_of(self.checkpoint, bundle, progress)
