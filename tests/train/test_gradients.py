"""A step has the same gradients in parts and recomputed, and nearly so in bf16; `test_processes.py` tries processes."""

from __future__ import annotations

from pathlib import Path

import torch
from runs import JOINT, assert_alike, gradients, variation

from samclip_edge.train.recipe import Recipe


def test_parts_and_recomputing_leave_the_gradients_as_they_are(whole: Path) -> None:
    stages = list(Recipe.model_validate_json((whole / "recipe.json").read_text()).stages)
    stages[JOINT] = stages[JOINT].model_copy(update={"regions": 1.0})  # whose regions are not as many as the masks
    plain = gradients(variation(whole, "plain", {"stages": tuple(stages)}))
    assert set(plain[0]) == {"clip", "sam", "regions"}
    for name, changes in {"parts": {"accumulate": 2}, "recomputed": {"recompute": True}}.items():
        assert_alike(plain, gradients(variation(whole, name, {"stages": tuple(stages), **changes})))


def test_bf16_steps_are_near_those_of_fp32(whole: Path) -> None:
    (exact, *_), (rough, got, _) = (gradients(variation(whole, name, {"precision": name})) for name in ("fp32", "bf16"))
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0)
    assert {gradient.dtype for gradient in got.values()} == {torch.float32}
