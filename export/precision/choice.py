"""Which layers of a graph stay in float.

A layer that alone moves an output by more than `HURTS` stays in float. Whether it does takes a run of the whole graph.
The image encoder's runs are long, so there only the likeliest layers are checked so: those with the largest errors of
their own, which one run in float tells of all layers at once. A last run tells how far the others together move the
outputs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from torch import nn

from samclip_edge.bundle.contract import Array, Arrays, GraphName
from samclip_edge.bundle.manifest import Moved
from samclip_edge.bundle.sizes import Size
from samclip_edge.export.precision.int8 import Names, Rounding, layer_names, layers, quantize, quiet_session
from samclip_edge.export.weights import WeightFile
from samclip_edge.progress import Progress, silent

HURTS = 0.01  # a layer stays in float if int8 in it alone changes an output by more than this share of its norm
SUSPECTS = 12  # so many layers of the image encoder are checked by a whole run each


class Switched:
    """A graph in float in which a run can switch layers to int8. Make it by `switched`."""

    def __init__(
        self, session: onnxruntime.InferenceSession, outputs: Sequence[str], products: Mapping[str, str]
    ) -> None:
        """outputs: the graph's own. products: the layer of each product, by the name of the product's output."""
        self.layers = list(dict.fromkeys(products.values()))
        self.outputs = list(outputs)
        self._session, self._products = session, products

    def run(self, inputs: Arrays, rounded: Collection[str] = ()) -> Arrays:
        """The outputs, with the layers named in `rounded` in int8."""
        return dict(
            zip(self.outputs, self._session.run(self.outputs, self._with_switches(inputs, rounded)), strict=True)
        )

    def measure(self, inputs: Arrays) -> tuple[Arrays, dict[str, float]]:
        """The outputs in float, and each layer's own error.

        That is the norm of the error of its product in int8, over the norm of the product in float.
        """
        own = [f"{y}_{what}" for y in self._products for what in ("moved", "norm")]
        found = self._session.run([*self.outputs, *own], self._with_switches(inputs, ()))
        outputs, squares = found[: len(self.outputs)], np.array(found[len(self.outputs) :]).reshape(-1, 2)
        errors = dict.fromkeys(self.layers, 0.0)
        for layer, (moved, norm) in zip(self._products.values(), squares, strict=True):
            errors[layer] = max(errors[layer], float(np.sqrt(moved / norm)) if norm else 0.0)
        return dict(zip(self.outputs, outputs, strict=True)), errors

    def _with_switches(self, inputs: Arrays, rounded: Collection[str]) -> Arrays:
        return inputs | {_switch(layer): np.array(layer in rounded) for layer in self.layers}


@contextmanager
def switched(model: onnx.ModelProto, names: Names, rounding: Rounding = quantize) -> Iterator[Switched]:
    """A graph whose layers can be switched to int8. rounding: what puts layers into int8. The model stays as it is.

    The weights lie in a temporary file while it is used, so that they are in memory once.
    """
    products = {node.output[0]: layer for node, layer in _products(model, names)}
    outputs = [each.name for each in model.graph.output]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        both = onnx.ModelProto()
        both.CopyFrom(model)
        _add_switches(both, products)
        rounding(both, names, ())
        WeightFile(path.with_name("weights")).take(both)
        onnx.save_model(both, path)
        del both
        yield Switched(quiet_session(path), outputs, products)


def _products(model: onnx.ModelProto, names: Names) -> list[tuple[onnx.NodeProto, str]]:
    found = layers(model, names)
    return [(node, found[node.name]) for node in model.graph.node if node.name in found]


def _switch(layer: str) -> str:
    return f"{layer}_in_int8"


def _add_switches(model: onnx.ModelProto, products: Mapping[str, str]) -> None:
    """Beside each product of a layer put a second one, to be rounded, a switch between the two, and their distance.

    The first product reads its weight through an Identity, so that it is taken for no layer and stays in float. The
    switch waits for the distance: else ONNX Runtime leaves that for last, and holds both products of every layer.
    """
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    read: set[str] = set()
    for node in graph.node:
        y = node.output[0] if node.output else ""
        if y not in products:
            nodes.append(node)
            continue
        x, w = node.input
        if w not in read:
            read.add(w)
            nodes.append(helper.make_node("Identity", [w], [f"{w}_in_float"]))
        nodes += [
            helper.make_node("MatMul", [x, f"{w}_in_float"], [f"{y}_in_float"]),
            helper.make_node("MatMul", [x, w], [f"{y}_in_int8"], name=node.name),
            helper.make_node("Sub", [f"{y}_in_int8", f"{y}_in_float"], [f"{y}_difference"]),
            helper.make_node("ReduceSumSquare", [f"{y}_difference"], [f"{y}_moved"], keepdims=0),
            helper.make_node("ReduceSumSquare", [f"{y}_in_float"], [f"{y}_norm"], keepdims=0),
            helper.make_node("GreaterOrEqual", [f"{y}_moved", f"{y}_norm"], [f"{y}_far"]),
            helper.make_node("Or", [f"{y}_far", _switch(products[y])], [f"{y}_any"]),
            helper.make_node("And", [f"{y}_any", _switch(products[y])], [f"{y}_on"]),  # the switch as it was
            helper.make_node("Where", [f"{y}_on", f"{y}_in_int8", f"{y}_in_float"], [y]),
        ]
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copied)
    graph.ClearField("value_info")
    for layer in dict.fromkeys(products.values()):
        graph.input.append(helper.make_tensor_value_info(_switch(layer), TensorProto.BOOL, []))
    for y in products:
        for what in ("moved", "norm"):
            graph.output.append(helper.make_tensor_value_info(f"{y}_{what}", TensorProto.FLOAT, []))


def moved(wanted: Array, got: Array) -> Moved:
    """How far an output moved: the norm of the difference over the norm of the output, and the cosine of the two."""
    a, b = wanted.ravel().astype(np.float64), got.ravel().astype(np.float64)
    norm, other = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    error = float(np.linalg.norm(a - b))
    return Moved(error=error / norm if norm else float(error > 0), cosine=float(a @ b) / (norm * other or 1.0))


class Choice(NamedTuple):
    """What was done to the layers of a graph."""

    in_float: tuple[str, ...] = ()  # the layers that stay in float
    moved: Mapping[str, Moved] = {}  # how far the others, in int8 together, move each output: the worst of all inputs


def choose(graph: Switched, asked: Sequence[Arrays], most: int | None = None, progress: Progress = silent) -> Choice:
    """Choose the layers that stay in float, and measure the others on the inputs in `asked`.

    most: check so many layers at most, those with the largest errors of their own, and each on one input, the one on
    which its own error is largest. That takes two runs for each input, and `most` more. None: check every layer on
    every input.
    """
    wanted: list[Arrays] = []
    own: list[dict[str, float]] = []
    for inputs in progress(asked, "measuring layers"):
        outputs, errors = graph.measure(inputs)
        wanted.append(outputs)
        own.append(errors)
    every = range(len(asked))
    worst = {layer: max(every, key=lambda case: own[case][layer]) for layer in graph.layers}
    checked = dict.fromkeys(graph.layers, every)
    if most is not None:
        suspects = sorted(graph.layers, key=lambda layer: own[worst[layer]][layer], reverse=True)[:most]
        checked = {layer: range(worst[layer], worst[layer] + 1) for layer in suspects}

    def moves(rounded: Collection[str], cases: Iterable[int]) -> dict[str, Moved]:
        found: dict[str, Moved] = {}
        for case in cases:
            for name, values in graph.run(asked[case], rounded).items():
                now, before = moved(wanted[case][name], values), found.get(name, Moved(error=0.0, cosine=1.0))
                found[name] = Moved(error=max(now.error, before.error), cosine=min(now.cosine, before.cosine))
        return found

    in_float = tuple(
        layer
        for layer in progress([layer for layer in graph.layers if layer in checked], "checking layers")
        if max(each.error for each in moves([layer], checked[layer]).values()) > HURTS
    )
    rounded = [layer for layer in graph.layers if layer not in in_float]
    return Choice(in_float, moves(rounded, progress(every, "measuring int8")))


Seen = Callable[[GraphName, Size | None], Sequence[Arrays]]  # the inputs that a graph is measured on, by name and size


class Int8:
    """Puts graphs into int8, each as it is measured at its own size."""

    def __init__(self, model: nn.Module, seen: Seen, progress: Progress) -> None:
        """model: whose layers are put into int8."""
        self._names, self._seen, self._progress = layer_names(model), seen, progress

    def apply(self, name: GraphName, size: Size | None, model: onnx.ModelProto) -> Choice:
        """Change a graph in place. Returns what was done to its layers."""
        if not layers(model, self._names):
            return Choice()
        asked = self._seen(name, size)
        rounding = self.rounding(model, asked)
        with switched(model, self._names, rounding) as graph:
            choice = choose(graph, asked, SUSPECTS if name == "image_encoder" else None, self._progress)
        rounding(model, self._names, choice.in_float)
        return choice

    def rounding(self, model: onnx.ModelProto, asked: Sequence[Arrays]) -> Rounding:
        """The function that puts the layers of a graph into int8. asked: the inputs that it is measured on."""
        return quantize
