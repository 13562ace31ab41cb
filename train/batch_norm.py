"""BatchNorm over all images of a step, however many processes share them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, distributed, nn

from samclip_edge.train.processes import summed


def share_statistics(model: nn.Module) -> None:
    """Make every BatchNorm, while it trains, take its statistics from the batches of all processes, which must be
    equally large. torch's `SyncBatchNorm` does this on GPUs alone."""
    if distributed.is_initialized():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.forward = functools.partial(_normalised, layer)  # type: ignore[method-assign]


class _Mean(torch.autograd.Function):
    """The mean of a vector over processes; gradients come back from all of them."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return summed(values.clone()) / distributed.get_world_size()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return summed(gradient.contiguous().clone()) / distributed.get_world_size()


def _normalised(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """(B,C,H,W) normalised over B, H and W of all processes, as `nn.BatchNorm2d` does it over those of one."""
    if not layer.training:
        return nn.BatchNorm2d.forward(layer, x)
    values = x.float()
    mean: Tensor = _Mean.apply(values.mean(dim=(0, 2, 3)))  # type: ignore[no-untyped-call]
    values = values - mean[:, None, None]
    variance: Tensor = _Mean.apply(values.square().mean(dim=(0, 2, 3)))  # type: ignore[no-untyped-call]
    count = distributed.get_world_size() * x[:, 0].numel()
    with torch.no_grad():
        assert layer.num_batches_tracked is not None
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert layer.momentum is not None
        layer.num_batches_tracked.add_(1)
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance * (count / (count - 1)), layer.momentum)
    scaled = values * (variance + layer.eps).rsqrt()[:, None, None]
    if layer.affine:
        scaled = scaled * layer.weight[:, None, None] + layer.bias[:, None, None]
    return scaled.to(x.dtype)
