"""What a place of a recipe names: what exists by that very name, then braces as bash has them, then a pattern."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from samclip_edge.errors import InputError
from samclip_edge.train.data.places import under


def made(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(folder: Path, place: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in under(str(folder / place))]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, whose braces these are")
@pytest.mark.parametrize(
    "braces",
    [
        "shard-{000..012}.tar",
        "shard-{8..12}.tar",
        "shard-{08..12}.tar",
        "shard-{3..1}.tar",
        "shard-{0..10..5}.tar",
        "shard-{10..0..4}.tar",
        "{a,b}.tar",
        "{a,b,}x.tar",
        "{b,a}-{1..2}.tar",
        "{x,y{1..3}}.tar",
        "{a..e}.tar",
        "{e..a}.tar",
        "{-2..2}.tar",
        "{one}.tar",
        "{}.tar",
        "{a..3}.tar",
        "x{a,b/c}.tar",
    ],
)
def test_braces_stand_for_what_they_do_in_bash(tmp_path: Path, braces: str) -> None:
    ran = subprocess.run(["bash", "-c", f"printf '%s\\n' {braces}"], capture_output=True, text=True, check=True)
    wanted = list(dict.fromkeys(ran.stdout.split()))
    made(tmp_path, *wanted)
    found = names(tmp_path, braces)
    assert sorted(found) == sorted(wanted)
    assert found == wanted or braces.count("{") > 1


def test_a_range_reaches_into_folders_and_patterns(tmp_path: Path) -> None:
    made(tmp_path, "p0/a.tar", "p0/b.tar", "p1/a.tar", "p2/a.tar")
    assert names(tmp_path, "p{0..1}/*.tar") == ["p0/a.tar", "p0/b.tar", "p1/a.tar"]


def test_what_exists_by_that_very_name_comes_first(tmp_path: Path) -> None:
    made(tmp_path, "data[1]/x.jpg", "data[1]/y[2].jpg", "data1/x.jpg", "data1/y2.jpg", "{a,b}/c.jpg", "*.jpg", "z.jpg")
    assert names(tmp_path, "data[1]/x.jpg") == ["data[1]/x.jpg"]
    assert names(tmp_path, "data[1]/y[2].jpg") == ["data[1]/y[2].jpg"]
    assert names(tmp_path, "data[1]") == ["data[1]/x.jpg", "data[1]/y[2].jpg"]
    assert names(tmp_path, "data[1]/*.jpg") == ["data[1]/x.jpg", "data[1]/y[2].jpg"]
    assert names(tmp_path, "data[1]/{x,y?2?}.jpg") == ["data[1]/x.jpg", "data[1]/y[2].jpg"]
    assert names(tmp_path, "{a,b}") == names(tmp_path, "{a,b}/*.jpg") == ["{a,b}/c.jpg"]
    assert names(tmp_path, "*.jpg") == ["*.jpg"]


def test_brackets_are_a_pattern_where_no_such_name_exists(tmp_path: Path) -> None:
    made(tmp_path, "data1/x.jpg", "data2/x.jpg", "data3/x.jpg")
    assert names(tmp_path, "data[12]/x.jpg") == ["data1/x.jpg", "data2/x.jpg"]
    assert names(tmp_path, "**") == ["data1/x.jpg", "data2/x.jpg", "data3/x.jpg"]


def test_litter_is_skipped_but_not_what_is_named(tmp_path: Path) -> None:
    litter = ["._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg", "in/._b.tar", "in/.cache/deep/a.jpg", ".x.png"]
    made(tmp_path, "a.jpg", "in/b.tar", *litter)
    assert names(tmp_path, "") == ["a.jpg", "in/b.tar"]
    assert names(tmp_path, "**/*.jpg") == ["a.jpg"]
    assert names(tmp_path, ".ipynb_checkpoints") == names(tmp_path, ".ipynb_checkpoints/*.jpg") == [litter[1]]
    assert names(tmp_path, "__MACOSX/*.jpg") == ["__MACOSX/a.jpg"]
    assert names(tmp_path, ".x.png") == [".x.png"]


def test_every_ending_of_a_shard_is_found_in_a_folder(tmp_path: Path) -> None:
    shards = ["a.tar", "b.TAR", "c.tar.gz", "d.tgz", "e.Tar.Gz", "f.tar.bz2", "g.tbz2", "h.tar.xz", "i.txz"]
    made(tmp_path, *shards, "j.gz", "k.zip", "tar")
    assert names(tmp_path, "") == shards


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("no", "no: nothing there"),
        ("*.png", "nothing there"),
        ("a{0..2}.jpg", "a2.jpg: nothing there"),
        ("a{0..99999999999}.jpg", "more than 1000 names"),
        ("{0..9999}{0..9999}.jpg", "more than 1000 names"),
        ("a\0*", "nothing there"),
        ("x" * 300, "nothing there"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str
) -> None:
    monkeypatch.setattr("samclip_edge.train.data.places._MOST", 1000)
    made(tmp_path, "a0.jpg", "a1.jpg")
    with pytest.raises(InputError, match=said):
        under(str(tmp_path / place))


def test_an_empty_place_is_not_the_folder_that_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path)
    assert under(".") == [Path("a.jpg")]
    with pytest.raises(InputError, match="nothing there"):
        under("")


def test_a_folder_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made(tmp_path, "a.jpg", "shut/b.jpg")
    scan = os.scandir

    def refused(path: Any) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert names(tmp_path, "") == ["a.jpg"]
    assert f"{tmp_path / 'shut'}: cannot be searched (Permission denied)" in caplog.text
