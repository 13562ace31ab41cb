"""Cases of ops that move values about: reshape, transpose, split, slice, gather, pad."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mil_cases.case import Case, Random, floats, mb, sides


def reshape(random: Random) -> Case:
    a, b, c = sides(random, 3)
    return [floats(random, a, b, c)], lambda x: mb.reshape(x=x, shape=[0, -1]), lambda x: x.flatten(1)


def transpose(random: Random) -> Case:
    perm = random.permutation(4).tolist()
    return [floats(random, *sides(random, 4))], lambda x: mb.transpose(x=x, perm=perm), lambda x: x.permute(perm)


def tile(random: Random) -> Case:
    reps = sides(random, 3)
    return [floats(random, *sides(random, 3))], lambda x: mb.tile(x=x, reps=reps), lambda x: torch.tile(x, reps)


def squeeze(random: Random) -> Case:
    a, b = sides(random, 2)
    return [floats(random, a, 1, b, 1)], lambda x: mb.squeeze(x=x, axes=[1]), lambda x: x.squeeze(1)


def expand_dims(random: Random) -> Case:
    a, b = sides(random, 2)
    return [floats(random, a, b)], lambda x: mb.expand_dims(x=x, axes=[1, -1]), lambda x: x[:, None, :, None]


def concat(random: Random) -> Case:
    axis, shape = int(random.randint(3)), sides(random, 3)
    arrays = [
        floats(random, *(side if place != axis else count for place, side in enumerate(shape))) for count in (1, 3)
    ]
    return arrays, lambda x, y: mb.concat(values=[x, y], axis=axis), lambda x, y: torch.cat([x, y], axis)


def split(random: Random) -> Case:
    a, b = (int(side) for side in random.randint(1, 5, 2))
    return (
        [floats(random, 2, a + b)],
        lambda x: mb.split(x=x, split_sizes=[a, b], axis=1)[1],
        lambda x: x[:, a:],
    )


def slice_by_index(random: Random) -> Case:
    first, step = int(random.randint(0, 3)), int(random.randint(1, 3))
    return (
        [floats(random, 4, 9, 5)],
        lambda x: mb.slice_by_index(
            x=x,
            begin=[1, first, 0],
            end=[0, 8, 0],
            stride=[1, step, 1],
            end_mask=[False, False, True],
            squeeze_mask=[True, False, False],
        ),
        lambda x: x[1, first:8:step],
    )


def gather(random: Random) -> Case:
    table, picked = floats(random, 11, 4), random.randint(0, 11, (2, 5)).astype(np.int32)
    return [picked], lambda i: mb.gather(x=table, indices=i, axis=0), lambda i: torch.from_numpy(table)[i.long()]


def pad(random: Random) -> Case:
    top, bottom, left, right = random.randint(0, 4, 4).tolist()
    pairs = [0, 0, 0, 0, top, bottom, left, right]
    return (
        [floats(random, 1, 2, 3, 4)],
        lambda x: mb.pad(x=x, pad=pairs, mode="constant", constant_val=np.float32(0.5)),
        lambda x: torch.nn.ConstantPad2d((left, right, top, bottom), 0.5)(x),
    )


def pixel_shuffle(random: Random) -> Case:
    factor, (rows, columns, channels) = int(random.randint(1, 4)), sides(random, 3)

    def reference(x: torch.Tensor) -> torch.Tensor:
        parts = x.reshape(1, channels, factor, factor, rows, columns).permute(0, 1, 4, 2, 5, 3)
        return parts.reshape(1, channels, rows * factor, columns * factor)

    x = floats(random, 1, channels * factor**2, rows, columns)
    return [x], lambda x: mb.pixel_shuffle(x=x, upscale_factor=factor), reference


CASES: dict[str, Callable[[Random], Case]] = {
    "reshape": reshape,
    "transpose": transpose,
    "tile": tile,
    "squeeze": squeeze,
    "expand_dims": expand_dims,
    "concat": concat,
    "split": split,
    "slice_by_index": slice_by_index,
    "gather": gather,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
}
