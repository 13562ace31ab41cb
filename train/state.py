"""`state.pt`, which keeps the stage under way: a run that was stopped goes on from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError
from torch import Tensor

from samclip_edge.errors import InputError, one_line
from samclip_edge.train.data.stream import Stood
from samclip_edge.train.learner import Learner

Saved = dict[str, Stood]  # for "clip" and "sam", where their data stood
VERSION = 3  # 2 did not say which shards its positions were of; 1 had other groups of parameters, and no version
_SAVED = TypeAdapter(Saved)


class _Optimizer(BaseModel):
    state: dict[int, dict[str, Tensor]]
    param_groups: list[dict[str, Any]]
    model_config = ConfigDict(arbitrary_types_allowed=True)


class _State(BaseModel):
    """What the file must hold, so that a file of something else is refused before anything is taken from it."""

    version: int
    stage: NonNegativeInt
    data: str  # `Saved` as JSON
    step: NonNegativeInt
    skipped: NonNegativeInt
    in_a_row: NonNegativeInt
    images: NonNegativeInt
    seconds: NonNegativeFloat
    model: dict[str, Tensor]
    optimizer: _Optimizer
    average: dict[str, Tensor] | None
    model_config = ConfigDict(arbitrary_types_allowed=True)


def save_state(path: Path, stage: int, learner: Learner, saved: Saved) -> None:
    """Write the state of a stage, whole or not at all. Raises InputError where the disk is full."""
    partial = path.with_suffix(".partial")
    data = json.dumps(saved)
    try:
        with partial.open("wb") as file:
            torch.save({"version": VERSION, "stage": stage, "data": data, **learner.state()}, file)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch's own hides the system's behind it
        why = one_line(error if isinstance(error, OSError) else error.__context__ or error)
        raise InputError(f"{path}: cannot be written ({why}); make room, and give the same command again") from error
    finally:
        partial.unlink(missing_ok=True)


def load_state(path: Path, stage: int, learner: Learner) -> Saved:
    """Load the state of a stage, if it was saved, and return where its data stood.

    Raises InputError when it is damaged, of an older version, or of something else.
    """
    if not path.is_file():
        return {}
    mend = "remove it, and its stage begins anew"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # `load` brings it to the device
    except Exception as error:  # torch raises whatever it meets
        raise InputError(f"{path}: cannot be read ({one_line(error)}); {mend}") from None
    version = state.get("version") if isinstance(state, dict) else VERSION
    if isinstance(version, int | None) and version != VERSION:
        raise InputError(f"{path}: an older version of samclip-edge wrote it; finish the run with that, or {mend}")
    try:
        found = _State.model_validate(state)
        if found.stage != stage:
            return {}
        saved = _SAVED.validate_json(found.data)
        learner.load(state)
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(map(str, first["loc"])) or "what it holds"
        raise InputError(f"{path}: is not a run's state ({what}: {first['msg']}); {mend}") from None
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:  # torch's, of what does not fit
        raise InputError(f"{path}: does not fit its stage ({one_line(error)}); {mend}") from None
    return saved
