"""`samclip-edge`: one file a verb. Heavy rooms are imported inside the verbs, so `--help` answers at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from samclip_edge import __version__
from samclip_edge.cli import bench, classify, doctor, eval, export, info, init, segment, train, verify

app = typer.Typer(
    name="samclip-edge",
    help="Where things are and what they are, from one network: SAM and CLIP merged into one ViT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for verb in (init, export, classify, segment, info, verify, eval, bench, doctor):
    app.command(verb.__name__.rpartition(".")[2], cls=getattr(verb, "Command", None))(verb.run)
app.add_typer(train.app, name="train")

_EXTRAS = {  # what each brings, of which a verb may find one missing
    "bench": ("matplotlib",),
    "coreml": ("PIL", "coremltools", "sklearn"),
    "tensorrt": ("cuda", "tensorrt_rtx_bindings", "tensorrt_rtx"),
    "train": ("accelerate", "open_clip", "tensorboard", "torchvision", "yaml"),
}


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version)] = False,
) -> None:
    pass


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's, which newer typers carry inside


def main() -> None:
    """Run the command line. Exit 0: done; 1: it ran and the answer is no; 2: bad input, told in one line."""
    sys.exit(_run())


def _run() -> int:
    from samclip_edge.errors import InputError, ParityError

    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except InputError as error:
        return _fail(error, 2)
    except ParityError as error:
        return _fail(error, 1)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = next((name for name, brought in _EXTRAS.items() if missing in brought), "export")
        return _fail(f"this needs {missing}, which is not installed; pip install 'samclip-edge[{extra}]'", 2)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            return 2
        return _fail(f"{error.format_message()} (see --help)", 2)  # type: ignore[attr-defined]
    except OSError as error:  # a full disk, a file that vanished; reading photos and bundles tells more
        return _fail(error, 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("stopped", 130)


def _fail(message: object, code: int) -> int:
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    return code
