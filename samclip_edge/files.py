"""Files are written whole or not at all: under a temporary name, then renamed. And what their bytes are."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, follow: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, to be written in the block. It gets its name when the block ends well.

    A crash leaves the old file or the new one. follow: replace what a link points to, and not the link. Raises OSError
    where the file cannot be written, and where there is a device or a folder of that name.
    """
    target = Path(os.path.realpath(path)) if follow else path
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "there is something of that name that is no file")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, follow: bool = True) -> None:
    """Write a file by `replacing`: a text in UTF-8, or bytes."""
    with replacing(path, follow) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
