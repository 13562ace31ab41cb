"""What `new_bundle` leaves where it fails, is stopped or is refused: everything as it was."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kept import WAYS, export, facts, make_old, no_exchange, theirs, write

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.writing import new_bundle
from samclip_edge.errors import InputError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_old(tmp_path)


class Stop(BaseException):
    """As a signal would do it: no Exception."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_failed_export_leaves_everything_where_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch, way: str, failure: type[BaseException]
) -> None:
    WAYS[way](monkeypatch)
    before = facts(old.parent)
    with pytest.raises(failure):
        export(old, failure())
    assert facts(old.parent) == before


@pytest.mark.parametrize("failure", [PermissionError(errno.EACCES, "in use"), Stop()], ids=["refused", "stopped"])
def test_a_failure_at_any_rename_leaves_everything_where_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    no_exchange(monkeypatch)
    before, replace = facts(old.parent), os.replace
    renames = itertools.count()
    monkeypatch.setattr(os, "replace", lambda *names: (next(renames), replace(*names)))
    export(Path(shutil.copytree(old, old.parent.parent / "counted", symlinks=True)))
    last = next(renames)
    assert last > 20, "each file of the old bundle goes out, each new one comes in"
    for fatal in range(1, last):  # the first gives the temporary folder its place

        def failing(*names: Path, renames: Iterator[int] = itertools.count(), fatal: int = fatal) -> None:  # noqa: B008
            if next(renames) == fatal:
                raise failure
            replace(*names)

        monkeypatch.setattr(os, "replace", failing)
        with pytest.raises((InputError, Stop), match=r"cannot be replaced|^$"):
            export(old)
        assert facts(old.parent) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only there every file system of a test has the call")
def test_a_kill_at_the_swap_leaves_the_old_or_the_new(old: Path) -> None:
    """The process ends without any cleaning up, right before the two folders change names, and right after."""
    before = theirs(old)
    for moment, templates in (("before", "old"), ("after", "new")):
        code = f"""
import os, sys
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
from samclip_edge.bundle import writing
from kept import write
swap = writing._exchange
def dying(*names):
    if {moment!r} == "after":
        assert swap(*names)
    os._exit(9)
writing._exchange = dying
with writing.new_bundle(Path({str(old)!r})) as partial:
    write(partial)
"""
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
        assert (old / "templates.json").read_text() == templates
        assert theirs(old) == before
        Bundle.open(old)
        killed = [path for path in old.parent.iterdir() if path != old]
        assert len(killed) == 1
        os.utime(killed[0], (time.time() - 10_000,) * 2)
        with new_bundle(old) as partial:
            write(partial)
        assert [path.name for path in old.parent.iterdir()] == ["bundle"], "the next export cleans up"
        assert theirs(old) == before
        (old / "templates.json").write_text("old")


def test_what_a_living_or_a_late_process_writes_is_not_cleaned_up(old: Path) -> None:
    mine = old.with_name(f".bundle.{os.getppid()}.partial")
    late = old.with_name(".bundle.999999999.partial")
    other = old.with_name(".other.999999999.partial")
    for each in (mine, late, other):
        each.mkdir()
    os.utime(mine, (0, 0))
    os.utime(other, (0, 0))
    with new_bundle(old) as partial:
        write(partial)
    assert mine.is_dir()
    assert late.is_dir()
    assert other.is_dir()


CLASHES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file": (lambda folder: (folder / "new.onnx").write_text("mine"), "new.onnx"),
    "a link": (lambda folder: (folder / "new.onnx").symlink_to("nowhere"), "new.onnx"),
    "a folder": (lambda folder: (folder / "new.onnx").mkdir(), "new.onnx"),
    "a file in a folder": (lambda folder: [(folder / "new.onnx").mkdir(), (folder / "new.onnx/a").touch()], "new.onnx"),
    "a file for a folder": (lambda folder: (folder / "vectors").write_text("mine"), "vectors"),
    "a link for a folder": (lambda folder: (folder / "vectors").symlink_to(".git"), "vectors"),
}


@pytest.mark.parametrize("clash", CLASHES)
@pytest.mark.parametrize("way", WAYS)
def test_a_file_whose_name_the_new_bundle_needs_is_refused_by_name(
    old: Path, monkeypatch: pytest.MonkeyPatch, clash: str, way: str
) -> None:
    WAYS[way](monkeypatch)
    make, named = CLASHES[clash]
    make(old)
    before = facts(old.parent)
    with pytest.raises(InputError, match=r"is not of the old bundle, and the new one needs that name") as told:
        export(old)
    assert str(told.value).startswith(f"{old / named}: ")
    assert facts(old.parent) == before


@pytest.mark.parametrize("manifest", ["hello", "{}", '{"manifest_version": 3, "name": "a browser extension"}'])
def test_a_manifest_that_is_not_ours_is_not_replaced(tmp_path: Path, manifest: str) -> None:
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(InputError, match="cannot read; name a new or empty folder"), new_bundle(tmp_path):
        pytest.fail("the work began")
    assert (tmp_path / MANIFEST).read_text() == manifest


REFUSED: dict[str, tuple[str, str]] = {
    "the root": ("/", "holds other files"),
    "the parent": ("..", "holds other files"),
    "a file": ("file", "is a file"),
    "inside a file": ("file/bundle", "cannot be written"),
    "a circle": ("circle", "leads in a circle"),
    "inside a circle": ("circle/bundle", "cannot be written"),
    "a name too long": ("x" * 250, "cannot be written"),
    "no name for a file": ("a\0b", "cannot be written"),
    "not to be written": ("/proc/bundle", "cannot be written"),
    "inside what cannot be made": ("/proc/some/where", "cannot be written"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    given, told = REFUSED[case]
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("file").write_text("mine")
    Path("circle").symlink_to("circle")
    before = facts(tmp_path)
    with pytest.raises(InputError, match=told) as error, new_bundle(Path(given)):
        pytest.fail("the work began")
    assert str(error.value).startswith(given + ":")
    assert "\n" not in str(error.value)
    assert facts(tmp_path) == before


def test_parents_are_made_and_go_again_where_it_fails(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "bundle"
    with pytest.raises(ZeroDivisionError), new_bundle(folder):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    with new_bundle(folder) as partial:
        write(partial)
    assert {path.name for path in folder.iterdir()} == {MANIFEST, "templates.json"}


def test_a_full_disk_is_told_in_a_line(old: Path) -> None:
    before = facts(old.parent)
    with pytest.raises(InputError, match="the disk is full; make room"):
        export(old, OSError(errno.ENOSPC, "No space left on device"))
    assert facts(old.parent) == before
