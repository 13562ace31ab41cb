"""A run of a few steps of every stage: what moves and how fast, killed and gone on, on one process and on two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from samclip_edge.train.engine import Run, rate_at
from samclip_edge.train.measure import box_iou, top1
from samclip_edge.train.recipe import Recipe, Stage, read_recipe
from samclip_edge.train.tasks import moving
from support import Ran

from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel
from samclip_edge.spec import PRESETS

SHORT = """\
preset: tiny
scenes: {first: 100, count: 40}
held_out: {first: 0, count: 4}
save_every: 2
workers: 0
stages:
  - {task: teach_clip, steps: 4, rate: 1.0e-3, clip: [{size: 128, images: 4, things: 1}]}
  - {task: teach_sam, steps: 3, rate: 1.0e-3, sam: {size: 128, images: 2}, masks: 2}
  - {task: probe, steps: 3, rate: 1.0e-3, clip: [{size: 128, images: 4}]}
  - {task: joint, steps: 5, rate: 1.0e-3, clip: [{size: 128, images: 4}], sam: {size: 128, images: 2}, masks: 2}
  - {task: adapt, steps: 3, rate: 1.0e-3, clip: [{size: 128, images: 4}, {size: 256, images: 2}]}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "short.yaml"
    path.write_text(SHORT)
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = recipe.parent / "whole"
    Run(read_recipe(str(recipe)), folder).train()
    return folder


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path)[0].state_dict()


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_each_stage_moves_its_parts_and_no_others(whole: Path) -> None:
    clip, sam, probed, joint, adapted = (weights(path) for path in sorted(whole.glob("*.safetensors")))
    assert moved(sam, probed) == {
        "clip_head",
        "text_encoder",
    }  # the words are the CLIP teacher's, put there at the start
    assert all(torch.equal(probed[name], clip[name]) for name in clip if name.startswith("text_encoder."))
    assert moved(probed, joint) == {"clip_head", "image_encoder", "prompt_encoder", "mask_decoder"}
    assert moved(joint, adapted) == {"clip_head"}
    start = MergedModel(PRESETS["tiny"])
    assert all(torch.equal(a["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"],
                           sam["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"])
               for a in (probed, joint, adapted))  # fmt: skip
    assert start.state_dict().keys() == adapted.keys()


def test_joint_learns_ten_times_slower_behind_the_heads(whole: Path, recipe: Path) -> None:
    """AdamW's first step moves every weight by its rate, but for decay: the shares of the rate can be read off."""
    stage = read_recipe(str(recipe)).stages[3]
    model = checkpoint.load(whole / "3-probe.safetensors")[0]
    shares = {
        name: share for part, share in moving(model, stage) for name, other in model.named_children() if part is other
    }
    assert shares == {"clip_head": 1.0, "image_encoder": 0.1, "prompt_encoder": 0.1, "mask_decoder": 0.1}
    one = stage.model_copy(update={"steps": 1, "weight_decay": 0.0})
    recipe_of_one = read_recipe(str(recipe)).model_copy(update={"stages": (*read_recipe(str(recipe)).stages[:3], one)})
    folder = recipe.parent / "one step"
    folder.mkdir()
    for path in sorted(whole.glob("[123]-*.safetensors")):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "recipe.json").write_text(recipe_of_one.model_dump_json(indent=1))
    after = weights(Run(recipe_of_one, folder).train())
    before = weights(whole / "3-probe.safetensors")
    for part, share in shares.items():
        steps = torch.cat([(after[n] - before[n]).abs().flatten() for n in before if n.startswith(part)])
        assert steps[steps > 0].median().item() == pytest.approx(share * stage.rate, rel=0.05)


def test_metrics_hold_every_step_and_both_losses(whole: Path) -> None:
    entries = lines(whole)
    assert [e["step"] for e in entries if e["stage"] == 4 and "rate" in e] == [1, 2, 3, 4, 5]
    assert all({"clip", "sam"} <= e.keys() for e in entries if e["stage"] == 4 and "rate" in e)
    watched = [e["overlap with the SAM teacher"] for e in entries if "overlap with the SAM teacher" in e]
    assert len(watched) == 2
    assert all(0 <= each <= 1 for each in watched)
    assert [sorted(e["measured"]) for e in entries if "measured" in e] == [
        ["top-1"], ["box IoU"], ["box IoU", "top-1"], ["box IoU", "top-1"], ["box IoU", "top-1"],
    ]  # fmt: skip


