"""Are the constants of a converted file the model's? Each is held against torch's.

The converter lays constants out anew. It takes a scale that stands beside a product into its weight: of a norm, or a
number. What is added before a product it takes into the bias: a norm's bias, multiplied by the weight. It adds a bias
to a table of positions that stands beside it. So a constant has to be one of torch's in any order of its axes; or one
of these times a known vector along an axis and a known number; or one with a known vector added along an axis; or, for
a vector, what a layer makes of a known one, with its bias, times a known number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from torch import nn

from samclip_edge.bundle.contract import Arrays
from samclip_edge.export.precision.tflite import operators
from samclip_edge.export.targets.torch_constants import Constants, Floats, constants

_TYPES: dict[int, type[np.generic]] = {
    flatbuffer_utils.schema_fb.TensorType.FLOAT32: np.float32,
    flatbuffer_utils.schema_fb.TensorType.INT32: np.int32,
    flatbuffer_utils.schema_fb.TensorType.INT64: np.int64,
    flatbuffer_utils.schema_fb.TensorType.BOOL: np.bool_,
}
# Inputs that say how an operator works: axes, and the sides of what it gives.
_SHAPES = {
    *(("BROADCAST_TO", 1), ("CUMSUM", 1), ("MEAN", 1), ("PAD", 1), ("REDUCE_MAX", 1), ("RESHAPE", 1), ("SLICE", 1)),
    *(("SLICE", 2), ("SUM", 1), ("TRANSPOSE", 1), ("TRANSPOSE_CONV", 0)),
}
_BIASES = {("CONV_2D", 2), ("DEPTHWISE_CONV_2D", 2), ("FULLY_CONNECTED", 2)}
_NEGATED = ("SUB", 0)  # the 0 of 0 - x
_OFF = 1e-5  # of the largest value: how far rounding moves a constant that was computed
_CORNER = 16  # indices of an axis that tell most constants apart


class Stored(NamedTuple):
    """A constant of a file."""

    name: str
    values: Floats
    reader: tuple[str, int]  # an operator that reads it, and as which input


def strange_constants(path: Path, modules: Iterable[tuple[nn.Module, Arrays]]) -> list[str]:
    """The constants of a file, in float, that come of none of the modules that it was converted from.

    modules: each with inputs that it takes, by name.
    """
    known = _Known(constants(modules))
    zeros_last = sorted(stored(path), key=lambda each: not each.values.any())
    found = [each for each in zeros_last if not known.explains(each)]
    return [f"{each.name} {each.values.shape}, read by {each.reader[0]}" for each in found]


def stored(path: Path) -> Iterator[Stored]:
    """The constants of a file, but for those that say how an operator works."""
    model = flatbuffer_utils.read_model(str(path))
    seen: set[int] = set()
    for subgraph, operator, kind in operators(model):
        for place, index in enumerate(operator.inputs):
            tensor = subgraph.tensors[index]
            data = None if index < 0 else model.buffers[tensor.buffer].data
            if data is None or tensor.buffer in seen or (kind, place) in _SHAPES:
                continue
            seen.add(tensor.buffer)
            values = np.frombuffer(np.ascontiguousarray(data).tobytes(), _TYPES[tensor.type]).astype(np.float32)
            sides = () if tensor.shape is None else tuple(map(int, tensor.shape))
            yield Stored(tensor.name.decode(), values.reshape(sides), (kind, place))


class _Known:
    """Torch's constants, and what the converter may have made of them."""

    def __init__(self, of: Constants) -> None:
        self._numbers = np.array(sorted(of.numbers), np.float32)
        self._factors = np.array(sorted({1, *of.numbers} - {0}), np.float32)
        self._layers = of.layers
        self._by_count: dict[int, list[Floats]] = {}
        for each in of.tensors:
            self._by_count.setdefault(each.size, []).append(each)
        # How many values the biases have that are 0: of layers without one, and those that were added to tables.
        self._no_bias = {each.bias.size for each in of.layers if not each.bias.any()}

    def explains(self, constant: Stored) -> bool:
        """Whether a constant comes of torch's."""
        values = constant.values
        if values.size == 1:
            near = np.isclose(self._numbers, values.item(), rtol=_OFF, atol=0)
            return bool(near.any()) or (constant.reader == _NEGATED and values.item() == 0)
        sides = [side for side in values.shape if side > 1]
        plain, most = values.reshape(sides), _OFF * float(np.abs(values).max())
        known = [each for of in self._by_count.get(values.size, ()) for each in _layouts(of, sides)]
        if any(np.array_equal(plain, each) for each in known):
            return True
        if not most:
            return constant.reader in _BIASES and values.size in self._no_bias
        if len(sides) == 1:
            return self._is_vector(plain, most)
        return any(self._scaled(plain, each, most) or self._shifted(plain, each, most) for each in known)

    def _is_vector(self, values: Floats, most: float) -> bool:
        """Whether a vector is one of torch's, or what a layer makes of one of these, with its bias; times a factor."""
        layers = (each for each in self._layers if len(each.weight) == values.size)
        made = (self._vectors(weight.shape[1]) @ weight.T + bias for weight, bias in layers)
        ones = np.ones_like(values)
        return any(
            bool((np.abs(self._multiples(each, values, ones) - values).max(axis=1) <= most).any())
            for each in (self._vectors(values.size), *made)
        )

    def _scaled(self, values: Floats, of: Floats, most: float) -> bool:
        """Whether values are known ones, times a known vector along an axis, times a factor."""
        for axis in range(values.ndim):
            corner = tuple(slice(None if each == axis else _CORNER) for each in range(values.ndim))
            others = tuple(each for each in range(values.ndim) if each != axis)
            products = (values[corner] * of[corner]).sum(axis=others)
            squares = np.square(of[corner]).sum(axis=others)
            scales = self._multiples(self._vectors(values.shape[axis]), products, squares)
            nearest = scales[(np.square(scales) @ squares - 2 * scales @ products).argmin()]
            along = nearest.reshape([-1 if each == axis else 1 for each in range(values.ndim)])
            if all(np.abs(values[part] - (of * along)[part]).max() <= most for part in (corner, ...)):
                return True
        return False

    def _shifted(self, values: Floats, of: Floats, most: float) -> bool:
        """Whether values are known ones and a known vector along an axis, as of a bias, of which a 0 is left."""
        difference = values - of
        for axis in range(values.ndim):
            others = tuple(each for each in range(values.ndim) if each != axis)
            if np.ptp(difference, axis=others).max() <= most:
                off = np.abs(self._vectors(values.shape[axis]) - difference.mean(axis=others))
                if off.max(axis=1).min() <= most:
                    self._no_bias.add(values.shape[axis])
                    return True
        return False

    def _multiples(self, vectors: Floats, products: Floats, squares: Floats) -> Floats:
        """Vectors (K,N), each times the factor that brings it nearest to `products` over `squares`, which weigh it."""
        with np.errstate(invalid="ignore", divide="ignore"):
            best = np.nan_to_num((vectors @ products) / (np.square(vectors) @ squares))
        factors = self._factors[np.abs(self._factors - best[:, None]).argmin(axis=1)]
        return vectors * factors[:, None]

    def _vectors(self, count: int) -> Floats:
        """Torch's vectors of so many values, and one of ones: (K,N)."""
        return np.stack([np.ones(count, np.float32), *(each.ravel() for each in self._by_count.get(count, ()))])


def _layouts(of: Floats, sides: list[int]) -> Iterator[Floats]:
    """A tensor with its axes in every order in which it has the given sides, axes of 1 left out; and as it lies."""
    plain = of.squeeze()
    for order in permutations(range(plain.ndim)):
        if [plain.shape[axis] for axis in order] == sides:
            yield plain.transpose(order)
    yield of.reshape(sides)
