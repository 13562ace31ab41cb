"""`samclip-edge`: one file a verb. Heavy rooms are imported inside the verbs, so `--help` answers at once."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import sys
import traceback
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from samclip_edge import __version__
from samclip_edge.cli import (
    bench,
    classify,
    doctor,
    eval,
    export,
    get,
    index,
    info,
    init,
    search,
    segment,
    train,
    verify,
    web,
)
from samclip_edge.cli.terminal import LOG, OutputError, Stopped, notes, signals, streams


class _Program(TyperGroup):
    """Takes --verbose wherever it stands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = args[: args.index("--")] if "--" in args else args
        if "--verbose" in options:
            args = ["--verbose", *(each for each in options if each != "--verbose"), *args[len(options) :]]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="samclip-edge",
    cls=_Program,
    help="Where things are and what they are, from one network: SAM and CLIP merged into one ViT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (init, get, export, classify, segment, index, search, info, verify, web, bench, doctor):
    app.command(verb.__name__.rpartition(".")[2], cls=getattr(verb, "Command", None))(verb.run)
app.add_typer(eval.app, name="eval")
app.add_typer(train.app, name="train")

_EXTRAS = {  # what each brings, of which a verb may find one missing
    "bench": ("matplotlib", "scipy", "timm"),
    "coreml": ("coremltools", "sklearn"),
    "library": ("pyarrow",),
    "litert": ("ai_edge_litert", "ai_edge_quantizer", "litert_converter", "litert_torch"),
    "ray": ("lance_ray", "lancedb", "ray"),
    "tensorrt": ("cuda", "tensorrt_rtx_bindings", "tensorrt_rtx"),
    "train": ("accelerate", "tensorboard", "torchvision", "yaml"),
}


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


def _be_verbose(asked: bool) -> None:
    if asked:
        LOG.setLevel(logging.DEBUG)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version)] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", help="Say more, and where an error arose. Goes after a command too.", callback=_be_verbose
        ),
    ] = False,
) -> None:
    pass


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's, which newer typers carry inside
FAULT = 70  # the exit code of a fault of the program, as sysexits.h has it


def main() -> None:
    """Run the command line. Exit 0: done; 1: it ran and the answer is no; 2: bad input, told in one line.

    70: a fault of the program; 128 and more: a signal, of which 141 is for a pipe that nobody reads any more.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # else it reads what every package here says of itself
    _end_quietly()
    with streams(), notes(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of a photo is logged or raised
        try:
            with signals():
                code = _run()
        except Stopped as stopped:
            code = _fail(stopped, "stopped", stopped.code)
    sys.exit(code)


@functools.cache
def _end_quietly() -> None:
    """Have LiteRT end without its list of what it lets go, which its C++ writes to stderr after all that we say."""

    def close() -> None:
        if "ai_edge_litert" in sys.modules:
            sys.stderr.flush()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    atexit.register(close)


def _run() -> int:
    try:
        try:
            code = app(standalone_mode=False)
        except SystemExit as stop:  # of shell completion; and of typer, where a pipe is closed
            if isinstance(stop.__context__, OSError):
                raise OutputError(stop.__context__) from stop
            return 2 if stop.code else 0
        sys.stdout.flush()  # a full device shows here, or else when Python ends
        if code == 130:  # typer's, for Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except Stopped:
        raise
    except BaseException as error:  # the Rust of the tokenizers raises what is no Exception
        return _tell(error)


def _tell(error: BaseException) -> int:
    """Say in one line what went wrong. Returns the exit code, which is 1 only where the answer is no."""
    from samclip_edge.errors import InputError, ParityError

    if isinstance(error, OutputError):
        return 141 if error.pipe_closed else _fail(error, error, 2)
    if isinstance(error, InputError):
        return _fail(error, _cause(error), 2)
    if isinstance(error, ParityError):
        return _fail(error, error, 1)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return _fail(error, "stopped", 130)
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing not in ("", "samclip_edge"):
        verbs = {
            "litert": "litert",
            "train": "train",
            "bench": "bench",
            "eval": "bench",
            "get": "get",
        }  # which want more than torch
        asked = next((extra for verb, extra in verbs.items() if verb in sys.argv), "export")
        extra = next((name for name, brought in _EXTRAS.items() if missing in brought and asked != "get"), asked)
        return _fail(error, f"this needs {missing}, which is not installed; pip install 'samclip-edge[{extra}]'", 2)
    if isinstance(error, _UsageError):
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            return 2
        return _fail(error, f"{error.format_message()} (see --help)", 2)  # type: ignore[attr-defined]
    if isinstance(error, OSError):  # a full disk, a file that vanished; reading photos and bundles tells more
        return _fail(error, error, 2)
    if isinstance(error, MemoryError):
        return _fail(error, f"this machine has too little memory for it ({_cause(error)[:200]})", FAULT)
    found = f"{type(error).__name__}: {_cause(error)[:200]}"
    return _fail(error, f"a fault of samclip-edge ({found}); please report it with what --verbose adds", FAULT)


def _cause(error: BaseException) -> str:
    """The message, or its last line where torch put the traceback of a worker process into it."""
    text = str(error).strip()
    return text.splitlines()[-1].partition(": ")[2] if "\nOriginal Traceback (" in text else text


def _fail(error: BaseException, message: object, code: int) -> int:
    if LOG.isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    return code
