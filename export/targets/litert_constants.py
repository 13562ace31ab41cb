"""Are the constants of a converted file the model's? Each is held against torch's, and each of torch's is looked for.

The converter lays constants out anew, and moves them into others that stand beside them:

- a norm's scale goes into a weight; a number, as that of attention, goes into a weight and into its bias;
- a norm's bias goes into the bias of the layer after it: multiplied by the weight, and added;
- a layer's bias goes into a table of positions that is added to what the layer gives, and leaves zeros.

So a constant of the file is one of torch's as it is, or one that another has moved into in one of these ways. And every
constant that torch reads has to be found so, as it is or moved; else it is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from torch import nn

from samclip_edge.bundle.contract import Arrays
from samclip_edge.export.precision.tflite import operators
from samclip_edge.export.targets.torch_constants import Constants, Floats, Use

_Types = flatbuffer_utils.schema_fb.TensorType
_TYPES: dict[int, type[np.generic]] = {
    **{_Types.FLOAT32: np.float32, _Types.FLOAT16: np.float16, _Types.FLOAT64: np.float64, _Types.BOOL: np.bool_},
    **{_Types.INT8: np.int8, _Types.INT16: np.int16, _Types.INT32: np.int32, _Types.INT64: np.int64},
}
# Inputs that say how an operator works: axes, and the sides of what it gives.
_SHAPES = {
    *((name, 1) for name in ("ARG_MAX", "BROADCAST_TO", "CUMSUM", "MEAN", "PAD", "PADV2", "REDUCE_MAX", "RESHAPE")),
    *((name, 1) for name in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SUM", "TRANSPOSE")),
    *(("SLICE", 1), ("SLICE", 2), *(("STRIDED_SLICE", place) for place in (1, 2, 3)), ("TRANSPOSE_CONV", 0)),
}
_USES: dict[str, Use] = {  # by the operators that read a number
    **dict.fromkeys(("MUL", "DIV"), "times"),
    **dict.fromkeys(("ADD", "SUB"), "plus"),
    **dict.fromkeys(("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"), "compared"),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), "bound"),
    **{"POW": "power"},
}
_BIASES = {("CONV_2D", 2), ("DEPTHWISE_CONV_2D", 2), ("FULLY_CONNECTED", 2)}
_OFF = 1e-5  # of the largest value that torch has: how far rounding moves a constant that something moved into
_CORNER = 16  # indices of an axis that tell most constants apart


class Stored(NamedTuple):
    """A constant of a file."""

    name: str
    values: Floats
    reader: tuple[str, int]  # an operator that reads it, and as which input; "" for an output of the graph

    def told(self) -> str:
        """What it is, in words: LiteRT's names begin with all the modules that it is within."""
        what = f"{self.values.item():g}" if self.values.size == 1 else f"{self.values.shape}"
        return f"{self.name.rpartition('/')[2]} {what}, read by {self.reader[0] or 'nothing'}"


def strange_constants(path: Path, modules: Iterable[tuple[nn.Module, Arrays]]) -> list[str]:
    """The constants of a file, in float, that are not of the modules that it was converted from, and the lost ones.

    modules: each with inputs that it takes, by name.
    """
    known = _Known(Constants(modules))
    told = [each.told() for each in stored(path) if not known.explains(each)]
    return [*told, *(f"a constant {shape} that is not there" for shape in known.lost())]


def stored(path: Path) -> Iterator[Stored]:
    """The constants of a file, but for those that say how an operator works."""
    model = flatbuffer_utils.read_model(str(path))
    readers: dict[int, tuple[str, int]] = {}  # by the constant's buffer
    for subgraph, operator, kind in operators(model):
        for place, index in enumerate(operator.inputs):
            buffer = subgraph.tensors[index].buffer
            if index >= 0 and readers.get(buffer, ("", 0)) in {("", 0), *_SHAPES}:
                readers[buffer] = (kind, place)
    seen: set[int] = set()
    for tensor in (each for subgraph in model.subgraphs for each in subgraph.tensors):
        data, reader = model.buffers[tensor.buffer].data, readers.get(tensor.buffer, ("", 0))
        if data is None or tensor.buffer in seen or reader in _SHAPES:
            continue
        seen.add(tensor.buffer)
        values = np.frombuffer(np.ascontiguousarray(data).tobytes(), _TYPES[tensor.type]).astype(np.float32)
        sides = () if tensor.shape is None else tuple(map(int, tensor.shape))
        yield Stored(tensor.name.decode(), values.reshape(sides), reader)


