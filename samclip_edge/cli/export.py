"""`samclip-edge export`: a checkpoint to a bundle, its parity measured and printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samclip_edge.cli.common import Json, bar, emit, table

if TYPE_CHECKING:
    from samclip_edge.bundle import Bundle


def run(
    output: Annotated[Path, typer.Option("-o", metavar="DIR", help="The bundle folder to write.")],
    model: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="tiny, the shipped model, or a checkpoint of `init` or `train`.")
    ] = "tiny",
    target: Annotated[str, typer.Option(help="The engine to export for: onnx.")] = "onnx",
    precision: Annotated[str, typer.Option(help="The precision of the weights: fp32 or fp16.")] = "fp32",
    size: Annotated[list[int] | None, typer.Option(metavar="S", help="An input size; may be repeated.")] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(metavar="NAMES.txt", help="One name a line: ship their features in place of the text encoder."),
    ] = None,
    json: Json = False,
) -> None:
    """Export a checkpoint to a bundle of graphs and measure each against torch on real photos."""
    from typing import cast, get_args

    from samclip_edge import data
    from samclip_edge.bundle import Precision
    from samclip_edge.errors import InputError
    from samclip_edge.export.export import export_onnx

    if target != "onnx":
        raise InputError(f"--target {target}: this version exports onnx only")
    precisions = get_args(Precision)
    if precision not in precisions:
        raise InputError(f"--precision {precision}: this version exports {' and '.join(precisions)}")
    names = None if vocabulary is None else _read_names(vocabulary)
    bundle = export_onnx(
        data.CHECKPOINTS.get(model, Path(model)), output, size, names, bar(), cast("Precision", precision)
    )
    emit(_document(bundle), json, lambda: _show(bundle))


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


def _show(bundle: Bundle) -> None:
    rows = [
        (graph.name, str(graph.size or ""), output, f"{parity.error:.1e}", f"{parity.cosine:.7f}")
        for graph in bundle.manifest.graphs
        for output, parity in graph.parity.items()
    ]
    title = "Parity with torch on the probe and on real photos (error: max abs difference over torch's deviation)"
    table(("graph", "size", "output", "error", "cosine"), rows, title)
    print(f"{bundle.folder}: {sum(file.bytes for file in bundle.files()) / 1e6:.1f} MB")
