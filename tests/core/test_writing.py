"""What `new_bundle` replaces, what it keeps, and what a failure leaves: without a model, on a bundle of text files."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from samclip_edge import data
from samclip_edge.bundle import writing
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.writing import new_bundle, write_whole
from samclip_edge.errors import InputError


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


@pytest.fixture
def old(tmp_path: Path) -> Path:
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


@pytest.mark.parametrize("way", WAYS)
def test_the_bundles_own_files_are_replaced_and_all_others_kept(
    old: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    WAYS[way](monkeypatch)
    before, mode = theirs(old), old.stat().st_mode
    with new_bundle(old) as partial:
        write(partial, "vectors/index.json")
    assert theirs(old) == before
    assert set(facts(old)) - set(before) == {MANIFEST, "templates.json", "vectors", "vectors/index.json"}
    assert (old / "templates.json").read_text() == "new"
    assert old.stat().st_mode == mode
    assert [path.name for path in old.parent.iterdir()] == ["bundle"], "nothing temporary is left"


def test_two_exports_in_a_row_keep_them(old: Path) -> None:
    before = theirs(old)
    for _ in range(2):
        with new_bundle(old) as partial:
            write(partial)
    assert theirs(old) == before


def test_what_is_kept_is_linked_and_not_copied(old: Path) -> None:
    """So a `.git` of gigabytes takes no time, and a crash on the way leaves it where it was."""
    inode = (old / ".git/objects/ab/cd").stat().st_ino
    with new_bundle(old) as partial:
        write(partial)
    assert (old / ".git/objects/ab/cd").stat().st_ino == inode


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
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from samclip_edge.bundle import writing
from test_writing import write
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


def test_folders_of_both_are_joined(old: Path) -> None:
    (old / "vectors").mkdir()
    (old / "vectors" / ".DS_Store").write_text("a Mac was here")
    with new_bundle(old) as partial:
        write(partial, "vectors/index.json")
    assert {path.name for path in (old / "vectors").iterdir()} == {".DS_Store", "index.json"}


@pytest.mark.parametrize("manifest", ["hello", "{}", '{"manifest_version": 3, "name": "a browser extension"}'])
def test_a_manifest_that_is_not_ours_is_not_replaced(tmp_path: Path, manifest: str) -> None:
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(InputError, match="cannot read; name a new or empty folder"), new_bundle(tmp_path):
        pytest.fail("the work began")
    assert (tmp_path / MANIFEST).read_text() == manifest


def test_a_link_stays_and_its_target_is_written(old: Path) -> None:
    link = old.with_name("current")
    link.symlink_to("bundle")
    before = theirs(old)
    with new_bundle(link) as partial:
        write(partial)
    assert os.readlink(link) == "bundle"
    assert (old / "templates.json").read_text() == "new"
    assert theirs(old) == before
    assert sorted(path.name for path in old.parent.iterdir()) == ["bundle", "current"]


def test_the_target_of_a_dangling_link_is_made(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("versions/v2")
    with new_bundle(tmp_path / "current") as partial:
        write(partial)
    assert os.readlink(tmp_path / "current") == "versions/v2"
    assert (tmp_path / "versions/v2/templates.json").read_text() == "new"
    assert [path.name for path in (tmp_path / "versions").iterdir()] == ["v2"]


def test_a_bundle_in_the_current_directory_keeps_the_directory(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the shell would stand in a removed folder: the next `ls` would say that there is nothing."""
    for here, given in ((old, "."), (old / ".git", "..")):
        monkeypatch.chdir(here)
        inode, before = old.stat().st_ino, theirs(old)
        with new_bundle(Path(given)) as partial:
            write(partial)
        assert (old.stat().st_ino, theirs(old)) == (inode, before)
        assert Path("templates.json" if given == "." else "../templates.json").read_text() == "new"
        (old / "templates.json").write_text("old")


def test_an_empty_current_directory_takes_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with new_bundle(Path(".")) as partial:
        write(partial, "vectors/index.json")
    assert sorted(path.name for path in Path(".").iterdir()) == [MANIFEST, "templates.json", "vectors"]
    assert Path("vectors/index.json").read_text() == "new"


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


def test_a_folder_that_cannot_be_renamed_is_filled(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point: what lies in it can be moved about, but not out of it."""
    before, inode, replace = theirs(old), old.stat().st_ino, os.replace

    def within_one_mount(source: Path, goal: Path) -> None:
        if Path(source).is_relative_to(old) != Path(goal).is_relative_to(old):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, goal)

    monkeypatch.setattr(os, "replace", within_one_mount)
    with new_bundle(old) as partial:
        assert partial.parent == old
        write(partial, "vectors/index.json")
    assert (old.stat().st_ino, theirs(old)) == (inode, before)
    assert (old / "vectors/index.json").read_text() == "new"
    assert not (old / "tokenizer.json").exists(), "the new bundle has none"
    assert [path.name for path in old.parent.iterdir()] == ["bundle"]
    assert not list(old.glob("*.partial"))
    assert not list(old.glob("*.old"))


def test_what_cannot_be_linked_stays_in_place(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, or a mount point among what is kept."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    before = theirs(old)
    with new_bundle(old) as partial:
        write(partial)
    assert theirs(old) == before
    assert (old / "templates.json").read_text() == "new"


def test_a_bundle_inside_a_bundle_is_kept_with_it(old: Path) -> None:
    with new_bundle(old / "smaller") as partial:
        write(partial)
    inner = facts(old / "smaller")
    with new_bundle(old) as partial:
        write(partial)
    assert facts(old / "smaller") == inner


def test_a_full_disk_is_told_in_a_line(old: Path) -> None:
    before = facts(old.parent)
    with pytest.raises(InputError, match="the disk is full; make room"):
        export(old, OSError(errno.ENOSPC, "No space left on device"))
    assert facts(old.parent) == before


def test_files_in_a_hubs_cache_are_replaced_and_not_written_through(tmp_path: Path, old: Path) -> None:
    """Many snapshots share a blob."""
    blob = tmp_path / "blob"
    (old / "templates.json").rename(blob)
    (old / "templates.json").symlink_to(blob)
    with new_bundle(old) as partial:
        write(partial)
    assert (blob.read_text(), (old / "templates.json").read_text()) == ("old", "new")
    assert not (old / "templates.json").is_symlink()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.json"
    write_whole(path, "one\n")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    monkeypatch.setattr(writing.os, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_whole(path, "three")
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.json"]
    assert path.read_bytes() == b"two"
