"""`samclip-edge eval`: how good a bundle is at a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_edge.cli.common import BundleFolder, Json, Threads, bar, emit, table


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="synthetic: rendered scenes that training never saw.")],
    bundle: BundleFolder = None,
    clip: Annotated[Path | None, typer.Option(metavar="DIR", help="The CLIP teacher's bundle, measured too.")] = None,
    sam: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The SAM teacher's bundle; with --clip, both side by side too.")
    ] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure names, retrieval, masks and text to masks, of a bundle and of its teachers."""
    from samclip_edge.accuracy.synthetic import evaluate
    from samclip_edge.cli.loading import load
    from samclip_edge.errors import InputError
    from samclip_edge.pipeline import SamClip

    if task != "synthetic":
        raise InputError(f"{task}: no such task; give synthetic")
    model = load(bundle, threads, interpreted=True)
    clip_model, sam_model = (None if folder is None else SamClip.load(folder, threads) for folder in (clip, sam))
    found = evaluate(model, clip_model, sam_model, progress=bar())
    document = {"task": task, "bundle": str(model.bundle.folder), "measures": found, "scores": found}
    measures = list(dict.fromkeys(name for measured in found.values() for name in measured))
    rows = [(name, *(f"{m[name]:.3f}" if name in m else "" for m in found.values())) for name in measures]
    emit(document, json, lambda: table(("measure", *found), rows))
