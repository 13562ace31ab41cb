"""Two processes under torchrun train every stage from shards as SA-1B publishes them, and never part ways.

One script does it all, because it takes seconds to start: a whole run, faults in one of the two processes, and a run
that is killed. The same script then goes on with that.

- The second process measures another overlap than the first: alone, each would stop `distill` or `joint` elsewhere.
- Its loss is not a number in the second step of `probe`.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import open_clip
import pytest
import torch
from pycocotools import mask as coco
from runs import JOINT, assert_alike, gradients, lines, weights
from support import as_model

from samclip_edge.errors import InputError
from samclip_edge.rendered import RenderedScene, render
from samclip_edge.train.processes import company
from samclip_edge.train.recipe import read_recipe
from samclip_edge.train.trainer import Trainer

RECIPE = """\
preset: tiny
clip_data: {{files: ["{0}/clip-*.tar"]}}
sam_data: {{files: ["{0}/sa_*.tar"]}}
held_out: {{files: ["{0}/held-out.tar"]}}
clip_teacher: small:{0}/small.pt
save_every: 1
ema: 0.5
stages:
  - {{task: teach_sam, steps: 2, rate: 1.0e-3, sam: {{size: 128, images: 2}}, masks: 2}}
  - {{task: probe, steps: 3, rate: 1.0e-3, clip: [{{size: 128, images: 4}}]}}
  - {{task: distill, steps: 3, rate: 1.0e-3, forget: 0.8, clip: [{{size: 128, images: 4}}]}}
  - {{task: joint, steps: 2, rate: 1.0e-3, forget: 0.8, clip: [{{size: 128, images: 4}}],
      sam: {{size: 128, images: 2}}, masks: 2}}
  - {{task: adapt, steps: 1, rate: 1.0e-3, clip: [{{size: 128, images: 4, padded: true}}]}}
"""
SCRIPT = """
import os, sys
from pathlib import Path
import open_clip, torch
from runs import gradients as gradients_of
from samclip_edge.errors import InputError
from samclip_edge.train import gradients, trainer
from samclip_edge.train.recipe import read_recipe

rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
recipe = read_recipe(str(folder / "mine.yaml"))
open_clip.add_model_config(folder / "small.json")
now, rate_at, losses = [], trainer.rate_at, gradients.losses

def noted(stage, step, all_steps):
    now[:] = stage.task, step
    return rate_at(stage, step, all_steps)

def spoilt(*rest):
    nan = float("nan") if now == ["probe", 1] and rank == 1 else 1
    for loss in losses(*rest):
        yield loss._replace(value=nan * loss.value)

trainer.overlap = lambda model, sam, stage, held_out: 0.79 if (stage.task == "joint") == (rank == 0) else 0.81
trainer.rate_at, gradients.losses = noted, spoilt

def tell(name, at, fault, **changes):
    try:
        run = trainer.Trainer(recipe.model_copy(update={"stages": recipe.stages[:1], **changes}), folder / name)
        if rank == at:
            fault(run)
        run.train()
    except (InputError, OSError) as error:
        (folder / f"{name}.{rank}").write_text(f"{type(error).__name__}: {error}")

def give_out(run):
    def batches(*rest):
        raise InputError("no data is left")
        yield
    run.batches = batches

def fill_disk(run):
    def save_state(*rest):
        raise OSError(28, os.strerror(28))
    trainer.save_state = save_state

def begin():
    for index in (0, 1, 4):
        found = gradients_of(trainer.Trainer(read_recipe(sys.argv[2]), folder / "short"), index)
        torch.save(found, folder / f"{index}.{rank}.pt")
    trainer.Trainer(recipe, folder / "whole").train()
    tell("without data", 1, give_out)
    saving = trainer.save_state
    tell("full", 0, fill_disk)
    trainer.save_state = saving
    tell("unlike recipes", None, None, seed=rank)
    opening = trainer.open_data
    trainer.open_data = lambda data, *rest: opening(
        data.model_copy(update={"files": (data.files[0].replace("*", "0" if rank else "*"),)}), *rest
    )
    tell("unlike shards", None, None)
    trainer.open_data = opening

if __name__ == "__main__":  # and not in loader processes
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    if not (folder / "killed").exists():
        begin()
    trainer.Trainer(recipe, folder / "killed").train()
