"""int8 for ONNX: static weights, dynamic activations.

A MatMul with a weight matrix becomes a MatMulInteger. In each call the activation is quantised to uint8 with one
scale, over the range that it has in that call (DynamicQuantizeLinear). The weight is quantised to int8 with one scale
for each output channel (column). ONNX Runtime runs the five nodes as one. Products of two activations, convolutions,
tables and Gemm nodes stay in float.

The weight is stored unsigned: its int8 value plus 128, with a zero point of 128. On x86-64 without VNNI, ONNX Runtime
multiplies uint8 by int8 in pairs whose sum saturates at 16 bits. Uint8 by uint8 is widened first, and is exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from torch import nn

from samclip_edge.bundle.contract import Arrays

ZERO = 128  # what an unsigned weight of 0 is stored as
Names = Mapping[bytes, str]  # the name of each layer, by the digest of its weight as a graph holds it
Rounding = Callable[[onnx.ModelProto, Names, Collection[str]], None]  # puts a graph's layers into int8, but those named


def layer_names(model: nn.Module) -> Names:
    """The names of a model's layers, by the digest of each weight matrix.

    Each matrix has two entries: as the parameter is stored, and transposed, as a MatMul takes it.
    """
    names: dict[bytes, str] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            values = parameter.detach().numpy()
            for each in (values, values.T):
                names.setdefault(digest(each.tobytes()), name.removesuffix(".weight").removesuffix("_weight"))
    return names


def layers(model: onnx.ModelProto, names: Names) -> dict[str, str]:
    """The layer of each MatMul whose weight is in `names`, by the node's name, in the order of the graph.

    Layers with equal weights count as one layer.
    """
    weights = {each.name: each for each in model.graph.initializer if len(each.dims) == 2}
    found: dict[str, str] = {}
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        name = None if weight is None else names.get(digest(weight.raw_data))
        if name is not None:
            found[node.name] = name
    return found


def quantize(model: onnx.ModelProto, names: Names, kept: Collection[str] = ()) -> None:
    """Put a graph's layers into int8, in place, but for those named in `kept`."""
    graph = model.graph
    chosen = {node for node, name in layers(model, names).items() if name not in kept}
    weights = {each.name: each for each in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    zero = "weight_zero"
    graph.initializer.append(numpy_helper.from_array(np.array(ZERO, np.uint8), zero))
    rounded: set[str] = set()  # tensors quantised already: several products may read one
    for node in graph.node:
        if node.name not in chosen:
            nodes.append(node)
            continue
        (x, w), (y,) = node.input, node.output
        if x not in rounded:
            rounded.add(x)
            nodes.append(helper.make_node("DynamicQuantizeLinear", [x], [f"{x}_uint8", f"{x}_scale", f"{x}_zero"]))
        if w not in rounded:
            rounded.add(w)
            values, scale = by_column(numpy_helper.to_array(weights[w]))
            graph.initializer.append(numpy_helper.from_array(unsigned(values), f"{w}_uint8"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{w}_scale"))
        nodes += [
            helper.make_node("MatMulInteger", [f"{x}_uint8", f"{w}_uint8", f"{x}_zero", zero], [f"{y}_int32"]),
            helper.make_node("Cast", [f"{y}_int32"], [f"{y}_float"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{x}_scale", f"{w}_scale"], [f"{y}_by"]),
            helper.make_node("Mul", [f"{y}_float", f"{y}_by"], [y]),
        ]
    graph.ClearField("node")
    graph.node.extend(nodes)
    drop_unread(graph)


def by_column(weight: np.ndarray, half: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Quantise a weight (I,O). Returns int8 (I,O), -127..127, and one scale for each output channel (column), (O,).

    The weight is about int8 * scale. half: round the scales to values that half precision holds exactly.
    """
    largest = np.abs(weight).max(axis=0)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    if half:
        scale = np.maximum(scale, 2.0**-14).astype(np.float16).astype(np.float32)
    return np.clip(np.round(weight / scale), -127, 127).astype(np.int8), scale


def unsigned(values: np.ndarray) -> np.ndarray:
    """int8 values as uint8 with the zero point `ZERO`: the same integers, 128 higher."""
    return (values.astype(np.int16) + ZERO).astype(np.uint8)


def drop_unread(graph: onnx.GraphProto) -> None:
    """Remove the constants (initializers) that no node reads any more."""
    read = {name for node in graph.node for name in node.input}
    left = [each for each in graph.initializer if each.name in read]
    graph.ClearField("initializer")
    graph.initializer.extend(left)


def run(model: onnx.ModelProto, asked: Iterable[Arrays]) -> Iterator[list[np.ndarray]]:
    """The outputs of a model in ONNX Runtime, for each of the inputs in `asked`."""
    session = quiet_session(model.SerializeToString())
    for inputs in asked:
        yield session.run(None, inputs)


def quiet_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """A graph in ONNX Runtime that frees memory at once (see `runtimes.onnxruntime`), and does not copy weights.

    QuantizeLinear and DequantizeLinear pairs run as the graph says, in float; they are not fused into integer products.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_reuse = options.enable_mem_pattern = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def digest(content: bytes) -> bytes:
    """By what weights are told apart."""
    return hashlib.sha256(content).digest()
