"""A step has the same gradients on one process and on two, in parts, recomputed, and nearly so in bf16."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from runs import JOINT, variation

from samclip_edge.train.recipe import Recipe
from samclip_edge.train.trainer import Trainer


def gradients(run: Trainer) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The losses and gradients of the first joint step."""
    stage, model = run.recipe.stages[JOINT], run.learner(JOINT).model
    values = run.gradients(model, stage, run.teachers(), next(run.batches(stage, range(1))))
    return values, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_alike(one: tuple[dict, dict], two: tuple[dict, dict], rtol: float = 1e-3) -> None:
    torch.testing.assert_close(one[0], two[0], rtol=1e-5, atol=0)
    assert one[1].keys() == two[1].keys()
    largest = max(gradient.abs().max() for gradient in one[1].values())
    for name, gradient in one[1].items():
        torch.testing.assert_close(two[1][name], gradient, rtol=rtol, atol=float(1e-5 * largest))


GRADIENTS = """
import sys
from pathlib import Path
import torch
from samclip_edge.train.trainer import Trainer
from samclip_edge.train.recipe import read_recipe

run = Trainer(read_recipe(sys.argv[1]), Path(sys.argv[2]))
for index in (0, 4):
    stage, model = run.recipe.stages[index], run.learner(index).model.eval()
    values = run.gradients(model, stage, run.teachers(), next(run.batches(stage, range(1))))
    if run.accelerator.is_main_process:
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        torch.save([values, gradients], run.folder / f"{index} of {run.accelerator.num_processes}.pt")
"""


def test_two_processes_have_the_gradients_of_one(whole: Path, recipe: Path) -> None:
    """Under gloo, each on its half of a batch: of CLIP's contrastive step, which compares images across processes, and
    of a joint step, whose images have unlike numbers of masks.
    """
    run = variation(whole, "two", {})
    script = recipe.parent / "gradients.py"
    script.write_text(GRADIENTS)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731"]
    on_cpu = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    for launcher in ([], launch):
        subprocess.run([sys.executable, *launcher, script, recipe, run.folder], check=True, cwd="/", env=on_cpu)
    for index in (0, JOINT):
        one, two = (torch.load(run.folder / f"{index} of {count}.pt", weights_only=True) for count in (1, 2))
        assert_alike(one, two)


def test_parts_and_recomputing_leave_the_gradients_as_they_are(whole: Path) -> None:
    stages = list(Recipe.model_validate_json((whole / "recipe.json").read_text()).stages)
    stages[JOINT] = stages[JOINT].model_copy(update={"regions": 1.0})  # whose regions are not as many as the masks
    plain = gradients(variation(whole, "plain", {"stages": tuple(stages)}))
    assert set(plain[0]) == {"clip", "sam", "regions"}
    for name, changes in {"parts": {"accumulate": 2}, "recomputed": {"recompute": True}}.items():
        assert_alike(plain, gradients(variation(whole, name, {"stages": tuple(stages), **changes})))


def test_bf16_steps_are_near_those_of_fp32(whole: Path) -> None:
    (exact, _), (rough, got) = (gradients(variation(whole, name, {"precision": name})) for name in ("fp32", "bf16"))
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0)
    assert {gradient.dtype for gradient in got.values()} == {torch.float32}
