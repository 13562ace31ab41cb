"""`state.pt`, which keeps the stage under way: a run that was stopped goes on from it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import torch

from samclip_edge.errors import InputError, one_line
from samclip_edge.train.data.stream import Position
from samclip_edge.train.learner import Learner

Saved = dict[str, list[list[object]]]  # for each stream of data, where every lane stood
VERSION = 2  # 1 had other groups of parameters, and no version


def save_state(path: Path, stage: int, learner: Learner, positions: dict[str, list[list[Position]]]) -> None:
    """Write the state of a stage, whole or not at all. Raises InputError where the disk is full.

    positions: for each stream of data, where the lanes of each process stand.
    """
    saved: Saved = {name: [list(lane) for lanes in each for lane in lanes] for name, each in positions.items()}
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            torch.save({"version": VERSION, "stage": stage, "positions": saved, **learner.state()}, file)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch's own hides the system's behind it
        why = one_line(error if isinstance(error, OSError) else error.__context__ or error)
        raise InputError(f"{path}: cannot be written ({why}); make room, and give the same command again") from error
    finally:
        partial.unlink(missing_ok=True)


def load_state(path: Path, stage: int, learner: Learner) -> Saved:
    """Load the state of a stage, if it was saved, and return its positions.

    Raises InputError when it is damaged or of an older version.
    """
    if not path.is_file():
        return {}
    mend = "remove it, and its stage begins anew"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # `load` brings it to the device
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); {mend}") from None
    if state.get("version") != VERSION:
        raise InputError(f"{path}: an older version of samclip-edge wrote it; finish the run with that, or {mend}")
    if state["stage"] != stage:
        return {}
    learner.load(state)
    return state["positions"]
