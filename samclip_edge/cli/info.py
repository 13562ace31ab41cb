"""`samclip-edge info`: what a bundle is and holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_edge.cli.common import Json, emit, table


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle folder.")],
    json: Json = False,
) -> None:
    """Show what a bundle holds: model, sizes, graphs with their inputs and outputs, files, and measured parity."""
    from collections import Counter

    from samclip_edge.bundle import Bundle, read_steps
    from samclip_edge.contract import Tensor
    from samclip_edge.words import vocabulary_names

    opened = Bundle.open(bundle)
    manifest = opened.manifest
    names = vocabulary_names(opened)
    total = sum(file.bytes for file in opened.files())

    ops = {
        f"{graph.name} {graph.size or ''}".strip(): dict(
            Counter(step.op for step in read_steps(opened, graph).values()).most_common()
        )
        for graph in manifest.graphs
        if graph.steps
    }

    def sides(tensors: tuple[Tensor, ...]) -> str:
        return "\n".join(f"{t.name} ({','.join(map(str, t.shape))}) {t.dtype}" for t in tensors)

    def show() -> None:
        print(f"{manifest.spec.name} for {manifest.target} in {manifest.precision}, by {manifest.producer}")
        print(f"weights: {'trained' if manifest.trained else 'untrained'}; {manifest.origin}")
        print(f"sizes: {', '.join(map(str, manifest.sizes))}; {total / 1e6:.1f} MB in {len(opened.files())} files")
        print(
            "text: any words, by the text encoder" if names is None else f"text: {len(names)} names: {', '.join(names)}"
        )
        if manifest.engines:
            made = manifest.engines
            print(f"engines: {made.builder} {made.version}, for GPUs of {', '.join(made.capabilities)}")
        rows = [
            (
                f"{graph.name} {graph.size or ''}",
                sides(graph.signature.inputs),
                sides(graph.signature.outputs),
                f"{max(parity.error for parity in graph.parity.values()):.1e}",
            )
            for graph in manifest.graphs
        ]
        table(("graph", "inputs", "outputs", "parity"), rows)
        if ops:
            listed = ((name, ", ".join(f"{op} {count}" for op, count in each.items())) for name, each in ops.items())
            table(("graph", "its ops, and how many of each"), listed)
        table(("file", "bytes", "sha256"), [(f.path, str(f.bytes), f.sha256[:16]) for f in opened.files()])

    document = {
        "bundle": str(bundle),
        "bytes": total,
        "vocabulary": names,
        "ops": ops,
        "manifest": manifest.model_dump(),
    }
    emit(document, json, show)
