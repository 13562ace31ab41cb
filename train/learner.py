"""What a stage changes: the model with its own parts unfrozen, their optimiser, and the rate at each step."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint as recomputed

from samclip_edge.model.merged import MergedModel
from samclip_edge.train.recipe import Recipe, Stage
from samclip_edge.train.stages import moving


class Learner(NamedTuple):
    """What a stage changes, and what its `state.pt` keeps."""

    model: MergedModel
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None


def learner(model: MergedModel, stage: Stage, recipe: Recipe) -> Learner:
    """A stage's model, only the parts that the stage trains unfrozen, and their optimiser."""
    model.requires_grad_(False)
    model.train(stage.task.startswith("teach"))  # the statistics of a stem are a teacher's alone to learn
    groups = []
    for part, share in moving(model, stage):
        part.requires_grad_(True)
        groups.append({"params": list(part.parameters()), "share": share})
    if recipe.recompute:
        recompute(model.image_encoder.blocks)
    optimizer = torch.optim.AdamW(groups, lr=stage.rate, betas=stage.betas, weight_decay=stage.weight_decay)
    average = None
    if recipe.ema:
        function = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
        average = AveragedModel(model, multi_avg_fn=function)
    return Learner(model, optimizer, average)


def rate_at(stage: Stage, step: int, all_steps: int) -> float:
    """The learning rate of a step: up in a line over the warmup, down to 0 as a cosine."""
    if step < stage.warmup:
        return stage.rate * (step + 1) / stage.warmup
    done = (step - stage.warmup) / (all_steps - stage.warmup)
    return stage.rate * 0.5 * (1 + math.cos(math.pi * done))


def recompute(layers: nn.Module) -> None:
    """Have each layer keep its input only and work out the rest anew in the backward pass."""
    for layer in layers.children():
        layer.forward = functools.partial(recomputed, layer.forward, use_reentrant=False)  # type: ignore[method-assign]
