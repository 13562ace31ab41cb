"""What the verbs share: their options, where output goes, and how errors end. Imports nothing heavy."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from samclip_edge import graphs
    from samclip_edge.pipeline import SamClip
    from samclip_edge.progress import Progress

Item = TypeVar("Item")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]
BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="The bundle to run; the shipped model when left out.")
]
Size = Annotated[int | None, typer.Option("--size", metavar="S", help="Input size, one of the bundle's.")]
Picture = Annotated[Path | None, typer.Option("-o", metavar="PICTURE", help="Draw the answer into this picture.")]
MaxPixels = Annotated[
    int | None, typer.Option("--max-pixels", metavar="N", help="Refuse photos of more pixels; 178956970 when left out.")
]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", min=1, help="CPU threads of the engine.")]
Units = Annotated[
    str, typer.Option("--units", metavar="UNITS", help="What Core ML may use: all, cpu, cpu+gpu or cpu+ne.")
]


def check_units(units: str) -> graphs.Units:
    """Compute units as given, or InputError."""
    from typing import cast, get_args

    from samclip_edge import graphs
    from samclip_edge.errors import InputError

    known = get_args(graphs.Units)
    if units not in known:
        raise InputError(f"--units {units}: give {', '.join(known[:-1])} or {known[-1]}")
    return cast("graphs.Units", units)


def note(text: str) -> None:
    """Say something beside the answer: one line on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(document: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Print the answer: the document as JSON, or for people by `show`."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        show()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """A table on stdout."""
    from rich.console import Console
    from rich.table import Table

    made = Table(*columns, title=title, title_justify="left")
    for row in rows:
        made.add_row(*row)
    console = Console(markup=False, highlight=False)
    console.print(made, width=None if console.is_terminal else 140)


def bar() -> Progress:
    """Progress as a bar on stderr where that is a terminal, else nothing."""
    from samclip_edge.progress import silent

    if not sys.stderr.isatty():
        return silent
    from rich.console import Console
    from rich.progress import track

    def shown(items: Sequence[Item], what: str, /) -> Iterable[Item]:
        return track(items, what, console=Console(stderr=True), transient=True)

    return shown


def load(bundle: Path | None, threads: int | None, units: str = "all", interpreted: bool = False) -> SamClip:
    """The model to run, the shipped one where none is named, with a note on stderr where its answers mean little.

    interpreted: run what is for Core ML or TensorRT another way, slowly, where there is none.
    """
    from samclip_edge import data
    from samclip_edge.bundle import Bundle
    from samclip_edge.graphs import INTERPRETERS, Engine, runs_here
    from samclip_edge.pipeline import SamClip

    opened = Bundle.open(data.TINY if bundle is None else bundle)
    interpreted = interpreted and opened.manifest.target in INTERPRETERS and not runs_here(opened)
    if interpreted:
        missing = {"coreml": "Core ML here; its programs are", "tensorrt": "GPU with engines here; their ONNX is"}
        note(f"note: there is no {missing[opened.manifest.target]} run another way, slowly")
    model = SamClip(opened, Engine(threads, check_units(units), interpreted))
    if not model.bundle.manifest.trained:
        note(f"note: untrained weights ({model.bundle.manifest.origin}); names and masks mean nothing yet")
    elif bundle is None:
        note("note: the shipped model knows rendered shapes and colours only; name a --bundle for photos")
    return model
