"""The weights that the first stage of a task begins with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from samclip_edge.data import CHECKPOINTS
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel
from samclip_edge.train.first_model import first_model
from samclip_edge.train.recipe import Recipe


def teach(**keys: Any) -> Recipe:
    data = {"files": ["photos"]}
    stage = {"task": "teach_sam", "steps": 1, "rate": 0.1, "sam": {"size": 256, "images": 1}}
    asked = {"preset": "photo", "clip_data": data, "sam_data": data, "held_out": data, "stages": [stage]}
    return Recipe.model_validate(asked | keys)


def no_stage_before(task: str) -> MergedModel:
    raise AssertionError(f"{task} was asked for")


def test_teach_sam_may_start_from_the_decoder_of_another_model() -> None:
    model, (tiny, _) = (
        first_model(teach(decoder_weights="tiny"), 0, no_stage_before),
        checkpoint.load(CHECKPOINTS["tiny"]),
    )
    for part in ("prompt_encoder", "mask_decoder"):
        ours, theirs = (getattr(each, part).state_dict() for each in (model, tiny))
        assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
        assert all(name.startswith(("guidance.", "prior.")) for name in ours.keys() - theirs), "which tiny lacks"


def test_a_decoder_of_another_shape_is_refused() -> None:
    stage = {"task": "teach_sam", "steps": 1, "rate": 0.1, "sam": {"size": 224, "images": 1}}
    with pytest.raises(InputError, match=r"tiny: its mask decoder is not that of the preset mobile"):
        first_model(teach(preset="mobile", stages=[stage], decoder_weights="tiny"), 0, no_stage_before)


def test_a_classifier_without_names_for_its_classes_is_refused() -> None:
    with pytest.raises(InputError, match="encoder_weights are a classifier's"):
        first_model(teach(encoder_weights="lite0.pth"), 0, no_stage_before)
