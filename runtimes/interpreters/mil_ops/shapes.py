"""Ops that move values about: reshape, transpose, split, slice, gather, pad."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.runtimes.interpreters.mil_ops.registry import ints, op


@op
def reshape(x: Tensor, shape: Any) -> Tensor:
    sides = [x.shape[axis] if side == 0 else side for axis, side in enumerate(ints(shape))]  # 0 keeps a dimension
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
    """Where a mask is True: `begin_mask` starts at the first, `end_mask` goes to the last.

    `squeeze_mask` takes the entry at `begin` alone and drops the dimension.
    """
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
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    return F.pixel_shuffle(x, int(upscale_factor))
