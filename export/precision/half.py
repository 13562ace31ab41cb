"""Half precision for ONNX: a graph that stores its weights in half, or one that also computes in half.

`halve_weights` is for engines that compute in float32 (a CPU). `halve_types` is for TensorRT, which takes strongly
typed graphs: the type of every tensor is written in the graph, and the builder chooses none.

In `halve_types` the inputs and outputs of the graph stay float32. So does what half cannot hold: the pixels before they
are normalised, the mean and variance of LayerNorm, the sum of exponentials in a softmax, and the sum of squares of an
L2 norm. Attention scores can be half: the queries are scaled before the product, so the scores stay far below 65504,
the largest number in half.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from samclip_edge.export.precision.int8 import drop_unread
from samclip_edge.export.weights import SMALL, Place, point_to

Kind = Literal["float", "half"]
_TYPE = {"float": TensorProto.FLOAT, "half": TensorProto.FLOAT16}
# Ops that stay float32. Sub and Div normalise the pixels; ReduceL2, Clip, Expand and Div make up an L2 norm.
_WIDE = {"LayerNormalization", "Softmax", "ReduceL2", "Clip", "Expand", "Sub", "Div"}


# What reads the weights that int8 does not multiply: convolutions, and tables.
BESIDE_INT8 = ("Conv", "ConvTranspose", "Gather")


def halve_weights(
    model: onnx.ModelProto, stored: Mapping[bytes, Place], readers: Collection[str] | None = None
) -> None:
    """Store a graph's big weights in half precision, in place. They are cast to float32 when the graph is loaded.

    The graph still computes in float32. stored: the tensors of a checkpoint beside the graph (`weights.places`); a
    weight that is among them is read from there and not stored again. readers: the ops whose weights are stored so;
    None: all.
    """
    casts = []
    read = {name for node in model.graph.node for name in node.input if readers is None or node.op_type in readers}
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.raw_data) < SMALL or tensor.name not in read:
            continue
        content = np.frombuffer(tensor.raw_data, np.float32).astype(np.float16).tobytes()
        name, half = tensor.name, f"{tensor.name}_half"
        tensor.name, tensor.data_type, tensor.raw_data = half, onnx.TensorProto.FLOAT16, content
        place = stored.get(content)
        turned = place is not None and place.transposed
        if turned and len(tensor.dims) != 2:  # heads of a matrix, which a transpose alone does not make of it
            place, turned = None, False
        if place is not None:
            if turned:
                tensor.ClearField("dims")
                tensor.dims.extend(place.shape)
            point_to(tensor, place.file, place.offset, place.length)
        casts.append(onnx.helper.make_node("Cast", [half], [f"{name}_cast" if turned else name], to=1))
        if turned:
            casts.append(onnx.helper.make_node("Transpose", [f"{name}_cast"], [name], perm=[1, 0]))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)


def halve_types(model: onnx.ModelProto) -> None:
    """Put a float32 graph into half precision, in place, with casts wherever half and float32 meet."""
    _Pass(model).run()


class _Pass:
    """One pass over a graph: it copies the nodes one by one, and puts the casts that a node needs before it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._nodes: list[onnx.NodeProto] = []
        self._values = {each.name: each for each in self._graph.initializer}
        self._kinds: dict[str, Kind] = {  # of float tensors only
            each.name: "float"
            for each in (*self._graph.input, *self._graph.initializer)
            if (each.data_type if isinstance(each, TensorProto) else each.type.tensor_type.elem_type) == 1
        }
        self._floats = {
            each.name
            for each in (*self._graph.value_info, *self._graph.output)
            if each.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self._cast: dict[tuple[str, Kind], str] = {}

    def run(self) -> None:
        """Rewrite the graph."""
        for node in list(self._graph.node):
            self._take(node)
        for output in self._graph.output:
            if self._kinds.get(output.name) == "half":
                half = f"{output.name}_half"
                for node in self._nodes:
                    _rename(node.input, output.name, half)
                    _rename(node.output, output.name, half)
                self._nodes.append(helper.make_node("Cast", [half], [output.name], to=TensorProto.FLOAT))
        self._graph.ClearField("node")
        self._graph.node.extend(self._nodes)
        self._graph.ClearField("value_info")  # it still gives the old types
        drop_unread(self._graph)

    def _take(self, node: onnx.NodeProto) -> None:
        kind: Kind = "float" if node.op_type in _WIDE else "half"
        for index, name in enumerate(node.input):
            if name in self._kinds:
                node.input[index] = self._as(name, kind)
        if node.op_type == "Cast":
            (to,) = (each for each in node.attribute if each.name == "to")
            if to.i == TensorProto.FLOAT:
                to.i = _TYPE[kind]
        self._nodes.append(node)
        for name in node.output:
            if name in self._floats or node.op_type == "DequantizeLinear":
                self._kinds[name] = kind

    def _as(self, name: str, kind: Kind) -> str:
        """The name of a tensor in a precision. If it has the other one, a constant is copied, anything else is cast."""
        if self._kinds[name] == kind:
            return name
        if (name, kind) not in self._cast:
            made = self._cast[name, kind] = f"{name}_as_{kind}"
            if name in self._values:
                values = numpy_helper.to_array(self._values[name]).astype(helper.tensor_dtype_to_np_dtype(_TYPE[kind]))
                self._graph.initializer.append(numpy_helper.from_array(values, made))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [made], to=_TYPE[kind]))
        return self._cast[name, kind]


def _rename(names: object, old: str, new: str) -> None:
    for index, name in enumerate(names):  # type: ignore[arg-type, var-annotated]
        if name == old:
            names[index] = new  # type: ignore[index]