class _Known:
    """Torch's constants, and what may have moved into them."""

    def __init__(self, of: Constants) -> None:
        self._of, self._found = of, set[int]()
        self._weights = {layer.weight for layer in of.layers}
        self._factors = np.array(sorted({1, *of.numbers["times"]} - {0}), np.float32)
        self._by_count: dict[int, list[int]] = defaultdict(list)
        for place, values in enumerate(of.tensors):
            self._by_count[values.size].append(place)

    def lost(self) -> list[tuple[int, ...]]:
        """The shapes of the constants that are read and were not found, nor moved. Uniform ones may be numbers now."""
        lost = (self._of.tensors[place] for place in sorted(self._of.read - self._found))
        return [each.shape for each in lost if not _near(np.broadcast_to(each.flat[0], each.shape), each)]

    def explains(self, constant: Stored) -> bool:
        """Whether a constant comes of torch's."""
        values = constant.values
        if values.size == 1:
            return self._is_number(float(values.item()), _USES.get(constant.reader[0], "any"))
        sides = [side for side in values.shape if side > 1]
        plain = values.reshape(sides)
        known = [(place, each) for place in self._by_count[values.size] for each in self._layouts(place, sides)]
        same = {place for place, each in known if np.array_equal(plain, each)}
        self._found |= same
        if same:
            return True
        if len(sides) == 1:  # zeros: where a layer has no bias, or it has moved
            return constant.reader in _BIASES and (not plain.any() or self._is_bias(plain))
        return any(
            self._scaled(plain, place, each) or (constant.reader[0] == "ADD" and self._shifted(plain, place, each))
            for place, each in known
        )

    def _is_number(self, value: float, use: Use) -> bool:
        numbers = self._of.numbers
        return bool(np.isclose([*numbers[use], *numbers["any"]], value, rtol=_OFF, atol=0).any())

    def _layouts(self, place: int, sides: list[int]) -> Iterator[Floats]:
        """A tensor as a file may have it, without axes of 1: a layer's weight as LiteRT does, others in any order."""
        values = self._of.tensors[place]
        orders: Iterable[tuple[int, ...]] = permutations(range(values.ndim))
        if place in self._of.transposed:  # (I,O,H,W) to (O,H,W,I)
            orders = [(1, 2, 3, 0)]
        elif place in self._weights:  # (O,I); (O,H,W,I), of a depthwise convolution (1,H,W,C)
            orders = [(0, 1) if values.ndim == 2 else (1, 2, 3, 0) if values.shape[1] == 1 else (0, 2, 3, 1)]
        for order in orders:
            if [side for side in (values.shape[axis] for axis in order) if side > 1] == sides:
                yield values.transpose(order).reshape(sides)

    def _is_bias(self, values: Floats) -> bool:
        """Whether values are what a layer adds, times a number: see `_added`."""
        near = [
            of
            for made, of in self._added(values.size)
            if _near(values, self._multiples(made[None], values, np.ones_like(values))[0])
        ]
        self._found.update(*near)  # of two that are as near, either may be the one
        return bool(near)

    def _added(self, count: int) -> Iterator[tuple[Floats, set[int]]]:
        """What layers of so many channels may add, and of what: the bias, with what the weight makes of a norm's before
        the layer, or of a BatchNorm's after it."""
        for place in self._vectors(self._of.norm_biases, count):
            yield self._of.tensors[place].ravel(), {place}
        for layer in self._of.layers:
            weight, own = self._of.tensors[layer.weight], set() if layer.bias is None else {layer.bias}
            if len(weight) == count:
                bias = np.zeros(count, np.float32) if layer.bias is None else self._of.tensors[layer.bias]
                yield bias, own
                matrix = weight.reshape(*weight.shape[:2], -1).sum(axis=2)
                for place in self._vectors(self._of.norm_biases, matrix.shape[1]):
                    yield bias + matrix @ self._of.tensors[place].ravel(), {*own, place}

    def _scaled(self, values: Floats, place: int, of: Floats) -> bool:
        """Whether values are torch's, times a known scale for each index of an axis, times a number."""
        for axis in range(values.ndim):
            others = tuple(each for each in range(values.ndim) if each != axis)
            part: tuple[Any, ...] = tuple(slice(None if each == axis else _CORNER) for each in range(values.ndim))
            part = part if np.abs(of[part]).max(axis=others).all() else (...,)
            products, squares = (values[part] * of[part]).sum(axis=others), np.square(of[part]).sum(axis=others)
            places = [None, *self._vectors(self._of.scales, values.shape[axis])]
            known = [np.ones_like(squares) if each is None else self._of.tensors[each].ravel() for each in places]
            scales = self._multiples(np.stack(known), products, squares)
            wanted = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)
            nearest = scales[(np.square(scales - wanted) @ squares).argmin()]
            along = nearest.reshape([-1 if each == axis else 1 for each in range(values.ndim)])
            if all(_near(values[each], (of * along)[each]) for each in (part, ...)):
                as_near = [
                    at for at, each in zip(places, scales, strict=True) if at is not None and _near(each, nearest)
                ]
                self._found.update([place, *as_near])
                return True
        return False

    def _shifted(self, values: Floats, place: int, of: Floats) -> bool:
        """Whether values are torch's, and a layer's bias for each index of an axis."""
        biases = {layer.bias for layer in self._of.layers if layer.bias is not None}
        for axis, side in enumerate(values.shape):
            for bias in self._vectors(biases, side):
                along = self._of.tensors[bias].reshape([-1 if each == axis else 1 for each in range(values.ndim)])
                if _near(values, of + along):
                    self._found |= {place, bias}
                    return True
        return False

    def _multiples(self, vectors: Floats, products: Floats, squares: Floats) -> Floats:
        """Vectors (K,N), each times the number that brings it nearest to `products` over `squares`, which weigh it."""
        with np.errstate(invalid="ignore", divide="ignore"):
            best = np.nan_to_num((vectors @ products) / (np.square(vectors) @ squares))
        return vectors * self._factors[np.abs(self._factors - best[:, None]).argmin(axis=1)][:, None]

    def _vectors(self, places: Iterable[int], count: int) -> list[int]:
        """Those of some places that have so many values."""
        return [place for place in places if self._of.tensors[place].size == count]


def _near(values: Floats, wanted: Floats) -> bool:
    return bool(np.abs(values - wanted).max() <= _OFF * np.abs(wanted).max())
