"""BatchNorms folded into the convolutions before them: what answers as both do is one convolution with a bias."""

from __future__ import annotations

import copy

from torch import Tensor, nn


def constant(values: Tensor) -> nn.Parameter:
    """Values as a parameter that nothing trains."""
    return nn.Parameter(values.detach().contiguous(), requires_grad=False)


def convolution(like: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution of the stride, dilation and padding of another one."""
    conv = copy.copy(like)
    conv._parameters = {"weight": constant(weight), "bias": None if bias is None else constant(bias)}
    conv.out_channels = len(weight)
    conv.groups = len(weight) if like.groups > 1 else 1
    conv.in_channels = weight.shape[1] * conv.groups
    return conv


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, channels: slice = slice(None)) -> nn.Conv2d:
    """A convolution that answers as `conv` and `norm` do. channels: of its output, those that are asked for."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = norm.bias - norm.running_mean * scale
    return convolution(conv, (conv.weight * scale[:, None, None, None])[channels], bias[channels])
