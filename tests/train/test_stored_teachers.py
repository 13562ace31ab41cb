"""A run that reads its teachers' stored answers has the losses of one that asks the teachers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from runs import lines, variation
from support import Ran

from samclip_edge.errors import InputError
from samclip_edge.train.reinforce import Reinforcement
from samclip_edge.train.teachers import Teachers


def refuse(*_: object) -> None:
    raise AssertionError("a teacher was asked although its answers are stored")


def test_stored_teachers_give_the_losses_of_live_ones(
    run: Callable[..., Ran], recipe: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "stored"
    ran = run("train", "reinforce", "--recipe", recipe, "--run", whole, "-o", stored, "--json")
    assert (ran.code, ran.json["skipped"]) == (0, [])
    live = [e for e in lines(whole) if e["stage"] > 2 and "rate" in e]
    again = variation(whole, "stored", {"stored": str(stored)}, stages=2)
    again.teachers = lambda: Teachers(refuse, refuse)  # type: ignore[method-assign, arg-type]
    monkeypatch.setattr("samclip_edge.train.trainer.overlap", lambda *_: 1.0)
    again.train()
    ours = [e for e in lines(again.folder) if "rate" in e]
    assert len(ours) == len(live) == 13
    for a, b in zip(ours, live, strict=True):
        assert a.pop("task") == b.pop("task")
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)
    with pytest.raises(InputError, match="other data"):
        variation(whole, "elsewhere", {"stored": str(stored), "seed": 5}).train()
    files = {path.name: path.read_bytes() for path in stored.iterdir()}
    (stored / "clip-128-4-000000.npy").unlink()
    assert run("train", "reinforce", "--recipe", recipe, "--run", whole, "-o", stored).code == 0
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == files


def test_several_processes_share_the_shards(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 images in shards of 16 are three shards, of which the first of two processes writes the first and the last."""
    monkeypatch.setattr("samclip_edge.train.reinforce.PER_SHARD", 16)
    monkeypatch.setattr("samclip_edge.train.reinforce.asked", lambda *_: (torch.zeros(1), torch.zeros(1)))
    for rank, shards in enumerate(([0, 2], [1])):
        run = variation(whole, f"rank {rank}", {})
        run.accelerator = SimpleNamespace(process_index=rank, num_processes=2, device=torch.device("cpu"))
        run.teachers = lambda: Teachers(lambda pixels: torch.zeros(len(pixels), 4), refuse)  # type: ignore
        Reinforcement(run, tmp_path / str(rank)).store()
        names = {path.name for path in (tmp_path / str(rank)).iterdir()} - {"stored.json"}
        kinds = ("clip-128-4-{:06}.npy", "clip-256-4-{:06}.npy", "sam-128-4-{:06}.npz")
        assert names == {kind.format(shard) for kind in kinds for shard in shards}
