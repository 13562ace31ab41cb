"""`samclip-edge bench`: time and memory, on this machine: beside SAM and CLIP, beside another version, or alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from samclip_edge.cli.common import Json, Threads, bar, emit, note, option_names

DEFAULT_BASES = ("mobile",)
DAY = 24 * 60  # minutes
FORMAT = 1  # of report.json
REPORT, TABLES = "report.json", "bench.md"


Bundle = Annotated[
    Path | None,
    typer.Argument(
        metavar="[BUNDLE]",
        help="A merged bundle; with --against also a checkpoint, which each version exports for itself. When left out, "
        "vit_b of random weights.",
    ),
]
Base = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Measure only the table of bases, of mobile, vit_l, vit_h or radio, each beside vit_b and beside its own "
        "two models; can be given several times.",
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Measure only this version beside another one, which `pip install --no-deps --target PATH` put there.",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        help="At the end run one scenario for N minutes, and compare the first with the last. With BUNDLE and without "
        "--against, BUNDLE is measured alone, which needs no torch.",
    ),
]
OfLibraries = Annotated[
    bool, typer.Option("--library", help="Measure only libraries: indexing, searching, other stores, worth of things.")
]
Coco = Annotated[
    Path | None, typer.Option("--coco", metavar="DIR", help="With --library: COCO's folder, for the worth of things.")
]
Runtime = Annotated[
    str | None,
    typer.Option(
        metavar="native|litert",
        help="Measure only the native runtime beside this one, which is to be built (`make native`), or LiteRT beside "
        "ONNX Runtime.",
    ),
]
Output = Annotated[
    Path, typer.Option("-o", metavar="DIR", help="Where systems are exported to, and the report is written.")
]


def run(
    bundle: Bundle = None,
    base: Base = None,
    against: Against = None,
    minutes: Minutes = None,
    library: OfLibraries = False,
    coco: Coco = None,
    runtime: Runtime = None,
    output: Output = Path("bench"),
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure a merged model against SAM and CLIP side by side: sizes, load, peak memory, latency, graph by graph.

    Every system runs in a fresh process, in turn, warmed up. Without a bundle `vit_b` is measured in three precisions,
    and then the table of bases for `mobile`.

    On two cores that takes about an hour and a half the first time, of which half is exporting, and 7 GB of disk; the
    table of `mobile` alone takes half an hour, and that of vit_l or vit_h hours. What is exported is kept in DIR, and
    found again: delete DIR after an upgrade. `--against PATH` takes about half an hour, of which a third is exporting.

    DIR/report.json holds all runs, and names no user, host or path: it can be sent.
    """
    import os

    _check(bundle, base, against, minutes, library, coco, runtime)
    report = Report(output, threads or os.cpu_count() or 1)
    if runtime == "litert":
        report.engines()
    elif runtime:
        report.runtimes(bundle)
    elif library:
        report.libraries(bundle, coco)
    elif against:
        bundle = report.compare(bundle, against)
    elif bundle and minutes:
        report.alone(bundle)
    elif not base:
        report.beside_two(bundle)
    if bases := base or (DEFAULT_BASES if bundle is None and not library and not runtime else ()):
        report.bases(bases)
    if minutes:
        report.long(bundle, minutes)
    emit(report.document, json, lambda: print("\n\n".join(report.texts)))
    note(f"{output}: {', '.join(report.written)}")


def _check(
    bundle: Path | None,
    base: list[str] | None,
    against: Path | None,
    minutes: float | None,
    library: bool,
    coco: Path | None,
    runtime: str | None,
) -> None:
    """Raise InputError for options that do not go together."""
    from samclip_edge.errors import InputError

    if base and (bundle or against):
        other = f"leave {bundle} out" if bundle else "leave --against out"
        raise InputError(f"--base {base[0]}: is measured {'without a bundle' if bundle else 'by itself'}; {other}")
    if minutes is not None and not 0 < minutes <= DAY:
        raise InputError(f"--minutes {minutes:g}: give more than 0, and at most {DAY}")
    if coco and not library:
        raise InputError("--coco: is for --library; leave it out")
    if library and (base or against or minutes is not None):
        raise InputError("--library: measures libraries only; leave --base, --against and --minutes out")
    if runtime not in (None, "native", "litert"):
        raise InputError(f"--runtime {runtime}: there are native and litert to be measured; give one, or leave it out")
    if runtime == "litert" and bundle:
        raise InputError(f"--runtime litert: exports the models that it measures; leave {bundle} out")
    if runtime and (library or base or against or minutes is not None):
        raise InputError("--runtime: measures runtimes only; leave --library, --base, --against and --minutes out")


