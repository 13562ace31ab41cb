"""The gradients of one step, summed over its losses, parts and processes.

They are those that one process would compute from the whole batch at once, with one exception: where a teacher has
BatchNorm, `Recipe.accumulate` gives it the statistics of one part at a time. Those of several processes are of all
their images (`batch_norm`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from samclip_edge.model.merged import MergedModel
from samclip_edge.train.data.batches import Images, Masks
from samclip_edge.train.data.texts import Texts
from samclip_edge.train.processes import summed
from samclip_edge.train.recipe import Stage
from samclip_edge.train.stages import Loss, losses
from samclip_edge.train.teachers import Teachers

Part = tuple[Images | Texts | None, Masks | None]  # one part of a process's batches, see `Recipe.accumulate`


def gradients(
    accelerator: Accelerator, bf16: bool, model: MergedModel, stage: Stage, teachers: Teachers | None, parts: list[Part]
) -> dict[str, Tensor]:
    """Run one backward pass for each loss (Sec. 3), then sum losses and gradients over processes. Returns the losses by
    name, which lie on the device still: each of them read alone would make it wait.

    Each part of each process is weighted by its number of images or masks, because the number of masks differs from
    image to image. bf16: whether the forward passes run in bf16.
    """
    counts = torch.tensor(
        [[clip.size if clip else 0, len(sam.owner) if sam else 0] for clip, sam in parts],
        dtype=torch.float32,
        device=accelerator.device,
    )
    shares = counts / summed(counts.sum(dim=0)).clamp(min=1)
    values: dict[str, Tensor] = {}
    for (clip, sam), share in zip(parts, shares, strict=True):
        for loss in _autocast(accelerator.device.type, bf16, model, stage, teachers, clip, sam):
            value = share[0 if loss.of == "clip" else 1] * loss.value
            accelerator.backward(loss.weight * value)
            values[loss.name] = values.get(loss.name, torch.zeros_like(value)) + value.detach()
    if accelerator.num_processes > 1:  # all in one message
        told = [*values.values(), *(each.grad for each in model.parameters() if each.grad is not None)]
        nn.utils.vector_to_parameters(summed(nn.utils.parameters_to_vector(told)), told)
    return values


def _autocast(device: str, bf16: bool, *rest: Any) -> Iterator[Loss]:
    """Yield the losses of a step, computed in bf16 if `bf16`. The backward passes run outside of autocast."""
    made = losses(*rest)
    while True:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = next(made, None)
        if loss is None:
            return
        yield loss


def has_bf16() -> bool:
    """Whether this machine has a GPU, or a CPU with bf16 instructions. Without these bf16 is slower than fp32."""
    return torch.cuda.is_available() or torch.backends.mps.is_available() or torch.cpu._is_avx512_bf16_supported()
