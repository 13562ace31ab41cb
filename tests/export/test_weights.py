"""The weights that graphs share: what is stored once, and that a builder of engines can read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support import GPUS

from samclip_edge.export.options import TensorRTOptions
from samclip_edge.export.targets.tensorrt_builders import choose
from samclip_edge.export.weights import WeightFile


def test_equal_tensors_are_stored_once_and_those_of_two_types_apart(tmp_path: Path) -> None:
    """The bytes of 320 floats of 0 are those of 640 halves of 0."""
    norm = [np.ones(320, np.float32), np.zeros(320, np.float32)]
    weights = {"scale": norm[0], "bias": norm[1], "again": norm[1], "halves": np.zeros(640, np.float16)}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale", "bias"], ["a"]),
        helper.make_node("Add", ["a", "again"], ["y"]),
        helper.make_node("Add", ["h", "halves"], ["z"]),
    ]
    sides = {"x": (TensorProto.FLOAT, 320), "h": (TensorProto.FLOAT16, 640)}
    sides |= {"y": (TensorProto.FLOAT, 320), "z": (TensorProto.FLOAT16, 640)}
    values = {name: helper.make_tensor_value_info(name, kind, [1, side]) for name, (kind, side) in sides.items()}
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [values["x"], values["h"]], [values["y"], values["z"]], constants)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    WeightFile(tmp_path / "weights").take(model)
    onnx.save(model, tmp_path / "graph.onnx")
    assert (tmp_path / "weights").stat().st_size == 3 * 1280
    read = {each.name: numpy_helper.to_array(each) for each in onnx.load(tmp_path / "graph.onnx").graph.initializer}
    assert all(np.array_equal(read[name], array) for name, array in weights.items())
    assert choose(TensorRTOptions(capabilities=GPUS)).build(tmp_path / "graph.onnx", {})
