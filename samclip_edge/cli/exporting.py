"""The options of `export` as an order, and what the verb prints. Imports torch, so the verb imports this inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Manifest, Precision, Target
from samclip_edge.bundle.sizes import Size
from samclip_edge.cli.common import table
from samclip_edge.cli.info import show_processors
from samclip_edge.errors import InputError, one_line
from samclip_edge.export.options import CoreMLOptions, LiteRTOptions, OnnxOptions, Options, TensorRTOptions
from samclip_edge.export.order import Costs, Order
from samclip_edge.photo.read import check_photo_file
from samclip_edge.text.names import check_labels, read_templates, read_text

_PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif"),
)
Given = Mapping[str, Any]  # options of one target as they were typed, by name; empty where left out


def order_of(
    model: str,
    target: str,
    precision: str,
    sizes: Sequence[Size] | None,
    vocabulary: Path | None,
    templates: Path | None,
    photos: tuple[list[Path], Path | None],
    vectors: bool,
    given: Mapping[str, Given],
) -> Order:
    """The options of the verb, checked. Raises InputError that names the one at fault.

    photos: the files of `--photo` and the folder of `--photos`. given: the options of each target.
    """
    if target not in get_args(Target):
        raise InputError(f"--target {target}: this version exports for {', '.join(get_args(Target))}")
    precisions = [each for each in get_args(Precision) if target == "coreml" or not each.startswith("palette")]
    if precision not in precisions:
        raise InputError(f"--precision {precision}: this version exports {', '.join(precisions)} for {target}")
    if any(photos) and (precision != "int8" or target == "coreml"):
        option = f"--photo {photos[0][0]}" if photos[0] else f"--photos {photos[1]}"
        measured = "--precision int8 for onnx, tensorrt or litert"
        raise InputError(f"{option}: only {measured} is measured on photos; leave it out, or give that")
    chosen = cast("Target", target)
    return Order(
        checkpoint=data.CHECKPOINTS.get(model, Path(model)),
        target=chosen,
        precision=cast("Precision", precision),
        sizes=sizes,
        vocabulary=None if vocabulary is None else read_names(vocabulary),
        templates=None if templates is None else read_templates(templates, "--templates"),
        photos=_photos_of(*photos),
        vectors=vectors,
        options=_options_of(chosen, given),
    )


def _photos_of(files: list[Path], folder: Path | None) -> list[Path]:
    """The photos of `--photo`, then those in the folder of `--photos`, sorted.

    Raises InputError for a folder without photos, and for a file that is no whole photo, before anything is exported.
    """
    found = list(files)
    if folder is not None:
        try:
            inside = sorted(each for each in folder.iterdir() if _may_be_photo(each))
        except OSError as error:
            raise InputError(f"--photos {folder}: cannot be read ({one_line(error)}); name a folder") from None
        if not inside:
            kinds = "JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF"
            raise InputError(f"--photos {folder}: holds no photos; put {kinds} files into it")
        found += inside
    for file in found:
        check_photo_file(str(file))
    return found


def _may_be_photo(path: Path) -> bool:
    """By its name. Those that begin with a dot are not meant: macOS puts a `._a.jpg` without a photo beside `a.jpg`."""
    return path.suffix.lower() in _PHOTO_SUFFIXES and not path.name.startswith(".")


def _options_of(target: Target, given: Mapping[str, Given]) -> Options:
    """What is peculiar to a target, validated. Raises InputError for an option of another target."""
    for option in (name for options in given.values() for name, value in options.items() if value):
        owners = [owner for owner, options in given.items() if option in options]
        if target not in owners:
            raise InputError(f"{option}: is of --target {' or '.join(owners)} only; leave it out")
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
    if target == "litert":
        return LiteRTOptions(given["litert"]["--points"], given["litert"]["--int8"] or "dynamic")
    return OnnxOptions(static=given["onnx"]["--static"], qdq=given["onnx"]["--qdq"])


def read_names(path: Path) -> list[str]:
    """The names of `--vocabulary`: a file of UTF-8, with or without a byte-order mark, one name a line."""
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"--vocabulary {path}: cannot be read ({one_line(error)}); give a text file") from None
    return check_labels([line for line in lines if line.strip()], f"--vocabulary {path}")


def document(bundle: Bundle, cost: Costs) -> dict[str, object]:
    """The answer as JSON."""
    graphs = [
        {
            "name": graph.name,
            "size": graph.size,
            "parity": {k: v.model_dump() for k, v in graph.parity.items()},
            **({"moved": {k: v.model_dump() for k, v in graph.moved.items()}} if graph.moved else {}),
            **({"left_to_cpu": graph.left_to_cpu} if graph.left_to_cpu else {}),
        }
        for graph in bundle.manifest.graphs
    ]
    found: dict[str, object] = {"bundle": bundle.given, "bytes": sum(f.bytes for f in bundle.files())}
    found["graphs"] = graphs
    if bundle.manifest.measured_on:
        found["measured_on"] = bundle.manifest.measured_on
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
    if manifest.measured_on:
        _show_int8(manifest)
    show_processors([graph.model_dump() for graph in manifest.graphs])
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
    print(f"{bundle.given}: {sum(file.bytes for file in bundle.files()) / 1e6:.1f} MB")


def _show_int8(manifest: Manifest) -> None:
    """What int8 was measured on, and what it does there."""
    rows = [
        (
            graph.name,
            str(graph.size or ""),
            output,
            f"{moved.error:.2%}",
            f"{moved.cosine:.7f}",
            str(len(graph.in_float)),
        )
        for graph in manifest.graphs
        for output, moved in graph.moved.items()
    ]
    table(
        ("graph", "size", "output", "moved by", "cosine", "layers not in int8"),
        rows,
        f"How far int8 moves each output from float, the worst on {manifest.measured_on} (text: on sentences)",
    )
    print("a layer is left out of int8 if it alone moves an output by over 1 %, or the engine is slow there in int8")
    print("(manifest: in_float)")
