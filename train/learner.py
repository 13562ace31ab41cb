"""What a stage trains: the model with the parts of the stage unfrozen, their optimiser, and the learning rate."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint as recomputed

from samclip_edge.errors import InputError
from samclip_edge.model.merged import MergedModel
from samclip_edge.train.batch_norm import share_statistics
from samclip_edge.train.recipe import Recipe, Stage
from samclip_edge.train.stages import moving

IN_A_ROW = 5  # steps without a finite loss and gradient, one after another, that end a run


class Learner:
    """The model, optimiser and average weights that a stage changes, and how far it is: what `state.pt` keeps."""

    def __init__(self, model: MergedModel, stage: Stage, recipe: Recipe) -> None:
        """Unfreeze only the parts of a model that the stage trains, and make their optimiser."""
        model.requires_grad_(False)
        model.train(stage.task.startswith("teach"))  # only teachers update the statistics of the stem's BatchNorm
        share_statistics(model)
        groups: list[dict[str, Any]] = []
        for part, share in moving(model, stage):
            part.requires_grad_(True)
            for decay, parameters in zip((stage.weight_decay, 0.0), by_decay(part), strict=True):
                groups.append({"params": parameters, "share": share, "weight_decay": decay})
        if recipe.recompute:
            recompute(model.image_encoder.layers)
        self.model = model
        self.optimizer = torch.optim.AdamW(groups, lr=stage.rate, betas=stage.betas)
        self.average: AveragedModel | None = None
        if recipe.ema:
            function = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(model, multi_avg_fn=function)
        self.limit = stage.clip_gradient
        self.step = 0  # steps done, those that were skipped included
        self.skipped, self.in_a_row = 0, 0  # steps without a finite loss and gradient: in all, and up to now
        self.images, self.seconds = 0, 0.0  # that the steps done took

    def begin(self, rate: float) -> None:
        """Prepare a step at a learning rate: no gradients yet, and statistics that `take` can go back to."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.zero_grad()
        self._before = [each.clone() for each in self.model.buffers()] if self.model.training else []

    def take(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """Change the weights by the gradients that they have now. Returns the losses and the norm of the gradient.

        Where one of these is not finite, the step is skipped: weights, optimiser and averages stay as they are, and
        `skipped steps` says how many were. All numbers are sums over the processes, so that each comes to the same.
        """
        moved = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(moved, self.limit)
        numbers = torch.stack([*losses.values(), norm]).tolist()  # one transfer from the device
        values = dict(zip((*losses, "gradient"), numbers, strict=True))
        self.step += 1
        if all(map(math.isfinite, numbers)):
            self.in_a_row = 0
            self.optimizer.step()
            if self.average:
                self.average.update_parameters(self.model)
            return values
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        for each, before in zip(self.model.buffers(), self._before, strict=False):
            each.copy_(before)
        return values | {"skipped steps": self.skipped}

    def check(self, stage: str, values: Mapping[str, float]) -> None:
        """Raise InputError when the last steps were all skipped. values: what `take` returned."""
        if self.in_a_row >= IN_A_ROW:
            names = ", ".join(name for name, value in values.items() if not math.isfinite(value))
            raise InputError(
                f"{stage}, step {self.step}: {names} not finite in {self.in_a_row} steps in a row; choose a lower "
                "rate, a longer warmup or precision: fp32, and another folder"
            )

    def check_weights(self, stage: str) -> None:
        """Raise InputError when a number that would be saved is not finite: a weight, an average, or a moment of AdamW.

        `take` sees the losses and gradients before a step; this sees what the step made of them.
        """
        kept = [*self.model.state_dict().items(), *(self.average.state_dict().items() if self.average else ())]
        moments = self.optimizer.state_dict()["state"].values()
        kept.extend((f"AdamW's {name}", each) for moment in moments for name, each in moment.items())
        for name, tensor in kept:
            if not tensor.isfinite().all():
                raise InputError(
                    f"{stage}, step {self.step}: {name} is not finite, so nothing is saved; choose a lower rate or "
                    "weight_decay, and another folder"
                )

    def state(self) -> dict[str, Any]:
        """All of it, for `load`."""
        average = self.average.state_dict() if self.average else None
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "average": average} | counts

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])
        for name in _COUNTS:
            setattr(self, name, state[name])

    def speed(self) -> dict[str, float]:
        """The images a second of the stage so far, over all processes; and the most memory that a GPU held, in GB."""
        found = {"images/s": self.images / max(self.seconds, 1e-9)}
        if torch.cuda.is_available():
            found["GB of GPU memory"] = torch.cuda.max_memory_allocated() / 1e9
        return found

    def learned(self) -> MergedModel:
        """The model with the weights that the stage leaves behind: the averages, where they are kept."""
        if self.average:
            for own, averaged in zip(self.model.parameters(), self.average.module.parameters(), strict=True):
                own.data.copy_(averaged)  # not the buffers: BatchNorm's statistics are averages already
        return self.model.eval()


_COUNTS = ("step", "skipped", "in_a_row", "images", "seconds")


def by_decay(part: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of a part that weight decay shrinks, and those that it leaves alone.

    It shrinks what tokens and pixels are multiplied with. It leaves norms and biases alone, as MAE and open_clip do,
    and what is looked up or learned as it is: positions, relative positions, and the embeddings of tokens and prompts.
    """
    shrunk: list[nn.Parameter] = []
    left: list[nn.Parameter] = []
    for module in part.modules():
        for name, parameter in module.named_parameters(recurse=False):
            looked_up = isinstance(module, nn.Embedding) or re.search("pos|embed|bias", name)
            (left if parameter.ndim < 2 or looked_up else shrunk).append(parameter)
    return shrunk, left


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
