"""What each op of an ML Program does, on torch: the ops that our own graphs are made of, and no other.

An op takes its inputs by the names that Apple gives them in the MIL specification (`coremltools`, converters/mil/mil/
ops/defs), as tensors, or as plain numbers, strings and lists where the program holds a constant of that kind. It
computes in float32, or in whole numbers; `runtimes.mil` rounds what comes out to the type that the program declares.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Op = Callable[..., Any]
OPS: dict[str, Op] = {}


def op(run: Op) -> Op:
    """Enter a function under its own name, less a trailing underscore."""
    OPS[run.__name__.rstrip("_")] = run
    return run


def ints(values: Tensor | Sequence[int]) -> list[int]:
    """A constant list of whole numbers."""
    return [int(each) for each in (values.flatten().tolist() if isinstance(values, Tensor) else values)]


def elementwise(**functions: Op) -> None:
    """Enter ops that torch has under another name, with the inputs in order."""
    for name, function in functions.items():
        OPS[name] = lambda *, _function=function, **inputs: _function(*inputs.values())


elementwise(
    add=lambda x, y: x + y,
    sub=lambda x, y: x - y,
    mul=lambda x, y: x * y,
    real_div=lambda x, y: x / y,
    equal=lambda x, y: x == y,
    less=lambda x, y: x < y,
    greater=lambda x, y: x > y,
    greater_equal=lambda x, y: x >= y,
    abs=torch.abs,
    sin=torch.sin,
    cos=torch.cos,
    relu=torch.relu,
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
    """Padding as `F.pad` takes it: last side first, before and after."""
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


@op
def reshape(x: Tensor, shape: Any) -> Tensor:
    sides = [x.shape[axis] if side == 0 else side for axis, side in enumerate(ints(shape))]  # 0 copies a side
    return x.reshape(sides)


@op
def transpose(x: Tensor, perm: Any) -> Tensor:
    return x.permute(ints(perm))


@op
def tile(x: Tensor, reps: Any) -> Tensor:
    return x.repeat(ints(reps))


@op
def squeeze(x: Tensor, axes: Any) -> Tensor:
    return x.squeeze(ints(axes))


@op
def expand_dims(x: Tensor, axes: Any) -> Tensor:
    places = sorted(axis % (x.ndim + len(ints(axes))) for axis in ints(axes))
    for place in places:
        x = x.unsqueeze(place)
    return x


@op
def concat(values: Sequence[Tensor], axis: int, interleave: bool) -> Tensor:
    if interleave:
        raise NotImplementedError("interleave")
    return torch.cat(list(values), dim=int(axis))


@op
def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Any = None) -> tuple[Tensor, ...]:
    count = int(num_splits or 1)
    sizes = ints(split_sizes) if split_sizes is not None else [x.shape[int(axis)] // count] * count
    return x.tensor_split(list(itertools.accumulate(sizes))[:-1], dim=int(axis))


@op
def slice_by_index(
    x: Tensor,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor:
    """A mask's True means: from the first, to the last, or that only `begin` is taken and its side dropped."""
    none = [False] * x.ndim
    masks = zip(
        ints(begin),
        ints(end),
        ints(stride) if stride is not None else [1] * x.ndim,
        none if begin_mask is None else ints(begin_mask),
        none if end_mask is None else ints(end_mask),
        none if squeeze_mask is None else ints(squeeze_mask),
        strict=True,
    )
    where: list[int | slice] = []
    for first, last, step, from_first, to_last, only in masks:
        if step < 1:
            raise NotImplementedError(f"stride {step}")
        where.append(first if only else slice(None if from_first else first, None if to_last else last, step))
    return x[tuple(where)]


@op
def gather(x: Tensor, indices: Tensor, axis: int, batch_dims: int, validate_indices: bool = False) -> Tensor:
    if int(axis) or int(batch_dims):
        raise NotImplementedError(f"axis {int(axis)}, batch_dims {int(batch_dims)}")
    return x[torch.as_tensor(indices).long()]


@op
def pad(x: Tensor, pad: Any, mode: str, constant_val: float) -> Tensor:
    pairs = ints(pad)
    if mode != "constant":
        raise NotImplementedError(f"mode {mode}")
    backwards = [each for first in range(len(pairs) - 2, -1, -2) for each in pairs[first : first + 2]]
    return F.pad(x, backwards, value=float(constant_val))


@op
def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Any, scale: Any, axis: int) -> Tensor:
    """iOS16: scale * (data - zero point), one of each a channel of `axis`, or one for all."""
    sides = [1] * quantized_data.ndim
    sides[int(axis)] = -1
    zero, by = (torch.as_tensor(each).float() for each in (zero_point, scale))
    zero, by = (each.reshape(sides) if each.ndim else each for each in (zero, by))
    return (quantized_data.float() - zero) * by


@op
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """iOS18: scale * (data - offset), one of each a block."""
    blocks = [side // count for side, count in zip(data.shape, scale.shape, strict=True)]

    def spread(each: Tensor) -> Tensor:
        for axis, block in enumerate(blocks):
            each = each.repeat_interleave(block, dim=axis)
        return each.float()

    values = data.float() if offset is None else data.float() - spread(offset)
    return values * spread(scale)


@op
def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, shape: Any = None, vector_axis: Any = None) -> Tensor:
    """A palette. iOS16: one for all, indices packed bit by bit. iOS18: one a group, indices in their shape."""
    if shape is not None:
        bits, sides = (len(lut) - 1).bit_length(), ints(shape)
        count = int(torch.tensor(sides).prod())
        every = (indices.to(torch.uint8)[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        places = every.flatten()[: count * bits].reshape(count, bits).long()
        return lut[(places << torch.arange(bits)).sum(dim=1)].reshape(sides)
    if lut.shape[-1] != 1:
        raise NotImplementedError("palettes of vectors")
    groups = list(lut.shape[:-2])
    which = torch.zeros(indices.shape, dtype=torch.long)  # the group of each weight
    for axis, count in enumerate(groups):
        line = torch.arange(indices.shape[axis]) // (indices.shape[axis] // count)
        which = which * count + line.reshape([-1 if each == axis else 1 for each in range(indices.ndim)])
    return lut.reshape(-1, lut.shape[-2])[which, indices.long()]
