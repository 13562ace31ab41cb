"""The files of bundles, found and held against the manifest by the native code and by Python: links, parts, hashes."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundle_answers import entry, python_answer
from manifest_cases import bases

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import File
from samclip_edge.errors import InputError

Ask = Callable[..., Any]


@pytest.mark.parametrize("name", ["photo", "tiny"])
def test_the_shipped_bundles(ask: Ask, name: str) -> None:
    bundle = Bundle.open(data.FOLDER / name)
    assert ask("open", folder=bundle.folder) == python_answer(bundle.folder)
    files = bundle.files()
    checked = ask("check", folder=bundle.folder, files=[entry(each) for each in files])
    assert checked == [each.bytes for each in files]


def test_a_folder_that_is_no_bundle(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    (tmp_path / "loop").symlink_to("loop")
    given = [tmp_path / name for name in ("nowhere", "empty", "file", "odd", "loop", "file/x", "x" * 300)]
    for folder in (*map(str, given), f"{tmp_path}//empty/./below/", f"{tmp_path}/empty/../odd"):
        python = python_answer(folder)
        hub = ", or name a repository of the Hugging Face hub, org/name"  # which the library does not ask
        assert ask("open", folder=folder) == python | {"error": python["error"].removesuffix(hub)}
    (tmp_path / "odd" / "manifest.json").rmdir()
    (tmp_path / "odd" / "manifest.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    base = os.path.relpath(tmp_path, "/")
    for folder in (f"{tmp_path}/./odd//", f"//{base}/odd", f"///{base}/odd", f"{tmp_path}/empty/../odd"):
        assert ask("open", folder=folder) == python_answer(folder)


def described(path: Path, name: str) -> list[Any]:
    content = path.read_bytes()
    return [name, hashlib.sha256(content).hexdigest(), len(content)]


def python_check(folder: Path, files: list[list[Any]]) -> list[Any]:
    bundle, answers = Bundle.open(folder), []
    for path, digest, size in files:
        checked = File.model_construct(path=path, sha256=digest, bytes=size)
        try:
            answers.append(bundle.checked(checked, fresh=True).stat().st_size)
        except InputError as error:
            answers.append(str(error))
    return answers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of small files, and others beside it."""
    place = tmp_path / "bundle"
    (place / "deep" / "er").mkdir(parents=True)
    (place / "manifest.json").write_text(json.dumps(bases()["vit"]))
    for index, name in enumerate(("a.onnx", "deep/b.weights", "deep/er/c.npy")):
        (place / name).write_bytes(bytes(range(256)) * (7 * index + 1))
    (place / "empty").write_bytes(b"")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "d").write_bytes(b"d" * 70)
    (tmp_path / "blobs" / "e").write_bytes(b"e" * 5000)
    (place / "d.onnx").symlink_to("../blobs/d")
    (place / "deep" / "e.weights").symlink_to(tmp_path / "blobs" / "e")
    (place / "inner").symlink_to("deep/b.weights")
    (place / "dangling").symlink_to("../blobs/none")
    os.mkfifo(place / "pipe")
    return place


GOOD = ("a.onnx", "deep/b.weights", "deep/er/c.npy", "empty", "d.onnx", "deep/e.weights", "inner", "deep//./b.weights")


def test_files_are_held_against_the_manifest(ask: Ask, folder: Path) -> None:
    files = [described(folder / name, name) for name in GOOD]
    assert ask("check", folder=folder, files=files) == [size for *_, size in files] == python_check(folder, files)
    a, b = files[:2]
    bad = [
        ["nowhere", *a[1:]], ["deep", *a[1:]], ["a.onnx/x", *a[1:]], ["dangling", *a[1:]], ["pipe", *a[1:]],
        ["x" * 300, *a[1:]], [a[0], a[1], a[2] + 1], [a[0], a[1], 0], [a[0], b[1], a[2]],
        [a[0], "0" * 64, a[2]], a, ["empty", a[1], 0],
    ]  # fmt: skip
    answers = ask("check", folder=folder, files=bad)
    assert answers == python_check(folder, bad)
    assert [isinstance(each, str) for each in answers] == [each is not a for each in bad]
    assert isinstance(ask("check", folder=folder, files=[["a.onnx\0", *a[1:]]])[0], str)  # and not a.onnx


def test_files_that_were_changed(ask: Ask, folder: Path) -> None:
    files = [described(folder / name, name) for name in GOOD[:3]]
    content = bytearray((folder / "a.onnx").read_bytes())
    content[100] ^= 1
    (folder / "a.onnx").write_bytes(content)
    os.truncate(folder / "deep/b.weights", 100)
    (folder / "deep/er/c.npy").unlink()
    answers = ask("check", folder=folder, files=files)
    assert answers == python_check(folder, files)
    assert [answer.split(": ")[1].split(";")[0] for answer in answers] == [
        "its sha256 is not the manifest's", "100 bytes where the manifest says 2048", "missing from the bundle"
    ]  # fmt: skip


