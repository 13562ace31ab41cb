"""Are the weights of a converted file the model's? Each is held against every tensor of the module in torch.

The converter lays weights out anew, and takes a scale that stands beside a product into its weight: of a norm, or of a
BatchNorm. It adds a bias to a table of positions that stands beside it. So a weight has to be a tensor of the module in
any order of its axes, or the first part of one, or one with a scale for each index of one axis or of two, or one with a
bias for each index of one axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.tools import flatbuffer_utils
from torch import nn

from samclip_edge.export.precision.tflite import SMALL

Floats = npt.NDArray[np.float32]
_OFF = 1e-5  # of the largest value: how far rounding moves a weight that was scaled
_CORNER = 16  # indices of each axis


def strange_weights(path: Path, modules: Iterable[nn.Module]) -> list[str]:
    """The weights of a file, in float, that come of no tensor of the modules that it was converted from.

    Vectors are not looked at, nor weights of fewer than `SMALL` values: biases are sums of many things.
    """
    known = [
        tensor.detach().float().numpy()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
        if tensor.numel() >= SMALL
    ]
    by_count: dict[int, list[Floats]] = {}
    for values in {id(each): each for each in known}.values():
        by_count.setdefault(values.size, []).append(values)
    model = flatbuffer_utils.read_model(str(path))
    found: list[str] = []
    seen: set[int] = set()
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or tensor.buffer in seen or tensor.type != flatbuffer_utils.schema_fb.TensorType.FLOAT32:
                continue
            seen.add(tensor.buffer)
            values = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.float32).reshape(tensor.shape)
            if values.size < SMALL or values.squeeze().ndim < 2 or np.ptp(values) == 0:
                continue
            if not any(_is(values, each) for each in by_count.get(values.size, ())) and not _is_part(values, known):
                found.append(f"{tensor.name.decode()} {tuple(map(int, tensor.shape))}")
    return found


def _is(values: Floats, of: Floats) -> bool:
    """Whether a weight is a tensor of as many values, laid out anew and maybe scaled or with a bias."""
    sides = [side for side in values.shape if side > 1]
    plain, most = values.reshape(sides), _OFF * float(np.abs(values).max())
    corner = (slice(_CORNER),) * len(sides)  # tells most tensors apart, which is dear for whole ones
    return any(_near(plain[corner], each[corner], most) and _near(plain, each, most) for each in _layouts(of, sides))


def _layouts(of: Floats, sides: list[int]) -> Iterator[Floats]:
    """A tensor with its axes in every order in which it has the given sides, axes of 1 left out; and as it lies."""
    plain = of.squeeze()
    for order in permutations(range(plain.ndim)):
        if [plain.shape[axis] for axis in order] == sides:
            yield plain.transpose(order)
    yield of.reshape(sides)


def _near(values: Floats, of: Floats, most: float) -> bool:
    """Whether no value differs by more than `most`, after the best scales or a bias."""
    return np.array_equal(values, of) or _scaled(values, of, most) or _shifted(values, of, most)


def _scaled(values: Floats, of: Floats, most: float) -> bool:
    for first in range(values.ndim):
        part = _with_scales(values, of, first)
        if np.abs(values - part).max() <= most:
            return True
        for second in range(values.ndim):
            if second != first and np.abs(values - _with_scales(values, part, second)).max() <= most:
                return True
    return False


def _shifted(values: Floats, of: Floats, most: float) -> bool:
    difference = values - of
    others = [tuple(each for each in range(values.ndim) if each != axis) for axis in range(values.ndim)]
    return any(bool(np.ptp(difference, axis=each).max() <= most) for each in others)


def _with_scales(values: Floats, of: Floats, axis: int) -> Floats:
    """`of`, with the scale for each index of an axis that brings it nearest to `values`."""
    others = tuple(each for each in range(values.ndim) if each != axis)
    squares = np.square(of, dtype=np.float64).sum(axis=others, keepdims=True)
    products = np.multiply(values, of, dtype=np.float64).sum(axis=others, keepdims=True)
    return (of * np.divide(products, squares, where=squares > 0, out=np.zeros_like(squares))).astype(np.float32)


def _is_part(values: Floats, known: list[Floats]) -> bool:
    """Whether a weight is the first part of a larger tensor: of positions, or of a causal mask."""
    plain = values.squeeze()
    for each in known:
        large_enough = each.ndim == plain.ndim and all(a >= b for a, b in zip(each.shape, plain.shape, strict=True))
        if large_enough and np.array_equal(each[tuple(map(slice, plain.shape))], plain):
            return True
    return False
