"""Counts the parameters and the multiply-adds of the graphs of a bundle."""

from __future__ import annotations

import json
import math
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Graph
from samclip_edge.bundle.sizes import Size

# One photo, prompt or text; one point, and one labelled as padding; a text as long as CLIP's context.
_SIDES = {"I": 1, "B": 1, "N": 2, "M": 1, "L": 77}


class Cost(NamedTuple):
    """What one graph has at one input size."""

    graph: str
    size: Size | None
    parameters: int
    multiply_adds: int


def costs(bundle: Bundle) -> list[Cost]:
    """The costs of every graph of a bundle, for one prompt of one point and for one text.

    Empty for a Core ML bundle, which has no ONNX files.
    """
    found: list[Cost] = []
    if bundle.manifest.target == "coreml":
        return found
    for graph in bundle.manifest.graphs:
        path = bundle.folder / graph.files[0].path
        model = onnx.load(path, load_external_data=False)
        # Constants for shapes are int64. All others were learned, or computed from what was.
        weights = (each for each in model.graph.initializer if each.data_type != onnx.TensorProto.INT64)
        parameters = sum(math.prod(each.dims) for each in weights)
        found.append(Cost(graph.name, graph.size, parameters, multiply_adds(path, _zeros(graph))))
    return found


def _zeros(graph: Graph) -> dict[str, np.ndarray]:
    return {
        tensor.name: np.zeros([_SIDES[side] if isinstance(side, str) else side for side in tensor.shape], tensor.dtype)
        for tensor in graph.signature.inputs
    }


def multiply_adds(path: Path, inputs: dict[str, np.ndarray]) -> int:
    """Count the multiplications in the matrix products and convolutions of a graph; the rest is small beside them.

    The shapes come from ONNX Runtime's profile of one run on `inputs`, because some are computed only while the graph
    runs.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_reuse = options.enable_mem_pattern = False
    options.add_session_config_entry("session.disable_prepacking", "1")  # the profile has no shapes for packed weights
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/run"
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    return sum(_products(event["args"]) for event in events if event["name"].endswith("_kernel_time"))


def _products(node: dict[str, Any]) -> int:
    """The multiplications of a node: the number of its outputs, times those that each takes."""
    inputs, outputs = (
        [next(iter(each.values())) for each in node[f"{side}_type_shape"]] for side in ("input", "output")
    )
    kind = node["op_name"]
    if kind in ("MatMul", "MatMulInteger"):
        return math.prod(outputs[0]) * inputs[0][-1]
    if kind == "Gemm":  # transposed or not: M K and K N inputs, M N outputs, so sqrt(MK KN MN)
        return math.isqrt(math.prod(inputs[0]) * math.prod(inputs[1]) * math.prod(outputs[0]))
    if kind == "Conv":
        return math.prod(outputs[0]) * math.prod(inputs[1][1:])
    if kind == "ConvTranspose":
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    return 0


def download_size(bundle: Bundle) -> int:
    """The bytes of the bundle's files, each compressed by deflate."""
    total = 0
    for file in bundle.files():
        deflate = zlib.compressobj(1)
        with (bundle.folder / file.path).open("rb") as opened:
            while block := opened.read(1 << 22):
                total += len(deflate.compress(block))
        total += len(deflate.flush())
    return total
