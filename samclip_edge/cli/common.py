"""What the verbs share: their options, where output goes, and how errors end. Imports nothing heavy."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
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


def load(bundle: Path | None, threads: int | None) -> SamClip:
    """The model to run, the shipped one where none is named, with a note on stderr where its answers mean little."""
    from samclip_edge import data
    from samclip_edge.pipeline import SamClip

    model = SamClip.load(data.TINY if bundle is None else bundle, threads)
    if not model.bundle.manifest.trained:
        note(f"note: untrained weights ({model.bundle.manifest.origin}); names and masks mean nothing yet")
    elif bundle is None:
        note("note: the shipped model knows rendered shapes and colours only; name a --bundle for photos")
    return model
