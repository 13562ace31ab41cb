"""Prompt templates: CLIP's own by default, others by a file, which is checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from support import Ran

from samclip_edge import SamClip, data
from samclip_edge.text.names import read_templates


def test_ours_are_the_eighty_of_clip_and_the_shipped_bundle_has_them() -> None:
    theirs = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    assert len(theirs) == 80
    assert read_templates(data.TEMPLATES) == theirs
    assert SamClip.load(data.TINY).words.templates == theirs


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", b'["a photo of a {}.", "ein Foto: {}"]'),
        ("list", b'\xef\xbb\xbf\n ["a photo of a {}.", "ein Foto: {}"]'),
        ("lines.txt", b"a photo of a {}.\n\n  ein Foto: {}\n"),
        ("windows.txt", b"\xef\xbb\xbfa photo of a {}.\r\nein Foto: {}\r\n"),
    ],
)
def test_a_file_is_a_json_list_or_has_one_a_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read_templates(path) == ["a photo of a {}.", "ein Foto: {}"]


def test_export_writes_the_templates_that_it_is_given(
    tiny_checkpoint: Path, tmp_path: Path, run: Callable[..., Ran]
) -> None:
    path, names, out = tmp_path / "mine.txt", tmp_path / "names.txt", tmp_path / "bundle"
    path.write_text("a drawing of a {}\n")
    names.write_text("cat\n")
    given = ("--size", 128, "--vocabulary", names, "--templates", path)
    assert run("export", "--model", tiny_checkpoint, *given, "-o", out).code == 0
    assert json.loads((out / "templates.json").read_text()) == ["a drawing of a {}"]
    words = SamClip.load(out).words
    assert words.templates == ["a drawing of a {}"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "no list of templates"),
        ("empty.txt", b"\n\n", "holds no template"),
        ("empty.json", b"[]", "holds no template"),
        ("object.json", b"{}", "holds no template"),
        ("cut.json", b'["a {}', "no list of templates"),
        ("number.json", b'["a {}", 3]', "template 2 of 2, 3, has no {}"),
        ("lines.txt", b"a {}\na photo\n", "template 2 of 2, 'a photo', has no {}"),
        ("photo.jpg", b"\xff\xd8\xff\xe0", "no list of templates"),
    ],
)
def test_a_bad_file_is_named_with_its_option(
    tiny_checkpoint: Path, tmp_path: Path, run: Callable[..., Ran], name: str, content: bytes | None, said: str
) -> None:
    path, out = tmp_path / name, tmp_path / "bundle"
    if content is not None:
        path.write_bytes(content)
    ran = run("export", "--model", tiny_checkpoint, "--templates", path, "-o", out)
    assert (ran.code, ran.err.count("\n"), ran.out) == (2, 1, "")
    assert f"--templates {path}: {said}" in ran.err
    assert "give a JSON list, or a text file with one a line" in ran.err
    assert not out.exists()
