"""`samclip-edge info`: what a bundle is and holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from samclip_edge.cli.common import Json, emit, table


def run(
    bundle: Annotated[
        Path,
        typer.Argument(metavar="BUNDLE", help="The bundle folder, org/name of a hub's, or photo or tiny, which ship."),
    ],
    json: Json = False,
) -> None:
    """Show what a bundle holds: model, sizes, graphs with their inputs and outputs, files, and measured parity."""
    from collections import Counter

    from samclip_edge.bundle.folder import read_steps
    from samclip_edge.bundle.weights import research_only
    from samclip_edge.cli.loading import bundle_of
    from samclip_edge.text.words import vocabulary_names

    opened = bundle_of(bundle)
    ops = {
        f"{graph.name} {graph.size or ''}".strip(): dict(
            Counter(step.op for step in read_steps(opened, graph).values()).most_common()
        )
        if graph.steps
        else graph.operators
        for graph in opened.manifest.graphs
        if graph.steps or graph.operators
    }
    document = {
        "bundle": opened.given,
        "bytes": sum(file.bytes for file in opened.files()),
        "vocabulary": vocabulary_names(opened),
        "ops": ops,
        "manifest": opened.manifest.model_dump(by_alias=True),
    }
    files = [(file.path, str(file.bytes), file.sha256[:16]) for file in opened.files()]
    made_of = [f"{each.what}: {each}" for each in opened.manifest.weights]
    made_of += [bound for bound in [research_only(opened.manifest.weights)] if bound]
    emit(document, json, lambda: _show(document, made_of, files))


def _show(document: dict[str, Any], made_of: list[str], files: list[tuple[str, str, str]]) -> None:
    manifest, names, engines = document["manifest"], document["vocabulary"], document["manifest"]["engines"]
    print(f"{manifest['spec']['name']} for {manifest['target']} in {manifest['precision']}, by {manifest['producer']}")
    print(f"weights: {'trained' if manifest['trained'] else 'untrained'}; {manifest['origin']}")
    print(*made_of, sep="\n", end="\n" * bool(made_of))
    sizes = ", ".join(map(str, manifest["sizes"]))
    if manifest["trained_at"]:
        sizes += f" (trained at {', '.join(map(str, manifest['trained_at']))})"
    print(f"sizes: {sizes}; {document['bytes'] / 1e6:.1f} MB in {len(files)} files")
    print("text: any words, by the text encoder" if names is None else f"text: {len(names)} names: {', '.join(names)}")
    if names is None and manifest["spec"]["text"].get("tokenizer") == "own":
        print("its tokenizer is not CLIP's: an app whose runtime cannot read it needs an export with --vocabulary")
    if manifest["calibration"]:
        print(f"chances of names: measured on {manifest['calibration']['measured_on']}")
    if manifest["measured_on"]:
        kind = {
            "qdq": "fixed scales, in pairs of Q and DQ",
            "dynamic": "scales found in each call",
            "static": "fixed scales",
            "weights": "weights only, which are computed with in float",
        }
        print(
            f"int8: {kind.get(manifest['quantisation'], 'of an older version')}; measured on {manifest['measured_on']}"
        )
    show_processors(manifest["graphs"])
    fixed = {graph["points"] for graph in manifest["graphs"] if graph["points"]}
    if fixed:
        print(f"prompts: one a call, of {fixed.pop()} points")
    if engines:
        made_for = ", ".join(engines["capabilities"])
        print(f"built engines: {engines['builder']} {engines['version']}, for GPUs of {made_for}")
    rows = [
        (
            f"{graph['name']} {graph['size'] or ''}",
            _sides(graph["signature"]["inputs"]),
            _sides(graph["signature"]["outputs"]),
            f"{max(parity['error'] for parity in graph['parity'].values()):.1e}",
        )
        for graph in manifest["graphs"]
    ]
    table(("graph", "inputs", "outputs", "parity"), rows)
    _show_signatures(manifest["graphs"])
    if document["ops"]:
        listed = (
            (name, ", ".join(f"{op} {count}" for op, count in each.items())) for name, each in document["ops"].items()
        )
        table(("graph", "its ops, and how many of each"), listed)
    table(("file", "bytes", "sha256"), files)


def show_processors(graphs: Sequence[dict[str, Any]]) -> None:
    """Of a LiteRT bundle: what a phone's processors leave to the CPU by their tables, or compute wrongly."""
    known = [graph for graph in graphs if graph["left_to_cpu"]]
    if not known:
        return
    processors = list(known[0]["left_to_cpu"])
    rows = [
        (
            f"{graph['name']} {graph['size'] or ''}",
            *(", ".join(graph["left_to_cpu"].get(each, ())) or "takes it whole" for each in processors),
        )
        for graph in known
    ]
    title = (
        "What each processor leaves to the CPU, or computes wrongly, of the signatures for one prompt or text, by "
        "published tables; a GPU refuses a file with a signature for several: for a GPU, export with --points 2"
    )
    table(("graph", *processors), rows, title)


def _show_signatures(graphs: Sequence[dict[str, Any]]) -> None:
    """Of a LiteRT bundle: the signatures of each file, by which an app calls it."""
    files: dict[str, list[str]] = {}
    for graph in graphs:
        if graph["calls"]:
            files.setdefault(graph["files"][0]["path"], []).extend(call["function"] for call in graph["calls"])
    if files:
        table(("file", "signatures"), [(file, ", ".join(names)) for file, names in files.items()])


def _sides(tensors: list[dict[str, Any]]) -> str:
    return "\n".join(f"{t['name']} ({','.join(map(str, t['shape']))}) {t['dtype']}" for t in tensors)
