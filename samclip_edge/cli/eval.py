"""`samclip-edge eval`: how good a bundle is at a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_edge.cli.common import BundleFolder, Device, Json, Threads, bar, emit, option_names, table


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="synthetic: rendered scenes that training never saw.")],
    bundle: BundleFolder = None,
    clip: Annotated[Path | None, typer.Option(metavar="DIR", help="The CLIP teacher's bundle, measured too.")] = None,
    sam: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The SAM teacher's bundle; with --clip, both side by side too.")
    ] = None,
    threads: Threads = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure names, retrieval, masks and text to masks, of a bundle and of its teachers."""
    from samclip_edge.accuracy.synthetic import evaluate
    from samclip_edge.bundle.folder import Bundle
    from samclip_edge.cli.loading import load, session_options
    from samclip_edge.errors import InputError
    from samclip_edge.pipeline import SamClip

    if task != "synthetic":
        raise InputError(f"{task}: no such task; give synthetic")
    options = session_options(threads, device=device)
    with option_names(device="--device"):
        model = load(bundle, threads, interpreted=True, device=device)
        clip_model, sam_model = (None if each is None else SamClip(Bundle.open(each), options) for each in (clip, sam))
        found = evaluate(model, clip_model, sam_model, progress=bar())
    document = {"task": task, "bundle": model.bundle.given, "measures": found, "scores": found}
    measures = list(dict.fromkeys(name for measured in found.values() for name in measured))
    rows = [(name, *(f"{m[name]:.3f}" if name in m else "" for m in found.values())) for name in measures]
    emit(document, json, lambda: table(("measure", *found), rows))
