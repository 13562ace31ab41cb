"""A run of a few steps of every stage, which nothing disturbed, for the tests to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from samclip_edge.train.recipe import read_recipe
from samclip_edge.train.trainer import Trainer

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


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "short.yaml"
    path.write_text(SHORT)
    return path


@pytest.fixture(scope="session")
def whole(recipe: Path) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = recipe.parent / "whole"
    Trainer(read_recipe(str(recipe)), folder).train()
    return folder
