"""Ops that compute: element by element, products, convolutions, norms, reductions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.runtimes.interpreters.mil_ops.registry import elementwise, ints, op

elementwise(
    add=lambda x, y: x + y,
    sub=lambda x, y: x - y,
    mul=lambda x, y: x * y,
    real_div=lambda x, y: x / y,
    minimum=torch.minimum,
    equal=lambda x, y: x == y,
    less=lambda x, y: x < y,
    greater=lambda x, y: x > y,
    greater_equal=lambda x, y: x >= y,
    abs=torch.abs,
    sin=torch.sin,
    cos=torch.cos,
    relu=torch.relu,
    relu6=torch.nn.functional.relu6,
    sigmoid=torch.sigmoid,
)


@op
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return x.clamp(float(alpha), float(beta))


@op
def inverse(x: Tensor, epsilon: float) -> Tensor:
    return 1 / (x + float(epsilon))


@op
def rsqrt(x: Tensor, epsilon: float) -> Tensor:
    return torch.rsqrt(x + float(epsilon))


@op
def gelu(x: Tensor, mode: str) -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


@op
def cast(x: Tensor, dtype: str) -> Tensor:
    kinds = {"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32, "int16": torch.int16}
    kinds |= {"bool": torch.bool, "int8": torch.int8, "uint8": torch.uint8, "uint16": torch.int32}
    return x.to(kinds[dtype])


@op
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(torch.as_tensor(cond), a, b)


@op
def softmax(x: Tensor, axis: int) -> Tensor:
    return torch.softmax(x, dim=int(axis))


@op
def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight, bias)


@op
def matmul(x: Tensor, y: Tensor, transpose_x: bool, transpose_y: bool) -> Tensor:
    return (x.transpose(-2, -1) if transpose_x else x) @ (y.transpose(-2, -1) if transpose_y else y)


@op
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)


def _padding(pad_type: str, pad: Any) -> list[int]:
    """The padding of two dimensions in the order of `F.pad`: the last dimension first, each before and after."""
    if pad_type not in ("valid", "custom"):
        raise NotImplementedError(f"pad_type {pad_type}")
    flat = ints(pad) if pad_type == "custom" else [0, 0, 0, 0]
    return [*flat[2:], *flat[:2]]


@op
def conv(
    x: Tensor,
    weight: Tensor,
    strides: Any,
    pad_type: str,
    pad: Any,
    dilations: Any,
    groups: int,
    bias: Tensor | None = None,
) -> Tensor:
    steps = ints(strides)
    padded = F.pad(x, _padding(pad_type, pad))
    return F.conv2d(padded, weight, bias, stride=steps, dilation=ints(dilations), groups=int(groups))


@op
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    strides: Any,
    pad_type: str,
    pad: Any,
    dilations: Any,
    groups: int,
    bias: Tensor | None = None,
    output_shape: Any = None,
) -> Tensor:
    cut = _padding(pad_type, pad)
    out = F.conv_transpose2d(x, weight, bias, stride=ints(strides), groups=int(groups), dilation=ints(dilations))
    out = F.pad(out, [-each for each in cut])
    if output_shape is not None and list(out.shape) != ints(output_shape):
        raise NotImplementedError(f"output_shape {ints(output_shape)}, where {list(out.shape)} comes out")
    return out


@op
def batch_norm(x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


@op
def layer_norm(x: Tensor, axes: Any, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    if ints(axes) not in ([-1], [x.ndim - 1]):
        raise NotImplementedError(f"axes {ints(axes)} of {x.ndim}")
    return F.layer_norm(x, x.shape[-1:], gamma, beta, eps=float(epsilon))


@op
def reduce_mean(x: Tensor, axes: Any, keep_dims: bool) -> Tensor:
    return x.mean(dim=ints(axes), keepdim=bool(keep_dims))


@op
def reduce_sum(x: Tensor, axes: Any, keep_dims: bool) -> Tensor:
    return x.sum(dim=ints(axes), keepdim=bool(keep_dims))


@op
def reduce_max(x: Tensor, axes: Any, keep_dims: bool) -> Tensor:
    return x.amax(dim=ints(axes), keepdim=bool(keep_dims))


@op
def cumsum(x: Tensor, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    if exclusive or reverse:
        raise NotImplementedError("an exclusive or reverse sum")
    return x.cumsum(int(axis))


@op
def avg_pool(
    x: Tensor,
    kernel_sizes: Any,
    strides: Any,
    pad_type: str,
    pad: Any,
    exclude_padding_from_average: bool,
    ceil_mode: bool,
) -> Tensor:
    kernel, steps = ints(kernel_sizes), ints(strides)
    if ceil_mode or (exclude_padding_from_average and any(ints(pad))):
        raise NotImplementedError("ceil_mode, or padding left out of the average")
    return F.avg_pool2d(F.pad(x, _padding(pad_type, pad)), kernel, steps)
