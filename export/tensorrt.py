"""TensorRT: strongly typed ONNX, held against torch in ONNX Runtime, and an engine built from each graph and size.

The ONNX stays in the bundle: it is what any machine can check, and what another GPU builds its own engines from.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from samclip_edge.bundle import Bundle, Engines, Graph, Precision, describe
from samclip_edge.contract import GraphName
from samclip_edge.export.builders import Builder, Options, Shapes, choose, profile
from samclip_edge.export.export import Change, OnnxWriter, export_bundle, seen_by
from samclip_edge.export.parity import Pixels
from samclip_edge.export.qdq import StaticInt8
from samclip_edge.export.typed import halve_types
from samclip_edge.model.checkpoint import Origin
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent

SCRIPT = "build.sh"


def export_tensorrt(
    checkpoint: Path,
    folder: Path,
    sizes: Sequence[int] | None = None,
    vocabulary: Sequence[str] | None = None,
    progress: Progress = silent,
    precision: Precision = "fp16",
    photos: Sequence[Pixels] | None = None,
    options: Options | None = None,
    vectors: bool = False,
) -> Bundle:
    """Write a TensorRT bundle and return it, opened.

    sizes, vocabulary, photos, vectors: see `export_onnx`. precision: fp32; fp16, by type; or int8, by explicit pairs of
    Q and DQ with the rest in fp16. The prompt encoder is float32 always, because positions need it. Raises InputError
    for a bad checkpoint, size or folder, where no builder is there, and for what it refuses; ParityError, leaving no
    bundle, when a typed graph in ONNX Runtime is further from torch than `verify.passes` allows.
    """
    options = options or Options()
    builder = None if options.only_onnx else choose(options)

    def writer(model: MergedModel, origin: Origin, partial: Path, smallest: int) -> EngineWriter:
        int8 = StaticInt8(model, seen_by(model, smallest, photos), progress) if precision == "int8" else None
        return EngineWriter(model, partial, precision, typing(precision, int8), builder, options, progress)

    return export_bundle(checkpoint, folder, "tensorrt", precision, writer, sizes, vocabulary, vectors, progress)


def typing(precision: Precision, int8: StaticInt8 | None) -> Change:
    """What puts a traced graph into a precision by the types of its tensors."""

    def change(name: GraphName, proto: onnx.ModelProto) -> tuple[str, ...]:
        if precision == "fp32" or name == "prompt_encoder":
            return ()
        in_float = int8.apply(name, proto) if int8 else ()
        halve_types(proto)
        return in_float

    return change


class EngineWriter(OnnxWriter):
    """Writes typed ONNX into a folder, then the engines, and the script that builds them anew elsewhere."""

    def __init__(
        self,
        model: MergedModel,
        folder: Path,
        precision: Precision,
        change: Change,
        builder: Builder | None,
        options: Options,
        progress: Progress,
    ) -> None:
        super().__init__(model, folder, precision, change)
        self._builder, self._options, self._progress = builder, options, progress

    def finish(self) -> dict[str, Any]:
        """See `Writer.finish`."""
        graphs: Sequence[Graph] = super().finish()["graphs"]
        script = self._folder / SCRIPT
        script.write_text(build_script(graphs, self._options), "utf-8")
        found: dict[str, Any] = {"graphs": graphs, "script": describe(self._folder, script)}
        if self._builder is None:
            return found
        built = []
        for graph in self._progress(graphs, "building engines"):
            path = self._folder / graph.files[0].path
            engine = path.with_suffix(".engine")
            engine.write_bytes(self._builder.build(path, profile(graph.signature)))
            built.append(graph.model_copy(update={"engine": describe(self._folder, engine)}))
        engines = Engines(
            builder=self._builder.name,
            version=self._builder.version,
            capabilities=self._builder.capabilities,
            portable=self._options.portable,
            stripped=self._options.stripped,
        )
        return found | {"graphs": tuple(built), "engines": engines}


def build_script(graphs: Sequence[Graph], options: Options) -> str:
    """A shell script that builds a bundle's engines with trtexec on the device that runs it, and records them."""
    flags = " ".join(
        flag
        for flag, asked in (("--versionCompatible", options.portable), ("--stripWeights", options.stripped))
        if asked
    )
    commands = [_command(graph.files[0].path, profile(graph.signature)) for graph in graphs]
    return "\n".join([_HEAD.replace("FLAGS", f"{flags} " if flags else ""), *commands, _TAIL.replace("FLAGS", flags)])


def _command(onnx_file: str, shapes: Shapes) -> str:
    stem = onnx_file.removesuffix(".onnx")
    parts = ["build", shlex.quote(stem)]
    for index, bound in enumerate(("min", "opt", "max")):
        if shapes:
            sides = ",".join(f"{name}:{'x'.join(map(str, each[index]))}" for name, each in shapes.items())
            parts.append(f"--{bound}Shapes={sides}")
    return " ".join(parts)


_HEAD = """\
#!/bin/sh
# Builds this bundle's engines on the device that runs them, with trtexec of TensorRT 10.3 or newer, and records them in
# the manifest. Run again after an update of TensorRT. Kernel times are kept in timing.cache: later builds are quicker.
set -eu
cd "$(dirname "$0")"
PATH="$PATH:/usr/src/tensorrt/bin"
command -v trtexec >/dev/null || { echo "error: trtexec is not here; it comes with TensorRT (JetPack)" >&2; exit 2; }
RESIZE="$(trtexec --help | grep -q runtimeActivationResize && echo --preview=+runtimeActivationResize || true)"

build() {
    name="$1"
    shift
    echo "building $name.engine (its log: $name.log)"
    trtexec --onnx="$name.onnx" --saveEngine="$name.engine" --stronglyTyped --noTF32 \\
        --skipInference --timingCacheFile=timing.cache $RESIZE FLAGS"$@" >"$name.log" 2>&1 || {
        echo "error: $name: trtexec failed: $(grep -m 1 '\\[E\\]' "$name.log" || tail -n 1 "$name.log")" >&2
        exit 1
    }
    rm "$name.log"
}
"""

_TAIL = """
"${PYTHON:-python3}" -m samclip_edge.runtimes.tensorrt . FLAGS
"""
