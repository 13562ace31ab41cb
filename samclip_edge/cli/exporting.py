"""The options of `export` as an order, and what the verb prints. Imports torch, so the verb imports this inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Precision, Target
from samclip_edge.cli.common import table
from samclip_edge.errors import InputError, one_line
from samclip_edge.export.options import CoreMLOptions, TensorRTOptions
from samclip_edge.export.order import Costs, Order
from samclip_edge.text.names import check_labels, read_templates

Given = Mapping[str, Any]  # options of one target as they were typed, by name; empty where left out


def order_of(
    model: str,
    target: str,
    precision: str,
    sizes: list[int] | None,
    vocabulary: Path | None,
    templates: Path | None,
    photos: list[Path] | None,
    vectors: bool,
    given: Mapping[str, Given],
) -> Order:
    """The options of the verb, checked. given: those of each target. Raises InputError that names the one at fault."""
    if target not in get_args(Target):
        raise InputError(f"--target {target}: this version exports {' and '.join(get_args(Target))}")
    precisions = [each for each in get_args(Precision) if target == "coreml" or not each.startswith("palette")]
    if precision not in precisions:
        raise InputError(f"--precision {precision}: this version exports {', '.join(precisions)} for {target}")
    if photos and (precision != "int8" or target == "coreml"):
        raise InputError(
            f"--photo {photos[0]}: only --precision int8 for onnx or tensorrt is measured on photos; leave it out"
        )
    chosen = cast("Target", target)
    return Order(
        checkpoint=data.CHECKPOINTS.get(model, Path(model)),
        target=chosen,
        precision=cast("Precision", precision),
        sizes=sizes,
        vocabulary=None if vocabulary is None else _read_names(vocabulary),
        templates=None if templates is None else read_templates(templates, "--templates"),
        photos=photos or [],
        vectors=vectors,
        options=_options_of(chosen, given),
    )


def _options_of(target: Target, given: Mapping[str, Given]) -> CoreMLOptions | TensorRTOptions | None:
    """What is peculiar to a target, validated. Raises InputError for an option of another target."""
    for owner, options in given.items():
        for option in (name for name, value in options.items() if value and owner != target):
            raise InputError(f"{option}: is of --target {owner} only; leave it out")
    if target == "coreml":
        own = given["coreml"]
        return CoreMLOptions(own["--minimum-target"] or "iOS18", own["--image-input"], own["--points"])
    if target == "tensorrt":
        own = given["tensorrt"]
        return TensorRTOptions(
            builder=own["--builder"],
            capabilities=own["--compute-capability"],
            portable=own["--version-compatible"],
            stripped=own["--strip-weights"],
            timing_cache=own["--timing-cache"],
            only_onnx=own["--onnx-only"],
        )
    return None


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"--vocabulary {path}: cannot be read ({one_line(error)}); give a text file") from None
    return check_labels([line for line in lines if line.strip()], f"--vocabulary {path}")


def document(bundle: Bundle, cost: Costs) -> dict[str, object]:
    """The answer as JSON."""
    graphs = [
        {"name": graph.name, "size": graph.size, "parity": {k: v.model_dump() for k, v in graph.parity.items()}}
        for graph in bundle.manifest.graphs
    ]
    found = {"bundle": str(bundle.folder), "bytes": sum(f.bytes for f in bundle.files()), "graphs": graphs}
    return found | ({"cost": cost} if cost else {})


def show(bundle: Bundle, cost: Costs) -> None:
    """The answer for people."""
    manifest = bundle.manifest
    rows = [
        (graph.name, str(graph.size or ""), output, f"{parity.error:.1e}", f"{parity.cosine:.7f}")
        for graph in manifest.graphs
        for output, parity in graph.parity.items()
    ]
    title = "Parity with torch on the probe and on real photos (error: max abs difference over torch's deviation)"
    table(("graph", "size", "output", "error", "cosine"), rows, title)
    left = sum(len(graph.in_float) for graph in manifest.graphs if graph.size in (None, manifest.sizes[0]))
    if manifest.precision == "int8" and manifest.target != "coreml":
        print(f"{left} layers were left in float, because each alone moves an output by over 1 % (manifest: in_float)")
    if cost:
        measures = next(iter(cost.values()))
        title = "What int8 costs on `eval synthetic`, one graph at a time (fewer scenes than `eval` itself takes)"
        table(("measure", *cost), [(m, *(f"{found[m]:.3f}" for found in cost.values())) for m in measures], title)
    if manifest.target == "tensorrt":
        built = manifest.built_engines
        if built is None:
            print(f"next, on the device that will run it: sh {bundle.folder.name}/build.sh (see docs/jetson.md)")
        else:
            print(f"built engines by {built.builder} {built.version} for GPUs of {', '.join(built.capabilities)}")
    print(f"{bundle.folder}: {sum(file.bytes for file in bundle.files()) / 1e6:.1f} MB")
