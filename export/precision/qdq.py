"""int8 as TensorRT and QNN take it: explicit pairs of QuantizeLinear and DequantizeLinear with calibrated scales.

The activation that goes into a product with a weight matrix is quantised to int8 with a per-tensor scale, which
calibration chooses. The weight is quantised with one scale for each output channel (column). Both are symmetric: the
zero point is 0. The engine turns the pairs and the product into an integer product. Any engine that runs the ONNX
computes the same numbers, because the rounding is written in the graph.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from samclip_edge.bundle.contract import Arrays
from samclip_edge.export.precision.choice import Int8
from samclip_edge.export.precision.int8 import Names, Rounding, by_column, drop_unread, layers, run

_LEAST = 2.0**-14  # the smallest scale that half precision holds without losing digits
_CLIPS = np.linspace(0.2, 1, 33)  # calibration tries these shares of the largest value as the end of the range
_SEEN = 1 << 18  # about how many values of a tensor calibration looks at


class StaticInt8(Int8):
    """Puts graphs into int8 with scales that are calibrated on the inputs on which the layers are measured."""

    def rounding(self, model: onnx.ModelProto, asked: Sequence[Arrays]) -> Rounding:
        """See `Int8.rounding`."""
        scales = calibrate(model, self._names, asked)
        return lambda graph, names, kept: insert_pairs(graph, names, scales, kept)


def calibrate(model: onnx.ModelProto, names: Names, asked: Sequence[Arrays]) -> dict[str, float]:
    """The per-tensor scale of the activation that goes into each layer, by the layer's name.

    Of the ranges that are tried, the one with the least mean squared rounding error over all inputs in `asked` is
    taken. Layers that read one tensor share its scale.
    """
    reading = layers(model, names)
    inputs = {node.name: node.input[0] for node in model.graph.node if node.name in reading}
    every = list(dict.fromkeys(inputs.values()))
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.ClearField("output")
    for each in every:
        _watch(watched.graph, each, _SEEN // len(asked))
    seen: dict[str, list[np.ndarray]] = {each: [] for each in every}
    largest = dict.fromkeys(every, 0.0)
    for outputs in run(watched, asked):
        for each, part, most in zip(every, outputs[::2], outputs[1::2], strict=True):
            seen[each].append(part)
            largest[each] = max(largest[each], float(most))
    best = {each: _best_scale(np.concatenate(parts), largest[each]) for each, parts in seen.items()}
    scales: dict[str, float] = {}
    for node, layer in reading.items():  # equal weights are one layer: it takes the largest scale of its inputs
        scales[layer] = max(scales.get(layer, 0.0), best[inputs[node]])
    return scales


def _watch(graph: onnx.GraphProto, x: str, count: int) -> None:
    """Make outputs of about `count` evenly spaced values of a tensor, and of its largest magnitude.

    All values would not fit: those of one photo of 1024 pixels are 1 GB in `vit_b`.
    """
    constants = {"flat": [-1], "count": [count], "one": [1], "zero": [0], "end": [2**62]}
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{x}_watch_{name}"))
    part = {
        name: f"{x}_watch_{name}" for name in (*constants, "values", "size", "share", "step", "seen", "sizes", "max")
    }
    steps: list[tuple[str, list[str], str]] = [
        ("Reshape", [x, part["flat"]], part["values"]),
        ("Shape", [part["values"]], part["size"]),
        ("Div", [part["size"], part["count"]], part["share"]),
        ("Max", [part["share"], part["one"]], part["step"]),
        ("Slice", [part["values"], part["zero"], part["end"], part["zero"], part["step"]], part["seen"]),
        ("Abs", [part["values"]], part["sizes"]),
    ]
    graph.node.extend(helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps)
    graph.node.append(helper.make_node("ReduceMax", [part["sizes"]], [part["max"]], keepdims=0))
    for name in ("seen", "max"):
        graph.output.append(helper.make_tensor_value_info(part[name], TensorProto.FLOAT, None))


def _best_scale(values: np.ndarray, largest: float) -> float:
    scales = [max(float(np.float16(largest * clip / 127)), _LEAST) for clip in _CLIPS]
    errors = [float(np.square(values - s * np.clip(np.round(values / s), -127, 127)).mean()) for s in scales]
    return scales[int(np.argmin(errors))]


def insert_pairs(model: onnx.ModelProto, names: Names, scales: Mapping[str, float], kept: Collection[str] = ()) -> None:
    """Put a graph's layers into int8, in place, but for those named in `kept`."""
    graph = model.graph
    chosen = {node: layer for node, layer in layers(model, names).items() if layer not in kept}
    weights = {each.name: each for each in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    made: set[str] = set()

    def constant(name: str, values: np.ndarray) -> str:
        if name not in made:
            made.add(name)
            graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    zero = "int8_zero"
    for node in graph.node:
        layer = chosen.get(node.name)
        if layer is not None:
            constant(zero, np.array(0, np.int8))
            x, w = node.input
            scale = constant(f"{layer}.scale", np.array(scales[layer], np.float32))
            rounded = f"{x}_by_{layer}"
            if rounded not in made:
                made.add(rounded)
                nodes.append(helper.make_node("QuantizeLinear", [x, scale, zero], [f"{rounded}_int8"]))
                nodes.append(helper.make_node("DequantizeLinear", [f"{rounded}_int8", scale, zero], [rounded]))
            if f"{w}_rounded" not in made:
                made.add(f"{w}_rounded")
                values, columns = by_column(numpy_helper.to_array(weights[w]), half=True)
                parts = [constant(f"{w}_int8", values), constant(f"{w}_scale", columns)]
                nodes.append(helper.make_node("DequantizeLinear", parts, [f"{w}_rounded"], axis=1))
            node.input[0], node.input[1] = rounded, f"{w}_rounded"
        nodes.append(node)
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copied)
    drop_unread(graph)
