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
from typing import Any

import pytest
import torch
from support import Ran
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.train.average import averaged
from samclip_edge.train.measure import box_iou, top1
from samclip_edge.train.recipe import Batch, Recipe, Stage, read_recipe
from samclip_edge.train.teachers import Teachers
from samclip_edge.train.trainer import Trainer, rate_at

SHORT = """\
preset: tiny
clip_data: {scenes: {first: 100, count: 40}, variants: 2}
sam_data: {scenes: {first: 100, count: 40}, variants: 2}
held_out: {scenes: {first: 0, count: 4}}
save_every: 2
workers: 0
stages:
  - {task: teach_clip, steps: 4, rate: 1.0e-3, clip: [{size: 128, images: 4, things: 1}]}
  - {task: teach_sam, steps: 3, rate: 1.0e-3, sam: {size: 128, images: 2}, masks: 2}
  - {task: probe, steps: 3, rate: 1.0e-3, clip: [{size: 128, images: 4}]}
  - {task: distill, steps: 2, rate: 1.0e-3, clip: [{size: 128, images: 4}]}
  - {task: joint, steps: 5, rate: 1.0e-3, clip: [{size: 128, images: 4}], sam: {size: 128, images: 4}, masks: 2}
  - {task: adapt, steps: 3, rate: 1.0e-3, clip: [{size: 128, images: 4}, {size: 256, images: 2}]}
"""
JOINT = 4
SAM_PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "short.yaml"
    path.write_text(SHORT)
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = recipe.parent / "whole"
    Trainer(read_recipe(str(recipe)), folder).train()
    return folder


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path)[0].state_dict()


def lines(folder: Path) -> list[dict]:
    """The metrics of a run, without its speed."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(entry["measured"].pop("images/s") > 0 for entry in entries if "measured" in entry)
    return entries


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def variation(whole: Path, name: str, changes: dict[str, Any], stages: int = 3) -> Trainer:
    """A run of a changed recipe that has the first stages of the whole one behind it."""
    recipe = Recipe.model_validate_json((whole / "recipe.json").read_text()).model_copy(update=changes)
    folder = whole.parent / name
    folder.mkdir()
    for path in sorted(whole.glob("*.safetensors"))[:stages]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    return Trainer(recipe, folder)


def gradients(run: Trainer) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """The losses and gradients of the first joint step."""
    stage, model = run.recipe.stages[JOINT], run.learner(JOINT).model
    values = run.gradients(model, stage, run.teachers(), next(run.batches(stage, range(1))))
    return values, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_alike(one: tuple[dict, dict], two: tuple[dict, dict], rtol: float = 1e-3) -> None:
    assert one[0] == pytest.approx(two[0], rel=1e-5)
    assert one[1].keys() == two[1].keys()
    largest = max(gradient.abs().max() for gradient in one[1].values())
    for name, gradient in one[1].items():
        torch.testing.assert_close(two[1][name], gradient, rtol=rtol, atol=float(1e-5 * largest))


def test_each_stage_moves_its_parts_and_no_others(whole: Path) -> None:
    clip, sam, probed, distilled, joint, adapted = (weights(path) for path in sorted(whole.glob("*.safetensors")))
    assert moved(sam, probed) == {
        "clip_head",
        "text_encoder",
    }  # the words are the CLIP teacher's, put there at the start
    assert all(torch.equal(probed[name], clip[name]) for name in clip if name.startswith("text_encoder."))
    assert moved(probed, distilled) == {"clip_head", "image_encoder"}
    assert moved(probed, joint) == {"clip_head", *SAM_PARTS}
    assert moved(joint, adapted) == {"clip_head"}
    for fixed in ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
                  "image_encoder.patch_embed.layers.0.1.running_mean"):  # fmt: skip
        assert all(torch.equal(a[fixed], sam[fixed]) for a in (probed, distilled, joint, adapted))
    learned = "image_encoder.patch_embed.layers.0.1.running_mean"
    assert not torch.equal(clip[learned], torch.zeros_like(clip[learned]))


def test_joint_learns_ten_times_slower_behind_the_heads(whole: Path) -> None:
    """AdamW's first step moves every weight by its rate, but for decay: the shares of the rate can be read off."""
    stages = Recipe.model_validate_json((whole / "recipe.json").read_text()).stages
    one = stages[JOINT].model_copy(update={"steps": 1, "weight_decay": 0.0})
    after = weights(variation(whole, "one step", {"stages": (*stages[:3], one)}).train())
    before = weights(whole / "3-probe.safetensors")
    for part, share in {"clip_head": 1.0, "image_encoder": 0.1, "prompt_encoder": 0.1, "mask_decoder": 0.1}.items():
        steps = torch.cat([(after[n] - before[n]).abs().flatten() for n in before if n.startswith(part)])
        assert steps[steps > 0].median().item() == pytest.approx(share * one.rate, rel=0.05)


