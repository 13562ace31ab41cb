"""What the tests of training share: a run's weights and metrics, and variations of a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from samclip_edge.model import checkpoint
from samclip_edge.train.recipe import Recipe
from samclip_edge.train.trainer import Trainer

JOINT = 4


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path)[0].state_dict()


def lines(folder: Path) -> list[dict]:
    """The metrics of a run, without its speed."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(entry["measured"].pop("images/s") > 0 for entry in entries if "measured" in entry)
    assert all(entry.pop("images/s", 1) > 0 for entry in entries)
    return entries


def variation(whole: Path, name: str, changes: dict[str, Any], stages: int = 3) -> Trainer:
    """A run of a changed recipe that has the first stages of the whole one behind it."""
    recipe = Recipe.model_validate_json((whole / "recipe.json").read_text()).model_copy(update=changes)
    folder = whole.parent / name
    folder.mkdir()
    for path in sorted(whole.glob("*.safetensors"))[:stages]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    return Trainer(recipe, folder)


def gradients(run: Trainer, index: int = JOINT) -> tuple[dict[str, torch.Tensor], ...]:
    """The losses and gradients of the first step of a stage, and the statistics of BatchNorm after it."""
    stage, model = run.recipe.stages[index], run.learner(index).model
    values = run.gradients(model, stage, run.teachers(), next(run.batches(stage, range(1))))
    statistics = {name: buffer for name, buffer in model.named_buffers() if "running" in name}
    return values, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, statistics


def assert_alike(one: tuple[dict, ...], two: tuple[dict, ...], rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """Of what `gradients` returns. atol: of gradients, as a share of the largest."""
    torch.testing.assert_close(one[0], two[0], rtol=1e-5, atol=0)
    assert one[1].keys() == two[1].keys()
    largest = max(gradient.abs().max() for gradient in one[1].values())
    for name, gradient in one[1].items():
        torch.testing.assert_close(two[1][name], gradient, rtol=rtol, atol=float(atol * largest))
    torch.testing.assert_close(one[2], two[2], rtol=1e-4, atol=1e-6)
