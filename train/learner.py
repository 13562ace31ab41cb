"""What a stage trains: the model with the parts of the stage unfrozen, their optimiser, and the learning rate."""

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
    """The model, optimiser and average weights that a stage changes and `state.pt` keeps."""

    model: MergedModel
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None


def learner(model: MergedModel, stage: Stage, recipe: Recipe) -> Learner:
    """Unfreeze only the parts of a model that the stage trains, and make their optimiser."""
    model.requires_grad_(False)
    model.train(stage.task.startswith("teach"))  # only teachers update the statistics of the stem's BatchNorm
    groups = []
    for part, share in moving(model, stage):
        part.requires_grad_(True)
        groups.append({"params": list(part.parameters()), "share": share})
    if recipe.recompute:
        recompute(model.image_encoder.layers)
    optimizer = torch.optim.AdamW(groups, lr=stage.rate, betas=stage.betas, weight_decay=stage.weight_decay)
    average = None
    if recipe.ema:
        function = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
        average = AveragedModel(model, multi_avg_fn=function)
    return Learner(model, optimizer, average)


def rate_at(stage: Stage, step: int, all_steps: int) -> float:
    """The learning rate of a step: it rises linearly over the warmup, then falls to 0 along a cosine."""
    if step < stage.warmup:
        return stage.rate * (step + 1) / stage.warmup
    done = (step - stage.warmup) / (all_steps - stage.warmup)
    return stage.rate * 0.5 * (1 + math.cos(math.pi * done))


def recompute(layers: nn.Module) -> None:
    """Make each layer keep only its input, and recompute its activations in the backward pass."""
    for layer in layers.children():
        layer.forward = functools.partial(recomputed, layer.forward, use_reentrant=False)  # type: ignore[method-assign]