def test_metrics_hold_every_step_and_both_losses(whole: Path) -> None:
    entries = lines(whole)
    steps = [e for e in entries if e["stage"] == JOINT + 1 and "rate" in e]
    assert [e["step"] for e in steps] == [1, 2, 3, 4, 5]
    assert all({"clip", "sam"} <= e.keys() for e in steps)
    watched = [e["overlap with the SAM teacher"] for e in entries if "overlap with the SAM teacher" in e]
    assert len(watched) == 2
    assert all(0 <= each <= 1 for each in watched)
    measured = [sorted(e["measured"]) for e in entries if "measured" in e]
    assert measured == [["top-1"], ["box IoU"], *[["box IoU", "top-1"]] * 4]
    board = EventAccumulator(str(whole / "tensorboard" / "5-joint"))
    board.Reload()
    shown = board.Scalars("sam")
    assert [point.step for point in shown] == [1, 2, 3, 4, 5]
    assert [point.value for point in shown] == pytest.approx([e["sam"] for e in steps])


def test_a_finished_run_is_left_alone_and_another_recipe_is_refused(whole: Path, recipe: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir() if path.is_file()}
    Trainer(read_recipe(str(recipe)), whole).train()
    assert {path.name: path.read_bytes() for path in whole.iterdir() if path.is_file()} == before
    with pytest.raises(InputError, match="another recipe"):
        Trainer(read_recipe(str(recipe)).model_copy(update={"seed": 9}), whole)
    with pytest.raises(InputError, match="other files"):
        Trainer(read_recipe(str(recipe)), recipe.parent)


def test_a_run_killed_again_and_again_ends_as_if_it_never_was(whole: Path, recipe: Path) -> None:
    folder = recipe.parent / "killed"
    command = [Path(sys.executable).with_name("samclip-edge"), "train", "--recipe", recipe, "-o", folder]
    kills = 0
    for entries in (3, 12, 19):  # lines of metrics after which it dies: within three different stages
        process = subprocess.Popen(command, cwd="/", stderr=subprocess.DEVNULL)
        log = folder / "metrics.jsonl"
        while process.poll() is None and not (log.is_file() and log.read_text().count("\n") >= entries):
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 3
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
    assert rough == pytest.approx(exact, rel=0.05)
    assert {gradient.dtype for gradient in got.values()} == {torch.float32}


def test_the_average_of_the_weights_is_what_it_says(whole: Path) -> None:
    """ema 0.75 over two steps from w0: w1 after the first, as torch's `AveragedModel` starts, then 3/4 w1 + 1/4 w2."""
    stages = Recipe.model_validate_json((whole / "recipe.json").read_text()).stages
    ends = []
    for name, steps, ema in (("first", 1, 0.0), ("second", 2, 0.0), ("average", 2, 0.75)):
        stage = stages[2].model_copy(update={"steps": 2, "stop_after": steps / 2})
        run = variation(whole, name, {"stages": (*stages[:2], stage), "ema": ema}, stages=2)
        ends.append(weights(run.train()))
    for key, got in ends[2].items():
        if got.is_floating_point():
            torch.testing.assert_close(got, 0.75 * ends[0][key] + 0.25 * ends[1][key])


