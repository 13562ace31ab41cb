"""A bundle of short files with other people's files beside it, and exports over it that take no time."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.writing import new_bundle


def facts(folder: Path) -> dict[str, object]:
    """All that lies in a folder: the bytes of files, where links lead, and folders; with modes."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        what: object = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
        found[path.relative_to(folder).as_posix()] = (what, stat.S_IMODE(path.lstat().st_mode))
    return found


def write(folder: Path, *more: str) -> None:
    """Write the new bundle: one file that the old bundle had too, and `more`."""
    shutil.copy(data.TINY / MANIFEST, folder)
    for name in ("templates.json", *more):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("new")


def export(folder: Path, failure: BaseException | None = None) -> None:
    """An export of a bundle with a folder and two files that the old one has not, which may fail at its end."""
    with new_bundle(folder) as partial:
        write(partial, "new.onnx", "vectors/index.json")
        if failure is not None:
            raise failure


def make_old(tmp_path: Path) -> Path:
    """A folder with a bundle, and what people keep beside it. Only the manifest counts here, so files are short."""
    folder = tmp_path / "out" / "bundle"
    folder.mkdir(parents=True)
    shutil.copy(data.TINY / MANIFEST, folder)
    for file in Bundle.open(folder).files():
        (folder / file.path).write_text("old")
    (folder / ".git" / "objects" / "ab").mkdir(parents=True)
    (folder / ".git" / "objects" / "ab" / "cd").write_bytes(b"\0blob")
    (folder / ".git" / "objects" / "ab" / "cd").chmod(0o444)
    (folder / ".git" / "refs").mkdir()  # empty, and git needs it
    (folder / ".git" / "hooks").mkdir(mode=0o750)
    (folder / ".git" / "hooks" / "pre-commit").write_text("#!/bin/sh\n")
    (folder / ".git" / "hooks" / "pre-commit").chmod(0o755)
    (folder / "README.md").write_text("years of work")
    (folder / "latest").symlink_to("README.md")
    (folder / "photos").symlink_to(data.FOLDER / "photos")
    (folder / "gone").symlink_to("nowhere")
    return folder


THEIRS = (".git", "README.md", "latest", "photos", "gone")


def theirs(folder: Path) -> dict[str, object]:
    return {path: what for path, what in facts(folder).items() if path.split("/")[0] in THEIRS}


def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samclip_edge.bundle.writing._exchange", lambda *_: False)


def stay(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


WAYS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {"at once": stay, "file by file": no_exchange}
