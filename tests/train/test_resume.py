"""`train` goes on with a run that was killed, leaves a finished one alone, and refuses another's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import lines, weights
from support import Ran

from samclip_edge.errors import InputError
from samclip_edge.train.recipe import read_recipe
from samclip_edge.train.trainer import Trainer


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
    (folder / ".4-distill.safetensors.1.partial").touch()  # what a kill leaves while a checkpoint is written
    subprocess.run(command, check=True, cwd="/")
    for path in sorted(whole.glob("*.safetensors")):
        ours, theirs = weights(folder / path.name), weights(path)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), path.name
    assert lines(folder) == lines(whole)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


def test_the_command_trains_and_its_checkpoint_exports(
    run: Callable[..., Ran], recipe: Path, whole: Path, tmp_path: Path
) -> None:
    ran = run("train", "--recipe", recipe, "-o", whole, "--json")
    assert ran.code == 0
    trained = ran.json["checkpoint"]
    assert trained == str(whole / "6-adapt.safetensors")
    assert run("export", "--model", trained, "--size", 128, "-o", tmp_path / "bundle").code == 0
    assert '"trained": true' in (tmp_path / "bundle" / "manifest.json").read_text()