def test_a_finished_run_is_left_alone_and_another_recipe_is_refused(whole: Path, recipe: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    Run(read_recipe(str(recipe)), whole).train()
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before
    with pytest.raises(InputError, match="another recipe"):
        Run(read_recipe(str(recipe)).model_copy(update={"seed": 9}), whole)
    with pytest.raises(InputError, match="other files"):
        Run(read_recipe(str(recipe)), recipe.parent)


def test_a_run_killed_again_and_again_ends_as_if_it_never_was(whole: Path, recipe: Path) -> None:
    folder = recipe.parent / "killed"
    command = [Path(sys.executable).with_name("samclip-edge"), "train", "--recipe", recipe, "-o", folder]
    kills = 0
    for entries in (3, 8, 13, 17):  # lines of metrics after which it dies: within three different stages
        process = subprocess.Popen(command, cwd="/", stderr=subprocess.DEVNULL)
        log = folder / "metrics.jsonl"
        while process.poll() is None and not (log.is_file() and log.read_text().count("\n") >= entries):
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3
    subprocess.run(command, check=True, cwd="/")
    for path in sorted(whole.glob("*.safetensors")):
        ours, theirs = weights(folder / path.name), weights(path)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), path.name
    assert lines(folder) == lines(whole)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


GRADIENTS = """
import sys
from pathlib import Path
import torch
from samclip_edge.train.engine import Run
from samclip_edge.train.recipe import read_recipe
from samclip_edge.train.tasks import moving

run = Run(read_recipe(sys.argv[1]), Path(sys.argv[2]))
stage = run.recipe.stages[3]
model, teachers = run._start(3)
for part, _ in moving(model, stage):
    part.requires_grad_(True)
values = run.gradients(model, stage, teachers, *next(run._batches(stage, 0)))
if run.accelerator.is_main_process:
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    torch.save({"values": values, "gradients": gradients}, run.folder / f"of {run.accelerator.num_processes}.pt")
"""


def test_two_processes_have_the_gradients_of_one(whole: Path, recipe: Path) -> None:
    """Under gloo, each on its half of the batch of a joint step, whose images have unlike numbers of masks."""
    folder = recipe.parent / "two"
    folder.mkdir()
    for path in (*whole.glob("[123]-*.safetensors"), whole / "recipe.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    script = recipe.parent / "gradients.py"
    script.write_text(GRADIENTS)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731"]
    on_cpu = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    for launcher in ([], launch):
        subprocess.run([sys.executable, *launcher, script, recipe, folder], check=True, cwd="/", env=on_cpu)
    one, two = (torch.load(folder / f"of {count}.pt", weights_only=True) for count in (1, 2))
    assert one["values"] == pytest.approx(two["values"], rel=1e-5)
    assert one["gradients"].keys() == two["gradients"].keys()
    largest = max(gradient.abs().max() for gradient in one["gradients"].values())
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=1e-3, atol=float(1e-6 * largest))


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    stage = Stage.model_validate(
        {"task": "probe", "steps": 110, "rate": 0.01, "warmup": 10, "clip": [{"size": 128, "images": 1}]}
    )
    assert rate_at(stage, 0) == pytest.approx(0.001)
    assert rate_at(stage, 9) == pytest.approx(0.01)
    assert rate_at(stage, 10) == pytest.approx(0.01)
    assert rate_at(stage, 60) == pytest.approx(0.005)
    assert rate_at(stage, 110) == pytest.approx(0, abs=1e-12)


def test_measures_of_a_model_that_knows_nothing(whole: Path) -> None:
    recipe = Recipe.model_validate_json((whole / "recipe.json").read_text())
    model = checkpoint.load(whole / "2-teach_sam.safetensors")[0]
    held_out = recipe.held_out.model_copy(update={"count": 50})
    assert top1(model, held_out) < 0.2  # one of 80 names by chance
    assert box_iou(model, held_out) < 0.6


def test_the_command_trains_and_its_checkpoint_exports(
    run: Callable[..., Ran], recipe: Path, whole: Path, tmp_path: Path
) -> None:
    ran = run("train", "--recipe", recipe, "-o", whole, "--json")
    assert ran.code == 0
    trained = ran.json["checkpoint"]
    assert trained == str(whole / "5-adapt.safetensors")
    assert run("export", "--model", trained, "--size", 128, "-o", tmp_path / "bundle").code == 0
    assert '"trained": true' in (tmp_path / "bundle" / "manifest.json").read_text()