def test_the_forgetting_monitor_stops_a_stage(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlaps of 0.9 after the second step and of 0.7 after the fourth, where 0.8 is asked for."""
    overlaps = iter([0.9, 0.7])
    monkeypatch.setattr("samclip_edge.train.trainer.overlap", lambda *_: next(overlaps))
    stages = list(Recipe.model_validate_json((whole / "recipe.json").read_text()).stages)
    stages[JOINT] = stages[JOINT].model_copy(update={"forget": 0.8})
    run = variation(whole, "forgetful", {"stages": (*stages[:3], stages[JOINT])})
    run.train()
    assert [e["step"] for e in lines(run.folder) if "rate" in e] == [1, 2, 3, 4]


def refuse(*_: object) -> None:
    raise AssertionError("a teacher was asked although its answers are stored")


def test_stored_teachers_give_the_losses_of_live_ones(
    run: Callable[..., Ran], recipe: Path, whole: Path, tmp_path: Path
) -> None:
    stored = tmp_path / "stored"
    ran = run("train", "reinforce", "--recipe", recipe, "--run", whole, "-o", stored, "--json")
    assert (ran.code, ran.json["skipped"]) == (0, [])
    live = [e for e in lines(whole) if e["stage"] > 2 and "rate" in e]
    again = variation(whole, "stored", {"stored": str(stored)}, stages=2)
    again.teachers = lambda: Teachers(refuse, refuse)  # type: ignore[method-assign, arg-type]
    again._forgets = lambda *_: False  # type: ignore[method-assign]
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


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    stage = Stage.model_validate(
        {"task": "probe", "steps": 110, "rate": 0.01, "warmup": 10, "clip": [{"size": 128, "images": 1}]}
    )
    wanted = {0: 0.001, 9: 0.01, 10: 0.01, 60: 0.005, 110: 0.0}
    for step, rate in wanted.items():
        assert rate_at(stage, step, 110) == pytest.approx(rate, abs=1e-12)


def test_measures_of_a_model_that_knows_nothing(whole: Path) -> None:
    run = variation(whole, "measured", {})
    model = checkpoint.load(whole / "2-teach_sam.safetensors")[0]
    assert top1(model, run.clip_data) < 0.2  # one of 80 names by chance
    assert box_iou(model, Batch(size=128, images=1), run.held_out) < 0.6


def test_weights_between_two_checkpoints(run: Callable[..., Ran], whole: Path, tmp_path: Path) -> None:
    start, tuned = whole / "3-probe.safetensors", whole / "4-distill.safetensors"
    a, b = (checkpoint.load(path)[0] for path in (start, tuned))
    between = averaged(a, b, 0.25).state_dict()
    for name, value in between.items():
        if value.is_floating_point():
            wanted = 0.75 * a.state_dict()[name].double() + 0.25 * b.state_dict()[name].double()
            torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)
    saved = tmp_path / "quarter.safetensors"
    assert run("train", "average", start, tuned, "--alpha", 0.25, "--save", saved).code == 0
    assert all(torch.equal(weights(saved)[name], between[name]) for name in between)
    ran = run("train", "average", start, whole / "nothing.safetensors", "-o", tmp_path / "curves.png")
    assert (ran.code, ran.err.count("\n")) == (2, 1)


def test_both_curves_are_measured_and_drawn(
    run: Callable[..., Ran], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from samclip_edge.train import average

    few = average.HELD_OUT.model_copy(update={"scenes": average.HELD_OUT.scenes.model_copy(update={"count": 8})})
    monkeypatch.setattr(average, "HELD_OUT", few)
    picture = tmp_path / "curves.png"
    ran = run("train", "average", whole / "3-probe.safetensors", whole / "4-distill.safetensors",
              "--points", 3, "-o", picture, "--json")  # fmt: skip
    assert [point["alpha"] for point in ran.json["curves"]] == [0, 0.5, 1]
    assert all(0 <= point[key] <= 1 for point in ran.json["curves"] for key in ("top1", "box_iou"))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_command_trains_and_its_checkpoint_exports(
    run: Callable[..., Ran], recipe: Path, whole: Path, tmp_path: Path
) -> None:
    ran = run("train", "--recipe", recipe, "-o", whole, "--json")
    assert ran.code == 0
    trained = ran.json["checkpoint"]
    assert trained == str(whole / "6-adapt.safetensors")
    assert run("export", "--model", trained, "--size", 128, "-o", tmp_path / "bundle").code == 0
    assert '"trained": true' in (tmp_path / "bundle" / "manifest.json").read_text()
