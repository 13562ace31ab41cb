"""What the verbs share: their options, where output goes, and progress. Imports nothing heavy."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from samclip_edge.errors import InputError
from samclip_edge.progress import Progress, silent

Item = TypeVar("Item")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]
BundleFolder = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        metavar="DIR|NAME",
        help="The bundle to run: a folder, a repository of the Hugging Face hub, org/name, or photo or tiny, which "
        "ship; photo when left out.",
    ),
]
Size = Annotated[str | None, typer.Option("--size", metavar="S|WxH", help="Input size, one of the bundle's.")]
Picture = Annotated[
    Path | None,
    typer.Option(
        "-o", metavar="PICTURE|FOLDER", help="Draw the answer into this picture; of several photos, into this folder."
    ),
]
MaxPixels = Annotated[
    int | None, typer.Option("--max-pixels", metavar="N", help="Refuse photos of more pixels; 178956970 when left out.")
]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", min=1, help="CPU threads of the engine.")]
Units = Annotated[
    str, typer.Option("--units", metavar="UNITS", help="What Core ML may use: all, cpu, cpu+gpu or cpu+ne.")
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="What ONNX Runtime runs on: cpu, cuda, tensorrt, coreml, directml, openvino, qnn, or a provider's name, "
        "and then options, as in cuda:device_id=1.",
    ),
]


@contextmanager
def option_names(**options: str) -> Iterator[None]:
    """Let errors of the library name options, not arguments. options: the option that gives each argument."""
    try:
        yield
    except InputError as error:
        if error.argument not in options:
            raise
        raise type(error)(error.rest, options[error.argument]) from error


def note(text: str) -> None:
    """Say something beside the answer: one line on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(document: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Print the answer: the document as JSON, or for people by `show`."""
    if as_json:
        print(_json(document))
    else:
        show()


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _json(document: Any) -> str:
    """With real letters; with escapes where stdout's encoding does not have them, or a file's name is no UTF-8."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(_encoding())
    except UnicodeEncodeError:
        return json.dumps(document, allow_nan=False)
    return text


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """A table on stdout, with "?" for letters that its encoding does not have."""
    from rich.console import Console
    from rich.table import Column, Table

    def shown(text: str) -> str:  # before columns are measured
        return text.encode(_encoding(), "replace").decode(_encoding())

    made = Table(
        *(Column(each, overflow="fold") for each in columns), title=title and shown(title), title_justify="left"
    )
    for row in rows:
        made.add_row(*map(shown, row))
    width = None if sys.stdout.isatty() else 140
    console = Console(markup=False, highlight=False, emoji=False, width=width)  # ASCII where stdout is not UTF
    console.print(made)


def bar(unit: str | None = None) -> Progress:
    """Progress as a bar on stderr where that is a terminal, else nothing.

    unit: of what is counted, where the bar is to show how many, how many a second, and the time left.
    """
    if not sys.stderr.isatty():
        return silent
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, TextColumn, TimeRemainingColumn, track
    from rich.progress import Progress as Shown

    def shown(items: Sequence[Item], what: str, /) -> Iterable[Item]:
        console = Console(stderr=True)
        if unit is None:
            return track(items, what, console=console, transient=True)
        rate = TextColumn("{task.fields[rate]}")
        columns = (*Shown.get_default_columns()[:2], MofNCompleteColumn(), rate, TimeRemainingColumn())
        return _at_a_rate(Shown(*columns, console=console, transient=True), items, what, unit)

    return shown


def _at_a_rate(shown: Any, items: Sequence[Item], what: str, unit: str) -> Iterator[Item]:
    with shown:
        task = shown.add_task(what, total=len(items), rate="")
        for done, item in enumerate(items, 1):
            yield item
            seconds = shown.tasks[task].elapsed or 1e-9
            shown.update(task, completed=done, rate=f"{done / seconds:.1f} {unit}/s")


class StageBar:
    """Progress of each stage with the time left, where stderr is a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            *Progress.get_default_columns()[:3],
            TimeRemainingColumn(),
            TextColumn("{task.completed}/{task.total}"),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._stage, self._task = "", self._progress.add_task("starting", total=None)

    def __call__(self, stage: str, step: int, steps: int) -> None:
        """Tell that `step` of `steps` of a stage are done."""
        if stage != self._stage:
            self._progress.start()
            self._progress.remove_task(self._task)
            self._stage, self._task = stage, self._progress.add_task(stage, total=steps)
        self._progress.update(self._task, completed=step)
        if step == steps:
            self._progress.stop()
