"""What `new_bundle` replaces and what it keeps: without a model, on a bundle of short files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from kept import WAYS, facts, make_old, theirs, write

from samclip_edge.bundle import writing
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.writing import new_bundle
from samclip_edge.files import write_whole


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_old(tmp_path)


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


def test_folders_of_both_are_joined(old: Path) -> None:
    (old / "vectors").mkdir()
    (old / "vectors" / ".DS_Store").write_text("a Mac was here")
    with new_bundle(old) as partial:
        write(partial, "vectors/index.json")
    assert {path.name for path in (old / "vectors").iterdir()} == {".DS_Store", "index.json"}


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
