"""Ops that expand compressed weights: per-channel scales, per-block scales, and palettes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from samclip_edge.runtimes.interpreters.mil_ops.registry import ints, op


@op
def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Any, scale: Any, axis: int) -> Tensor:
    """iOS16: scale * (data - zero point). There is one of each for every channel of `axis`, or one for all."""
    sides = [1] * quantized_data.ndim
    sides[int(axis)] = -1
    zero, by = (torch.as_tensor(each).float() for each in (zero_point, scale))
    zero, by = (each.reshape(sides) if each.ndim else each for each in (zero, by))
    return (quantized_data.float() - zero) * by


@op
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """iOS18: scale * (data - offset). There is one of each for every block."""
    blocks = [side // count for side, count in zip(data.shape, scale.shape, strict=True)]

    def spread(each: Tensor) -> Tensor:
        for axis, block in enumerate(blocks):
            each = each.repeat_interleave(block, dim=axis)
        return each.float()

    values = data.float() if offset is None else data.float() - spread(offset)
    return values * spread(scale)


@op
def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, shape: Any = None, vector_axis: Any = None) -> Tensor:
    """Look weights up in a palette.

    iOS16: one palette for all; indices are packed bit by bit. iOS18: one for each group; indices have their own shape.
    """
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