"""


def sample(number: int) -> dict[str, bytes]:
    """An image as SA-1B publishes it: a jpg and a json, its masks encoded by pycocotools."""
    scene: RenderedScene = render(700 + number, size=96, fewest=2)
    annotations = []
    for thing in scene.things:
        rle = coco.encode(np.asfortranarray(thing.mask.astype(np.uint8)))
        annotations.append({"segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")}})
    told = {"image": {"image_id": number, "width": 96, "height": 96}, "annotations": annotations}
    jpg = cv2.imencode(".jpg", scene.image[..., ::-1])[1].tobytes()
    return {f"sa_{number}.jpg": jpg, f"sa_{number}.json": json.dumps(told).encode()}


def shard(path: Path, numbers: range, annotated: bool) -> None:
    with tarfile.open(path, "w") as tar:
        for number in numbers:
            for name, data in sample(number).items():
                if annotated or name.endswith(".jpg"):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def launch(folder: Path, recipe: Path) -> subprocess.Popen[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    on_cpu = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    log = (folder / "log").open("a")
    return subprocess.Popen([*command, folder / "all.py", folder, recipe], cwd="/", env=on_cpu, stderr=log, text=True)


@pytest.fixture(scope="module")
def runs(recipe: Path, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both runs, of which one was killed in its third stage, and went on."""
    folder = tmp_path_factory.mktemp("two")
    for number in range(2):
        shard(folder / f"clip-{number}.tar", range(6 * number, 6 * number + 6), annotated=False)
        shard(folder / f"sa_{number}.tar", range(6 * number, 6 * number + 6), annotated=True)
    shard(folder / "held-out.tar", range(20, 22), annotated=True)
    config = {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    }
    as_model(folder, "small", config)
    torch.manual_seed(0)
    torch.save(open_clip.create_model("small").state_dict(), folder / "small.pt")
    (folder / "mine.yaml").write_text(RECIPE.format(folder))
    (folder / "all.py").write_text(SCRIPT)
    shutil.copytree(whole, folder / "short")
    process = launch(folder, recipe)
    metrics, last = folder / "killed" / "metrics.jsonl", '"task": "distill", "step": 2'
    while process.poll() is None and not (metrics.is_file() and last in metrics.read_text()):
        time.sleep(0.01)
    assert process.poll() is None, (folder / "log").read_text()
    for pid in (process.pid, *(int((folder / f"{rank}.pid").read_text()) for rank in range(2))):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert {path.name for path in (folder / "killed").glob("*.safetensors")} == {
        "1-teach_sam.safetensors",
        "2-probe.safetensors",
    }
    assert launch(folder, recipe).wait(600) == 0, (folder / "log").read_text()
    return folder


def test_two_processes_have_the_gradients_of_one(runs: Path, recipe: Path) -> None:
    """Each on its half of a batch: of CLIP's contrastive step, which compares images across processes, of SAM's, both
    with BatchNorm over all images, and of a joint step, whose images have unlike numbers of masks.
    """
    run = Trainer(read_recipe(str(recipe)), runs / "short")
    for index in (0, 1, JOINT):
        one = gradients(run, index)
        for rank in range(2):  # BatchNorm that learns, over few images, makes more of rounding
            two = torch.load(runs / f"{index}.{rank}.pt", weights_only=True)
            assert_alike(one, two, atol=1e-5 if index == JOINT else 1e-3)


def test_a_run_of_two_processes_that_was_killed_ends_as_if_it_never_was(runs: Path) -> None:
    tasks = ("1-teach_sam", "2-probe", "3-distill", "4-joint", "5-adapt")
    assert [path.stem for path in sorted((runs / "whole").glob("*.safetensors"))] == [*tasks]
    for task in tasks:
        ours, theirs = (weights(runs / name / f"{task}.safetensors") for name in ("killed", "whole"))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs), task
    assert lines(runs / "killed") == lines(runs / "whole")


def test_the_main_process_decides_when_to_stop(runs: Path) -> None:
    """It measured 0.81 in `distill` and 0.79 in `joint`, where 0.8 is asked for; the other the other way round."""
    done = [(entry["stage"], entry["step"]) for entry in lines(runs / "whole") if "rate" in entry]
    assert [step for stage, step in done if stage == 3] == [1, 2, 3]
    assert [step for stage, step in done if stage == 4] == [1]


def test_a_loss_that_is_not_finite_in_one_process_is_skipped_in_both(runs: Path) -> None:
    probe = [entry for entry in lines(runs / "whole") if entry["stage"] == 2 and "rate" in entry]
    assert [entry.get("skipped steps") for entry in probe] == [None, 1, None]
    assert [("clip" in entry, "gradient" in entry) for entry in probe] == [(True, True), (False, False), (True, True)]
    assert all(tensor.isfinite().all() for tensor in weights(runs / "whole" / "2-probe.safetensors").values())


def test_a_process_that_is_gone_is_told_from_a_fault() -> None:
    for text in ("[/gloo/transport/tcp/pair.cc:561] Connection closed by peer", "NCCL error: remote process exited",
                 "DataLoader worker (pid 7) is killed by signal: Killed. "):  # fmt: skip
        with pytest.raises(InputError, match=r"^another process is gone \(.*\); what it printed says why"), company():
            raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="shapes"), company():
        raise RuntimeError("shapes do not fit")


def test_an_error_in_one_process_or_what_is_unlike_ends_the_other_with_its_text(runs: Path) -> None:
    said = {path.name: path.read_text() for path in runs.glob("*.[01]")}
    full = os.strerror(errno.ENOSPC)
    unlike = f"{runs}/unlike recipes/recipe.json: is not this process's recipe; give all processes the same file"
    missing = f"recipe: clip_data: the main process finds {runs}/clip-1.tar, and this process does not; all need the "
    missing += "same files"
    assert said == {
        "without data.0": "InputError: process 1 stopped: no data is left",
        "without data.1": "InputError: no data is left",
        "full.0": f"OSError: [Errno {errno.ENOSPC}] {full}",
        "full.1": f"InputError: process 0 stopped: {full}",
        "unlike recipes.0": f"InputError: process 1 stopped: {unlike}",
        "unlike recipes.1": f"InputError: {unlike}",
        "unlike shards.0": f"InputError: process 1 stopped: {missing}",
        "unlike shards.1": f"InputError: {missing}",
    }
