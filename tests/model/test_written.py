"""Checkpoints that are written: whole, or not at all."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support import Ran

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.model import checkpoint


def test_init_on_a_full_disk_says_so(tmp_path: Path, run: Callable[..., Ran]) -> None:
    """Where it is safetensors that meets the end of the disk, or here of what a process may write."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        ran = run("init", "--preset", "tiny", "-o", tmp_path / "out.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (ran.code, ran.err.count("\n"), ran.out) == (2, 1, "")
    assert f"{tmp_path / 'out.safetensors'}: cannot be written" in ran.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file/out.safetensors", f"{'a' * 300}.safetensors"])
def test_init_into_no_possible_file_says_so(tmp_path: Path, run: Callable[..., Ran], name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    ran = run("init", "--preset", "tiny", "-o", tmp_path / name)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "cannot be written" in ran.err


def test_tensors_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    model = checkpoint.build(PRESETS["tiny"])
    first, second = model.clip_head.blocks[0], model.clip_head.blocks[1]
    second.norm1.weight = first.norm1.weight
    model.text_encoder.text_projection = torch.nn.Parameter(model.text_encoder.text_projection.detach().T)
    path = checkpoint.save(model, tmp_path / "a.safetensors", checkpoint.Origin(note=""))
    read = checkpoint.load(path)[0].state_dict()
    assert all(torch.equal(each, read[name]) for name, each in model.state_dict().items())


def test_a_checkpoint_is_as_readable_as_any_new_file(tmp_path: Path, run: Callable[..., Ran]) -> None:
    (tmp_path / "other").touch()
    assert run("init", "--preset", "tiny", "-o", tmp_path / "out.safetensors").code == 0
    assert (tmp_path / "out.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_input_is_never_written_over(tmp_path: Path, run: Callable[..., Ran]) -> None:
    path = tmp_path / "sam.safetensors"
    path.write_bytes(b"weights")
    for given in (("--sam", path), ("--clip", path), ("--clip", f"ViT-L-14:{path}")):
        ran = run("init", "--preset", "tiny", *given, "-o", path)
        assert (ran.code, "name another" in ran.err) == (2, True)
    ran = run("train", "average", path, tmp_path / "b.safetensors", "--alpha", 0.5, "--save", path)
    assert (ran.code, "name another" in ran.err) == (2, True)
    assert path.read_bytes() == b"weights"
