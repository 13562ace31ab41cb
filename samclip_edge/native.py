"""Lines that native libraries write to stderr: kept from it, because what matters of them is raised or logged too."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

_LOCK = threading.Lock()  # stderr is one for all threads


@contextlib.contextmanager
def native_lines() -> Iterator[list[str]]:
    """Keep what native code writes to stderr in this block. The lines are in the list once the block ends.

    Meanwhile no other thread's lines reach stderr either, so nothing is logged in the block. Only the main thread keeps
    lines: in another one's block the main thread may have something to say.
    """
    lines: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield lines
        return
    with _LOCK, tempfile.TemporaryFile() as kept:
        try:
            before = os.dup(2)
        except OSError:  # there is no stderr
            yield lines
            return
        os.dup2(kept.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(before, 2)
            os.close(before)
            kept.seek(0)
            lines += kept.read().decode(errors="replace").splitlines()
