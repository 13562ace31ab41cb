"""`samclip-edge bench`: time and memory of the merged model beside SAM and CLIP, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_edge.cli.common import Json, Threads, bar, emit, note


def run(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="A merged bundle; vit_b of random weights when left out.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", metavar="DIR", help="Where systems are exported to, and the report is written.")
    ] = Path("bench"),
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure a merged model against SAM and CLIP side by side: sizes, load, peak memory, latency, graph by graph.

    Every system runs in a fresh process, in turn, warmed up. Without a bundle `vit_b` is measured in three precisions.
    """
    import os
    from json import dumps

    from samclip_edge.benchmarks.bench import bench
    from samclip_edge.benchmarks.report import markdown, picture

    found = bench(bundle, output, threads or os.cpu_count() or 1, bar())
    output.mkdir(parents=True, exist_ok=True)
    document, text = found.to_json(), markdown(found)
    (output / "bench.json").write_text(dumps(document, indent=1), "utf-8")
    (output / "bench.md").write_text(text + "\n", "utf-8")
    picture(found, output / "bench.png")
    emit(document, json, lambda: print(text))
    note(f"{output}: bench.json, bench.md, bench.png")
