"""`state.pt`, which keeps the stage under way: a run that was stopped goes on from it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import torch

from samclip_edge.errors import InputError, one_line
from samclip_edge.train.learner import Learner

VERSION = 2  # 1 had other groups of parameters, and no version


def save_state(path: Path, stage: int, learner: Learner) -> None:
    """Write the state of a stage, whole or not at all. Raises OSError where the disk is full."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:  # given a path, torch has no words for a full disk
        torch.save({"version": VERSION, "stage": stage, **learner.state()}, file)
    os.replace(partial, path)


def load_state(path: Path, stage: int, learner: Learner) -> None:
    """Load the state of a stage, if it was saved. Raises InputError when it is damaged or of an older version."""
    if not path.is_file():
        return
    mend = "remove it, and its stage begins anew"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # `load` brings it to the device
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); {mend}") from None
    if state.get("version") != VERSION:
        raise InputError(f"{path}: an older version of samclip-edge wrote it; finish the run with that, or {mend}")
    if state["stage"] == stage:
        learner.load(state)
