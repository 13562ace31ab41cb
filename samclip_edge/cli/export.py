"""`samclip-edge export`: a checkpoint to a bundle, its parity measured and printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from samclip_edge.cli.common import Json, bar, emit, note, option_names
from samclip_edge.errors import InputError

_ONNX, _COREML, _TENSORRT = "Of --target onnx", "Of --target coreml", "Of --target tensorrt"
_LITERT, _COREML_OR_LITERT = "Of --target litert", "Of --target coreml or litert"

# A string, because a Path of no letters is the current directory.
Output = Annotated[
    str,
    typer.Option(
        "-o", metavar="DIR", help="The bundle folder to write. A bundle there is replaced; other files beside it stay."
    ),
]
Model = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="photo or tiny, which ship, or a checkpoint of `init` or `train`.")
]
Target = Annotated[str, typer.Option(help="What to export for: onnx, coreml, tensorrt or litert.")]
Precision = Annotated[
    str, typer.Option(help="The precision of the weights: fp32, fp16 or int8; of coreml also palette8 or palette6.")
]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="S|WxH",
        help="An input size: a multiple of 16 from 224 (of tiny from 64) to 1024, or two, as 1024x576; may be "
        "repeated. Left out: all that the model was made for.",
    ),
]
Vocabulary = Annotated[
    Path | None,
    typer.Option(metavar="NAMES.txt", help="One name a line: ship their features in place of the text encoder."),
]
Templates = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Prompt templates, a JSON list or one a line, each with {}; else CLIP's eighty."),
]
Photo = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A photo that int8 is measured on; may be repeated."),
]
Photos = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="A folder of photos that int8 is measured on, a dozen or so.")
]
Vectors = Annotated[
    bool, typer.Option("--test-vectors", help="Add inputs and right answers as files, for an app's own tests.")
]
Static = Annotated[
    bool,
    typer.Option("--static", help="Fix each call to one prompt of 2 points: a click or a box.", rich_help_panel=_ONNX),
]
Qdq = Annotated[
    bool,
    typer.Option(
        "--qdq",
        help="int8 in explicit pairs of Q and DQ, for QNN, CoreML and XNNPACK.",
        rich_help_panel=_ONNX,
    ),
]
Minimum = Annotated[
    str, typer.Option("--minimum-target", help="The least system: iOS16, iOS17 or iOS18.", rich_help_panel=_COREML)
]
ImageInput = Annotated[
    bool, typer.Option("--image-input", help="The encoder takes an image (CVPixelBuffer).", rich_help_panel=_COREML)
]
Points = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Fix each call to one prompt of N points (2: a click or a box; with 2 words need --find-points 1). Left "
        "out: any numbers of coreml; of litert 1, 16 or 64 prompts of 2, 3, 4 or 8 points.",
        rich_help_panel=_COREML_OR_LITERT,
    ),
]
Int8 = Annotated[
    str,
    typer.Option(
        metavar="WAY",
        help="How int8 computes: dynamic (scales of each call), static (calibrated) or weights (stored so only).",
        rich_help_panel=_LITERT,
    ),
]
Builder = Annotated[
    str | None,
    typer.Option(help="tensorrt or tensorrt_rtx; else the one that is installed.", rich_help_panel=_TENSORRT),
]
Capabilities = Annotated[
    list[str] | None,
    typer.Option(
        "--compute-capability",
        metavar="N.N",
        help="Of tensorrt_rtx: a GPU to build for; may be repeated.",
        rich_help_panel=_TENSORRT,
    ),
]
OnlyOnnx = Annotated[
    bool,
    typer.Option(
        "--onnx-only",
        help="Build no engines here, but write a script that builds them on the device.",
        rich_help_panel=_TENSORRT,
    ),
]
Portable = Annotated[
    bool,
    typer.Option(
        "--version-compatible",
        help="Build engines that newer TensorRT takes too.",
        rich_help_panel=_TENSORRT,
    ),
]
Stripped = Annotated[
    bool,
    typer.Option(
        "--strip-weights",
        help="Build engines without weights, which the ONNX beside them has.",
        rich_help_panel=_TENSORRT,
    ),
]
TimingCache = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Kernel times of earlier builds, kept up to date.", rich_help_panel=_TENSORRT),
]


# The option that gives each argument of the library, which its errors name.
_OPTIONS = {
    "sizes": "--size",
    "minimum": "--minimum-target",
    "capabilities": "--compute-capability",
    "only_onnx": "--onnx-only",
    "portable": "--version-compatible",
    "stripped": "--strip-weights",
    "timing_cache": "--timing-cache",
    **{name: f"--{name}" for name in ("builder", "int8", "points", "precision", "qdq", "static", "vocabulary")},
}


class Command(TyperCommand):
    """A verb whose `--help` lists the options of each target under a heading of their own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options that every target has, then those of one."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def run(
    output: Output,
    model: Model = "photo",
    target: Target = "onnx",
    precision: Precision = "fp32",
    size: Sizes = None,
    vocabulary: Vocabulary = None,
    templates: Templates = None,
    photo: Photo = None,
    photos: Photos = None,
    vectors: Vectors = False,
    static: Static = False,
    qdq: Qdq = False,
    minimum: Minimum = "iOS18",
    image_input: ImageInput = False,
    points: Points = None,
    int8: Int8 = "dynamic",
    builder: Builder = None,
    capability: Capabilities = None,
    only_onnx: OnlyOnnx = False,
    portable: Portable = False,
    stripped: Stripped = False,
    timing_cache: TimingCache = None,
    json: Json = False,
) -> None:
    """Export a checkpoint to a bundle of graphs and measure each against torch on real photos.

    int8 leaves out a layer that changes an output by over 1 %; but for coreml the command prints how far int8
    moves each output and, for a model of rendered scenes, what it costs on `eval synthetic`.
    """
    from samclip_edge.cli import exporting

    if not output:
        raise InputError("-o: is empty; name the folder to write")
    coreml: dict[str, Any] = {
        "--image-input": image_input,
        "--points": points,
        "--minimum-target": minimum if minimum != "iOS18" else None,
    }
    tensorrt: dict[str, Any] = {
        "--builder": builder,
        "--compute-capability": tuple(capability or ()),
        "--onnx-only": only_onnx,
        "--version-compatible": portable,
        "--strip-weights": stripped,
        "--timing-cache": timing_cache,
    }
    onnx: dict[str, Any] = {"--static": static, "--qdq": qdq}
    litert: dict[str, Any] = {"--points": points, "--int8": int8 if int8 != "dynamic" else None}
    given: dict[str, dict[str, Any]] = {"onnx": onnx, "coreml": coreml, "tensorrt": tensorrt, "litert": litert}
    measured_on = (photo or [], photos)
    with option_names(**_OPTIONS):
        order = exporting.order_of(model, target, precision, size, vocabulary, templates, measured_on, vectors, given)
        bundle = order.export(Path(output), bar())
    costs = order.int8_costs(bundle, bar())
    cost = {} if isinstance(costs, str) else costs
    if isinstance(costs, str) and costs:
        note(f"note: what int8 costs on `eval synthetic` was not measured: {costs}")
    emit(exporting.document(bundle, cost), json, lambda: exporting.show(bundle, cost))
