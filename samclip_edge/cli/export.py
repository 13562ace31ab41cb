"""`samclip-edge export`: a checkpoint to a bundle, its parity measured and printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samclip_edge.cli.common import Json, bar, emit, note, table

if TYPE_CHECKING:
    from samclip_edge.bundle import Bundle
    from samclip_edge.export.parity import Pixels


def run(
    output: Annotated[Path, typer.Option("-o", metavar="DIR", help="The bundle folder to write.")],
    model: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="tiny, the shipped model, or a checkpoint of `init` or `train`.")
    ] = "tiny",
    target: Annotated[str, typer.Option(help="The engine to export for: onnx, coreml or tensorrt.")] = "onnx",
    precision: Annotated[
        str, typer.Option(help="The precision of the weights: fp32, fp16 or int8; of coreml also palette8 or palette6.")
    ] = "fp32",
    size: Annotated[list[int] | None, typer.Option(metavar="S", help="An input size; may be repeated.")] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(metavar="NAMES.txt", help="One name a line: ship their features in place of the text encoder."),
    ] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Option("--photo", metavar="FILE", help="What int8 is measured on; may be repeated."),
    ] = None,
    minimum: Annotated[
        str, typer.Option("--minimum-target", help="Of coreml: the least system, iOS16, iOS17 or iOS18.")
    ] = "iOS18",
    image_input: Annotated[
        bool, typer.Option("--image-input", help="Of coreml: the encoder takes an image (a CVPixelBuffer).")
    ] = False,
    points: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Of coreml: one prompt of N points in a call (2: a click or a box); else ranges."
        ),
    ] = None,
    builder: Annotated[
        str | None, typer.Option(help="Of tensorrt: tensorrt or tensorrt_rtx; else the one that is installed.")
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option(
            "--compute-capability", metavar="N.N", help="Of tensorrt_rtx: a GPU to build for; may be repeated."
        ),
    ] = None,
    only_onnx: Annotated[
        bool, typer.Option("--onnx-only", help="Of tensorrt: no engines, but a script that builds them on the device.")
    ] = False,
    portable: Annotated[
        bool, typer.Option("--version-compatible", help="Of tensorrt: engines that newer versions of it take too.")
    ] = False,
    stripped: Annotated[
        bool,
        typer.Option("--strip-weights", help="Of tensorrt: engines without weights, which the ONNX beside them has."),
    ] = False,
    timing_cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of tensorrt: kernel times of earlier builds, kept up to date.")
    ] = None,
    vectors: Annotated[
        bool, typer.Option("--test-vectors", help="Add inputs and right answers as files, for an app's own tests.")
    ] = False,
    json: Json = False,
) -> None:
    """Export a checkpoint to a bundle of graphs and measure each against torch on real photos.

    int8 leaves in float what alone would lose much, and for onnx and tensorrt prints what it costs on `eval synthetic`.
    """
    from typing import cast, get_args

    from samclip_edge import data
    from samclip_edge.bundle import BuilderName, Precision, Target
    from samclip_edge.errors import InputError
    from samclip_edge.export.export import export_onnx

    if target not in get_args(Target):
        raise InputError(f"--target {target}: this version exports {' and '.join(get_args(Target))}")
    precisions = [each for each in get_args(Precision) if target == "coreml" or not each.startswith("palette")]
    if precision not in precisions:
        raise InputError(f"--precision {precision}: this version exports {', '.join(precisions)} for {target}")
    if photos and (precision != "int8" or target == "coreml"):
        raise InputError(
            f"--photo {photos[0]}: only --precision int8 for onnx or tensorrt is measured on photos; leave it out"
        )
    of_one: dict[str, dict[str, object]] = {
        "coreml": {"--image-input": image_input, "--points": points, "--minimum-target": minimum != "iOS18"},
        "tensorrt": {
            "--builder": builder,
            "--compute-capability": capability,
            "--onnx-only": only_onnx,
            "--version-compatible": portable,
            "--strip-weights": stripped,
            "--timing-cache": timing_cache,
        },
    }
    for owner, given in of_one.items():
        for option in (name for name, value in given.items() if value and owner != target):
            raise InputError(f"{option}: is of --target {owner} only; leave it out")
    for option in ("--builder", "--compute-capability", "--timing-cache"):
        if only_onnx and of_one["tensorrt"][option]:
            raise InputError(f"{option}: with --onnx-only nothing is built here; leave one of them out")
    names = None if vocabulary is None else _read_names(vocabulary)
    checkpoint = data.CHECKPOINTS.get(model, Path(model))
    chosen = cast("Precision", precision)
    if target == "coreml":
        from samclip_edge.export.coreml import Options, check_minimum, export_coreml

        options = Options(check_minimum(minimum), image_input, points)
        bundle = export_coreml(checkpoint, output, size, names, bar(), chosen, options, vectors)
    else:
        measured = _photos(photos) if precision == "int8" else None
        if target == "tensorrt":
            from samclip_edge.export import builders
            from samclip_edge.export.tensorrt import export_tensorrt

            if builder not in (None, *get_args(BuilderName)):
                raise InputError(f"--builder {builder}: no such builder; give {' or '.join(get_args(BuilderName))}")
            named = cast("BuilderName | None", builder)
            how = builders.Options(named, tuple(capability or ()), portable, stripped, timing_cache, only_onnx)
            bundle = export_tensorrt(checkpoint, output, size, names, bar(), chosen, measured, how, vectors)
        else:
            bundle = export_onnx(checkpoint, output, size, names, bar(), chosen, measured, vectors)
    cost = _cost(checkpoint, bundle) if precision == "int8" and target != "coreml" else {}
    emit(_document(bundle) | ({"cost": cost} if cost else {}), json, lambda: _show(bundle, cost))


def _photos(paths: list[Path] | None) -> list[Pixels]:
    from samclip_edge.benchmarks.precision import rendered
    from samclip_edge.image import read_photo

    return [read_photo(path) for path in paths] if paths else rendered()


def _cost(checkpoint: Path, bundle: Bundle) -> dict[str, dict[str, float]]:
    """What int8 costs on `eval synthetic`; nothing, with a note, where that would mean nothing."""
    import tempfile

    from samclip_edge.benchmarks.precision import COUNTS, costs
    from samclip_edge.export.export import export_onnx
    from samclip_edge.graphs import Engine
    from samclip_edge.pipeline import SamClip

    manifest = bundle.manifest
    if not manifest.trained or manifest.text.tokenizer is None:
        why = "its weights are untrained" if not manifest.trained else "it holds a vocabulary"
        note(f"note: what int8 costs on `eval synthetic` was not measured: {why}")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        whole = export_onnx(checkpoint, Path(folder) / "float", manifest.sizes, None, bar())
        return costs(SamClip(whole), SamClip(bundle, Engine(interpreted=True)), COUNTS, bar())


def _read_names(path: Path) -> list[str]:
    from samclip_edge.errors import InputError, one_line
    from samclip_edge.text import check_labels

    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"--vocabulary {path}: cannot be read ({one_line(error)}); give a text file") from None
    return check_labels([line for line in lines if line.strip()], f"--vocabulary {path}")


def _document(bundle: Bundle) -> dict[str, object]:
    graphs = [
        {"name": graph.name, "size": graph.size, "parity": {k: v.model_dump() for k, v in graph.parity.items()}}
        for graph in bundle.manifest.graphs
    ]
    return {"bundle": str(bundle.folder), "bytes": sum(f.bytes for f in bundle.files()), "graphs": graphs}


def _show(bundle: Bundle, cost: dict[str, dict[str, float]]) -> None:
    rows = [
        (graph.name, str(graph.size or ""), output, f"{parity.error:.1e}", f"{parity.cosine:.7f}")
        for graph in bundle.manifest.graphs
        for output, parity in graph.parity.items()
    ]
    title = "Parity with torch on the probe and on real photos (error: max abs difference over torch's deviation)"
    table(("graph", "size", "output", "error", "cosine"), rows, title)
    left = sum(
        len(graph.in_float) for graph in bundle.manifest.graphs if graph.size in (None, bundle.manifest.sizes[0])
    )
    if bundle.manifest.precision == "int8" and bundle.manifest.target != "coreml":
        print(f"{left} layers were left in float, because each alone moves an output by over 1 % (manifest: in_float)")
    if cost:
        measures = next(iter(cost.values()))
        title = "What int8 costs on `eval synthetic`, one graph at a time (fewer scenes than `eval` itself takes)"
        table(("measure", *cost), [(m, *(f"{scores[m]:.3f}" for scores in cost.values())) for m in measures], title)
    if bundle.manifest.target == "tensorrt":
        engines = bundle.manifest.engines
        if engines is None:
            print(f"next, on the device that will run it: sh {bundle.folder.name}/build.sh (see docs/jetson.md)")
        else:
            print(f"engines by {engines.builder} {engines.version} for GPUs of {', '.join(engines.capabilities)}")
    print(f"{bundle.folder}: {sum(file.bytes for file in bundle.files()) / 1e6:.1f} MB")
