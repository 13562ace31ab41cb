"""Photos decoded in other processes, beside the process that encodes them.

`Decoders` keeps a few processes, which import no more than it takes to decode. (Those of `multiprocessing` would run
the app's own main module again.)
A photo whose decoder dies, of too little memory or of a fault in a codec, costs that photo and no other.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.opened import open_file
from samclip_edge.photo.resize import Pixels, resize

log = logging.getLogger(__name__)
_MOST = 8  # processes
THUMBNAIL = 8  # pixels a side
_PREFIX = 8  # bytes of a sha256 by which a decoder knows a photo


class Source(NamedTuple):
    """Where the bytes of a photo lie."""

    path: str  # absolute; of a photo in a tar, the tar's path and then its own, as if the tar were a folder
    size: int  # bytes
    modified: int  # nanoseconds since 1970; of a photo in a tar, the tar's
    archive: str | None = None  # the tar
    offset: int = 0  # where the photo begins in it

    def read(self) -> bytes:
        """The file's bytes. Raises OSError."""
        with open(self.archive or self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size) if self.archive else file.read()


class Wanted(NamedTuple):
    """What is wanted of every photo."""

    size: Size  # of the input that it is for
    whole: bool  # all pixels, not as many as the input has
    max_pixels: int


class Decoded(NamedTuple):
    """A photo as it came from a decoder."""

    source: Source
    sha256: bytes  # empty where the file could not be read
    pixels: Pixels | None  # (h,w,3) RGB; None where the photo is known already, or cannot be decoded
    height: int  # of the photo
    width: int
    thumbnail: bytes = b""  # see `thumbnail`
    error: str = ""  # why it cannot be decoded
    notes: tuple[str, ...] = ()  # what is to be told of it


class Decoders:
    """Decodes photos, in processes that are started when there are enough to decode."""

    def __init__(self, wanted: Wanted, known: Iterable[bytes], processes: bool) -> None:
        """known: the sha256 of photos that need not be decoded. processes: else threads of this one decode."""
        self.wanted = wanted
        self._known = frozenset(each[:_PREFIX] for each in known)
        self._count = min(os.cpu_count() or 1, _MOST)
        self._idle: queue.SimpleQueue[_Process | None] = queue.SimpleQueue()
        self._all: list[_Process] = []
        for _ in range(self._count):
            self._idle.put(None)
        self._processes = processes

    def each(self, sources: Iterable[Source], ahead: int) -> Generator[Decoded, None, None]:
        """Photos in order, decoded up to `ahead` before they are taken. Ending early ends the processes too."""
        left, threads = iter(sources), ThreadPoolExecutor(self._count)
        try:
            waiting = deque(threads.submit(self._decode, each) for each in islice(left, max(ahead, self._count)))
            while waiting:
                decoded = waiting.popleft().result()
                waiting.extend(threads.submit(self._decode, each) for each in islice(left, 1))
                for told in decoded.notes:
                    log.warning("%s", told)
                yield decoded
        finally:
            threads.shutdown(cancel_futures=True)
            for process in self._all:
                process.end()

    def decode(self, source: Source) -> Decoded:
        """A photo, whether it is known or not."""
        return decode(source, self.wanted, frozenset())

    def _decode(self, source: Source) -> Decoded:
        if not self._processes:
            return decode(source, self.wanted, self._known)
        process = self._idle.get()
        try:
            if process is None or process.ended:
                process = _Process(self.wanted, self._known)
                self._all.append(process)
            return process.decode(source)
        finally:
            self._idle.put(process)


class _Process:
    """A process that decodes one photo after another."""

    def __init__(self, wanted: Wanted, known: frozenset[bytes]) -> None:
        path = os.pathsep.join(each for each in sys.path if each)
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        self.ended = False
        self._send((wanted, known))

    def decode(self, source: Source) -> Decoded:
        """See `decode`."""
        try:
            self._send(source)
            assert self._process.stdout
            return pickle.load(self._process.stdout)  # of our own process
        except (OSError, EOFError, pickle.UnpicklingError):
            self.ended = True
            self.end()
            why = "its decoder ended; the photo may be damaged, or too large for the memory"
            return Decoded(source, b"", None, 0, 0, error=why)

    def end(self) -> None:
        """Have it end."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # it is gone, and with it what was to be written
                if pipe:
                    pipe.close()
        self._process.wait()

    def _send(self, what: Any) -> None:
        assert self._process.stdin
        pickle.dump(what, self._process.stdin, protocol=5)
        self._process.stdin.flush()


def decode(source: Source, wanted: Wanted, known: frozenset[bytes]) -> Decoded:
    """A photo, unless the first bytes of its sha256 are among those of `known`.

    Its pixels are as many as the input has that it is for (`Frame.scaled`), unless all are wanted.
    """
    try:
        data = source.read()
    except (OSError, ValueError) as error:
        return Decoded(source, b"", None, 0, 0, error=f"cannot be read ({one_line(error)})")
    return decode_bytes(source, data, wanted, known)


def decode_bytes(source: Source, data: bytes, wanted: Wanted, known: frozenset[bytes] = frozenset()) -> Decoded:
    """`decode` of a file that was read already."""
    digest = hashlib.sha256(data).digest()
    if digest[:_PREFIX] in known:
        return Decoded(source, digest, None, 0, 0)
    try:
        opened = open_file(data, source.path, wanted.size, wanted.max_pixels)
        frame = Frame(opened.height, opened.width, wanted.size)
        pixels = opened.pixels if wanted.whole else resize(opened.reduced(frame.scale), *frame.scaled)
    except (InputError, MemoryError) as error:
        return Decoded(source, digest, None, 0, 0, error=one_line(error).removeprefix(f"{source.path}: "))
    return Decoded(source, digest, pixels, opened.height, opened.width, thumbnail(pixels))


def thumbnail(pixels: Pixels) -> bytes:
    """A photo (H,W,3) as 8 x 8 levels of grey, row by row, by which a picture is known where it was written again."""
    side = THUMBNAIL
    grey = Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.BOX)
    return np.asarray(grey).tobytes()


class _Heard(logging.Handler):
    """Keeps what the library logs, for the process that asked."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


def serve() -> None:
    """Answer until the pipe is closed, as it is when the process that asks ends, in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints is no answer
    heard = _Heard()
    logging.getLogger("samclip_edge").addHandler(heard)
    warnings.simplefilter("ignore")  # Pillow's; what matters of a photo is logged or raised
    wanted, known = pickle.load(asked)
    with suppress(EOFError, BrokenPipeError):
        while True:
            source = pickle.load(asked)
            heard.told.clear()
            decoded = decode(source, wanted, known)._replace(notes=tuple(heard.told))
            pickle.dump(decoded, answers, protocol=5)
            answers.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())  # what is left for the pipe has no reader