class Report:
    """What was measured so far, in a document and in tables, both written after each part: a later fault loses none."""

    def __init__(self, folder: Path, threads: int) -> None:
        from samclip_edge import __version__

        self.folder, self.threads = folder, threads
        self.document: dict[str, Any] = {"format": FORMAT, "package": __version__}
        self.texts: list[str] = []
        self.written = [REPORT, TABLES]

    def compare(self, model: Path | None, installed: Path) -> Path:
        """Measure the version in a folder beside this one. Returns the bundle that this one ran."""
        from samclip_edge.benchmarks.against import compare
        from samclip_edge.benchmarks.device_report import compared_markdown

        with option_names(installed="--against"):
            found, bundle = compare(model, installed, self.folder, self.threads, bar())
        self._add(found.to_json(), compared_markdown(found))
        return bundle

    def alone(self, bundle: Path) -> None:
        """Measure a bundle by itself."""
        from samclip_edge.benchmarks.alone import measure_alone
        from samclip_edge.benchmarks.device_report import alone_markdown

        found = measure_alone(bundle, self.threads, bar())
        self._add(found.to_json(), alone_markdown(found))

    def beside_two(self, bundle: Path | None) -> None:
        """Measure a merged bundle beside SAM and CLIP."""
        from samclip_edge.benchmarks.bench import bench
        from samclip_edge.benchmarks.report import markdown, picture

        found = bench(bundle, self.folder, self.threads, bar())
        self._add(found.to_json(), markdown(found))
        picture(found, self.folder / "bench.png")
        self.written.append("bench.png")

    def bases(self, names: list[str] | tuple[str, ...]) -> None:
        """Measure the table of bases."""
        from samclip_edge.benchmarks.bases import measure_bases
        from samclip_edge.benchmarks.bases_report import bases_markdown

        with option_names(base="--base"):
            found = measure_bases(names, self.folder, self.threads, bar())
        self._add({"bases": found.to_json()}, bases_markdown(found))

    def libraries(self, bundle: Path | None, coco: Path | None) -> None:
        """Measure libraries of a bundle, or of `photo`, and of large models of random weights."""
        from samclip_edge.benchmarks.library.run import measure_libraries

        for name, found, text in measure_libraries(bundle, coco, self.folder, self.threads, bar()):
            self.document.setdefault("library", {})
            self._add({"library": self.document["library"] | {name: found}}, text)

    def runtimes(self, bundle: Path | None) -> None:
        """Measure the native runtime beside this one, on a bundle, or on `photo` and `vit_b`."""
        from samclip_edge.benchmarks.native import measure_native, native_markdown

        with option_names(runtime="--runtime"):
            for name, found in measure_native(bundle, self.folder, self.threads, bar()):
                self.document.setdefault("runtimes", {})
                self._add(
                    {"runtimes": self.document["runtimes"] | {name: found.to_json()}}, native_markdown(name, found)
                )

    def engines(self) -> None:
        """Measure LiteRT beside ONNX Runtime, on `photo`, `mobile` and `vit_b`."""
        from samclip_edge.benchmarks.litert import litert_markdown, measure_litert

        for name, found in measure_litert(self.folder, self.threads, bar()):
            self.document.setdefault("engines", {})
            self._add({"engines": self.document["engines"] | {name: found.to_json()}}, litert_markdown(name, found))

    def long(self, bundle: Path | None, minutes: float) -> None:
        """Run a bundle for minutes: vit_b, which other parts have exported, where it is None."""
        from samclip_edge.benchmarks.alone import long_run
        from samclip_edge.benchmarks.device_report import long_markdown, row

        found = long_run(bundle or self.folder / "vit_b", minutes, self.threads, bar())
        self.document["long"] = found.to_json()
        alone = "versions" not in self.document and bundle is not None
        told = f"\n\nFor docs/devices.md:\n\n{row(self.document)}" if alone else ""
        self._add({}, long_markdown(self.document["long"]) + told)

    def _add(self, found: dict[str, Any], text: str) -> None:
        from json import dumps

        from samclip_edge.files import write_whole

        self.document |= found
        self.texts.append(text)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / REPORT, dumps(self.document, indent=1))
        write_whole(self.folder / TABLES, "\n\n".join(self.texts) + "\n")
