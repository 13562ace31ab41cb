"""The terminal: what stdout and stderr can take, the library's log as notes, and signals. Imports nothing heavy."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

LOG = logging.getLogger("samclip_edge")  # whose level is DEBUG where --verbose asks for it


class OutputError(Exception):
    """stdout takes nothing more. No OSError: typer and rich would end the program with 1 on a closed pipe."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"stdout: {error.strerror or error}")
        self.pipe_closed = isinstance(error, BrokenPipeError)


class Stopped(BaseException):
    """A signal asks the program to end. No Exception, so that nothing but `finally` stands in its way."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.code = 128 + number  # as shells have it


class _Stdout(io.TextIOWrapper):
    """Tells its faults from those of other files."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error) from error


class _Stderr(io.TextIOWrapper):
    """Drops what it cannot write: an answer is not lost because nobody reads the notes."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


@contextmanager
def streams() -> Iterator[None]:
    """In the block, stdout raises `OutputError` and nothing else, and stderr raises nothing, whatever is written.

    A letter that stdout's encoding does not have is written as "?", one that stderr's does not have as an escape.
    """
    before = sys.stdout, sys.stderr
    _fill_closed()
    with ExitStack() as stack:
        sys.stdout = stack.enter_context(_wrapped(_Stdout, sys.stdout, 1, "replace"))
        sys.stderr = stack.enter_context(_wrapped(_Stderr, sys.stderr, 2, "backslashreplace"))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


@contextmanager
def notes() -> Iterator[None]:
    """In the block, what the library logs goes to stderr: warnings, and the rest from the level of `LOG` on."""
    handler, level = _Notes(), LOG.level
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)


@contextmanager
def signals() -> Iterator[None]:
    """In the block, SIGTERM and SIGHUP raise `Stopped`, so that `finally` tidies up. Only in the main thread.

    Handlers of others stay, as does the SIGHUP that `nohup` ignores. Where something in the block catches `Stopped`, it
    is raised when the block ends.
    """
    process, asked, before = os.getpid(), list[int](), sys.unraisablehook
    ours: list[int] = []
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != process:  # a forked worker, whose end is nobody's tidying
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for each in ours:  # `timeout` sends its signal twice
            signal.signal(each, signal.SIG_IGN)
        asked.append(number)
        raise Stopped(number)

    def ask_again() -> None:
        if sys.unraisablehook is drop:
            os.kill(process, asked[-1])

    def drop(unraisable: Any) -> None:
        """Python drops what is raised in `__del__` and the like, and goes on: so `Stopped` is raised a little later."""
        if not isinstance(unraisable.exc_value, Stopped):
            before(unraisable)
            return
        signal.signal(asked[-1], stop)
        threading.Timer(0.02, ask_again).start()

    sys.unraisablehook = drop
    for each in ours:
        signal.signal(each, stop)
    try:
        yield
    finally:
        sys.unraisablehook = before
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
    if asked:
        raise Stopped(asked[-1])


class _Notes(logging.Handler):
    """Prints each record as a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"note: {' '.join(record.getMessage().splitlines())}", file=sys.stderr, flush=True)


def _fill_closed() -> None:
    """Open the null device in place of a closed stdin, stdout or stderr.

    Else a file that is opened later would get its number, and what native libraries print. The null device is opened
    the wrong way round, so that stdin and stdout still fail.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # gets the lowest free number


@contextmanager
def _wrapped(kind: type[io.TextIOWrapper], stream: Any, number: int, errors: str) -> Iterator[Any]:
    """The stream as a `kind`. stream: None where it was closed when Python began. errors: what to do with letters that
    its encoding does not have."""
    if stream is None:
        buffer: Any = open(number, "wb", closefd=False)  # noqa: SIM115  (closed below, once it fails)
        made = kind(buffer, "utf-8", errors)
    elif hasattr(stream, "buffer"):
        stream.flush()
        buffer = stream.buffer
        made = kind(buffer, stream.encoding, errors, None, stream.line_buffering, stream.write_through)
    else:  # of a program that runs this one in itself, and collects what is printed
        yield stream
        return
    try:
        yield made
    finally:
        try:
            io.TextIOWrapper.flush(made)
            made.detach()
        except OSError:
            with suppress(OSError):  # else Python would try again when it ends, and exit with 120
                buffer.close()