def test_a_bundle_behind_a_link_is_shown_where_it_is(ask: Ask, folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    missing = [["nowhere", "0" * 64, 1]]
    assert ask("check", folder=link, files=missing) == python_check(link, missing)


TOGETHER = [
    ("a.onnx", "deep/b.weights"), ("deep/b.weights", "a.onnx"), ("inner", "a.onnx"), ("d.onnx",), ("far.onnx",),
    ("d.onnx", "deep/e.weights"), ("d.onnx", "a.onnx"), ("a.onnx", "d.onnx"), ("far.onnx", "d.onnx"),
    ("beside.onnx", "a.onnx"),
]  # fmt: skip


@pytest.mark.parametrize("names", TOGETHER, ids=" ".join)
def test_paths_are_given_where_python_needs_no_copies(ask: Ask, folder: Path, names: tuple[str, ...]) -> None:
    (folder.parent / "far").mkdir()
    (folder.parent / "far" / "f").write_bytes(b"f")
    (folder / "far.onnx").symlink_to("../far/f")
    beside = folder.parent / "bundle2"  # whose path begins like the bundle's
    beside.mkdir()
    (beside / "g").write_bytes(b"g")
    (folder / "beside.onnx").symlink_to(beside / "g")
    files = [described(folder / name, name) for name in names]
    bundle = Bundle.open(folder)
    with bundle.together([File(path=path, sha256=digest, bytes=size) for path, digest, size in files]) as place:
        wanted = [str(place / name) for name in names] if place == bundle.folder else None
    assert ask("paths", folder=folder, files=files) == wanted


def test_paths_of_a_missing_file_are_not_given(ask: Ask, folder: Path) -> None:
    assert ask("paths", folder=folder, files=[["nowhere", "0" * 64, 1]]) is None


@pytest.fixture
def parts(folder: Path) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """The bundle's files one after another in one file, at odd places; and what a manifest says of them."""
    pack, listed, files, content = folder.parent / "pack", [], [], b"x" * 4099
    for name in ("manifest.json", *GOOD[:4]):
        data = (folder / name).read_bytes()
        listed.append({"path": name, "file": str(pack), "offset": len(content), "length": len(data)})
        files.append(described(folder / name, name))
        content += data + b"-" * 13
    pack.write_bytes(content)
    return listed, files[1:]


def test_parts_of_other_files(ask: Ask, folder: Path, parts: tuple[list[dict[str, Any]], list[list[Any]]]) -> None:
    listed, files = parts
    answer = ask("parts", parts=listed, files=files)
    assert answer == {"graphs": 13, "files": [size for *_, size in files]}
    wrong = [["nowhere", *files[0][1:]], [files[0][0], files[0][1], 5], [files[0][0], "0" * 64, files[0][2]]]
    mend = "copy or export the bundle again"
    assert ask("parts", parts=listed, files=wrong)["files"] == [
        f"nowhere: missing from the bundle; {mend}",
        f"a.onnx: 256 bytes where the manifest says 5; {mend}",
        f"a.onnx: its sha256 is not the manifest's; {mend}",
    ]
    listed[1]["offset"] += 1
    assert "sha256" in ask("parts", parts=listed, files=files)["files"][0]


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -1}, {"length": -1}, {"offset": 1 << 62}, {"length": 1 << 62}, {"offset": (1 << 63) - 1},
        {"length": (1 << 63) - 1}, {"file": "/nowhere"}, {"file": "/dev/null"}, {"file": "/"}, {"path": "a.onnx"},
    ],
    ids=str,
)  # fmt: skip
def test_bad_parts(ask: Ask, parts: tuple[list[dict[str, Any]], list[list[Any]]], change: dict[str, Any]) -> None:
    listed, _ = parts
    listed[2].update(change)
    answer = ask("parts", parts=listed, files=[])
    assert (answer["status"], answer["error"].startswith(f"files: '{listed[2]['path']}' ")) == (1, True)


def test_parts_without_a_manifest_or_with_a_bad_one(
    ask: Ask, parts: tuple[list[dict[str, Any]], list[list[Any]]]
) -> None:
    listed, _ = parts
    assert "manifest.json" in ask("parts", parts=listed[1:], files=[])["error"]
    assert ask("parts", parts=[], files=[])["status"] == 1
    listed[0]["length"] -= 1
    assert ask("parts", parts=listed, files=[])["error"].startswith("manifest.json: not a manifest (")


def test_sha256_is_hashlibs_by_every_way(ask: Ask, tmp_path: Path) -> None:
    random_bytes, path = random.Random(0).randbytes(1_000_000), tmp_path / "file"
    for length in (*range(131), 4095, 4096, 65_537, 1_000_000):
        path.write_bytes(random_bytes[:length])
        found = ask("sha256", file=path)
        assert "portable" in found
        assert set(found.values()) == {hashlib.sha256(random_bytes[:length]).hexdigest()}
