"""`samclip-edge bench`: time and memory of merged models beside SAM and CLIP, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from samclip_edge.cli.common import Json, Threads, bar, emit, note, option_names

DEFAULT_BASES = ("mobile",)


def run(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="A merged bundle; vit_b of random weights when left out.")
    ] = None,
    base: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Measure only the table of bases, of mobile, vit_l, vit_h or radio, each beside vit_b and beside its "
            "own two models; can be given several times.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", metavar="DIR", help="Where systems are exported to, and the report is written.")
    ] = Path("bench"),
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure a merged model against SAM and CLIP side by side: sizes, load, peak memory, latency, graph by graph.

    Every system runs in a fresh process, in turn, warmed up. Without a bundle `vit_b` is measured in three precisions,
    and then the table of bases for `mobile`.

    On two cores that takes about an hour and a half the first time, of which half is exporting, and 7 GB of disk; the
    table of `mobile` alone takes half an hour, and that of vit_l or vit_h hours. What is exported is kept in DIR, and
    found again: delete DIR after an upgrade.
    """
    import os

    from samclip_edge.benchmarks.bases import measure_bases
    from samclip_edge.benchmarks.bases_report import bases_markdown
    from samclip_edge.benchmarks.bench import bench
    from samclip_edge.benchmarks.report import markdown, picture
    from samclip_edge.errors import InputError

    if bundle and base:
        raise InputError(f"--base {base[0]}: is measured without a bundle; leave {bundle} out")
    threads = threads or os.cpu_count() or 1
    document: dict[str, Any] = {}
    texts: list[str] = []
    written = ["bench.json", "bench.md"]
    if not base:
        found = bench(bundle, output, threads, bar())
        document |= found.to_json()
        texts.append(markdown(found))
        _write(output, document, texts)  # after each part, so that a fault in the second does not lose the first
        picture(found, output / "bench.png")
        written.append("bench.png")
    if bases := base or (DEFAULT_BASES if bundle is None else ()):
        with option_names(base="--base"):
            beside = measure_bases(bases, output, threads, bar())
        document["bases"] = beside.to_json()
        texts.append(bases_markdown(beside))
        _write(output, document, texts)
    emit(document, json, lambda: print("\n\n".join(texts)))
    note(f"{output}: {', '.join(written)}")


def _write(folder: Path, document: dict[str, Any], texts: list[str]) -> None:
    from json import dumps

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(dumps(document, indent=1), "utf-8")
    (folder / "bench.md").write_text("\n\n".join(texts) + "\n", "utf-8")
