"""Cases of ops that unfold compressed weights: scales by channel or by block, and palettes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mil_cases.case import Case, Random, floats, mb, types


def channels(random: Random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    out, inside = (int(side) for side in random.randint(2, 6, 2))
    data = random.randint(-128, 128, (out, inside, 1, 1)).astype(np.int8)
    return data, np.abs(floats(random, out)) + 0.1, random.randint(-9, 9, out).astype(np.int8)


def affine(random: Random) -> Case:
    data, scale, zero = channels(random)
    wanted = (data.astype(np.float32) - zero[:, None, None, None]) * scale[:, None, None, None]
    return (
        [floats(random, 1, *wanted.shape[1:])],
        lambda x: mb.add(
            x=x, y=mb.constexpr_affine_dequantize(quantized_data=data, zero_point=zero, scale=scale, axis=np.int32(0))
        ),
        lambda x: x + torch.from_numpy(wanted),
    )


def blockwise(random: Random) -> Case:
    data, scale, _ = channels(random)
    scale = scale.reshape(-1, 1, 1, 1)
    wanted = data.astype(np.float32) * scale
    return (
        [floats(random, 1, *wanted.shape[1:])],
        lambda x: mb.add(x=x, y=mb.constexpr_blockwise_shift_scale(data=data, scale=scale)),
        lambda x: x + torch.from_numpy(wanted),
    )


def palette(random: Random) -> Case:
    groups, size = 2, 64
    indices = random.randint(0, size, (4, 3)).astype(types.np_uint6_dtype)
    lut = floats(random, groups, 1, size, 1)
    wanted = np.stack([lut[row // 2, 0, indices[row].astype(int), 0] for row in range(4)])
    return (
        [floats(random, 4, 3)],
        lambda x: mb.add(x=x, y=mb.constexpr_lut_to_dense(indices=indices, lut=lut)),
        lambda x: x + torch.from_numpy(wanted),
    )


CASES: dict[str, Callable[[Random], Case]] = {
    "constexpr_affine_dequantize": affine,
    "constexpr_blockwise_shift_scale": blockwise,
    "constexpr_lut_to_dense": palette,
}
