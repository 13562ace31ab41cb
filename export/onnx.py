"""ONNX: traced by torch, stripped of what only the tracer needs, big weights moved to files that sizes share.

Opset 20 and the default domain only, which ONNX Runtime, TensorRT and onnxruntime-web all take. Input sides are static;
the batch of prompts or texts (B) and the number of points (N) stay open.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules
from torch import nn

from samclip_edge.contract import Arrays, Signature

OPSET = 20
_RULES = [
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.no_op_transpose_rule,
    rules.cast_cast_rule,
    rules.reshape_reshape_rule,
    rules.squeeze_reshape_1d_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.materialize_reshape_shape_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.one_reshape_matmul_reshape_rule,
    rules.two_reshapes_matmul_reshape_rule,
    rules.fuse_batchnorm_into_conv_rule,
]
_SMALL = 1024  # bytes; a smaller tensor stays in the graph, where shape inference can see it
_PAGE, _LINE = 4096, 64  # alignment of big and of lesser tensors: a page can be memory-mapped


def trace(module: nn.Module, signature: Signature, inputs: Arrays) -> onnx.ModelProto:
    """The ONNX graph of a module, with the names and the open dimensions of the contract."""
    open_sides = {letter: torch.export.Dim(letter) for letter in ("B", "N")}
    shapes = tuple(
        {axis: open_sides[side] for axis, side in enumerate(tensor.shape) if isinstance(side, str)}
        for tensor in signature.inputs
    )
    with quiet():
        program = torch.onnx.export(
            module,
            tuple(torch.from_numpy(inputs[tensor.name]) for tensor in signature.inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in signature.inputs],
            output_names=[tensor.name for tensor in signature.outputs],
            dynamic_shapes=shapes,
            external_data=False,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        _simplify(program.model)
    return _stripped(program.model_proto)


def _simplify(model: ir.Model) -> None:
    """What `torch.onnx.export` would do itself, but for a rule that holds every slice against every node: it never
    finds anything here, and on an encoder at 1024 pixels takes a minute to say so."""
    common.InlinePass()(model)
    for _ in range(2):
        fold_constants(model, onnx_shape_inference=True)
        RewritePass(_RULES)(model)
        common.RemoveUnusedNodesPass()(model)
    for step in (
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
        common.RemoveUnusedOpsetsPass(),
    ):
        step(model)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tracer's notes on its own deprecations from the user."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without stack traces and source paths, which the tracer writes beside every node."""
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        thing.ClearField("doc_string")
        thing.ClearField("metadata_props")
    model.producer_name, model.producer_version = "samclip-edge", ""
    return model


class WeightFile:
    """Tensors of several graphs in one file, each different tensor once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[bytes, int] = {}
        self._end = 0

    def take(self, model: onnx.ModelProto) -> None:
        """Move the model's big tensors into the file and leave references to it."""
        with self.path.open("ab") as file:
            for tensor in model.graph.initializer:
                data = tensor.raw_data
                if len(data) < _SMALL:
                    continue
                if data not in self._places:
                    page = _PAGE if len(data) >= 16 * _PAGE else _LINE
                    file.write(bytes(-self._end % page))
                    start = self._end + -self._end % page
                    file.write(data)
                    self._places[data], self._end = start, start + len(data)
                _point_to(tensor, self.path.name, self._places[data], len(data))


class Place(NamedTuple):
    """Where a tensor lies in a checkpoint beside the graphs."""

    file: str
    offset: int
    length: int
    shape: tuple[int, ...]
    transposed: bool  # whether a graph that holds these very bytes wants the transpose of what the file holds


def places(checkpoint: Path) -> dict[bytes, Place]:
    """Where in a half-precision safetensors file to find the bytes that a graph may hold, matrices also transposed."""
    found: dict[bytes, Place] = {}
    raw = checkpoint.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F16":
            continue
        first, last = entry["data_offsets"]
        content, shape = raw[start + first : start + last], tuple(entry["shape"])
        place = Place(checkpoint.name, start + first, last - first, shape, transposed=False)
        if len(shape) == 2:
            turned = np.frombuffer(content, np.float16).reshape(shape).T
            found.setdefault(turned.tobytes(), place._replace(transposed=True))
        found[content] = place
    return found


def halve(model: onnx.ModelProto, stored: Mapping[bytes, Place]) -> None:
    """Store a graph's big weights in half precision, cast to float32 when the graph is loaded; it computes as before.

    What a checkpoint beside the graph holds already is not stored again but read from there.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.raw_data) < _SMALL:
            continue
        content = np.frombuffer(tensor.raw_data, np.float32).astype(np.float16).tobytes()
        name, half = tensor.name, f"{tensor.name}_half"
        tensor.name, tensor.data_type, tensor.raw_data = half, onnx.TensorProto.FLOAT16, content
        place = stored.get(content)
        turned = place is not None and place.transposed
        if place is not None:
            if turned:
                tensor.ClearField("dims")
                tensor.dims.extend(place.shape)
            _point_to(tensor, place.file, place.offset, place.length)
        casts.append(onnx.helper.make_node("Cast", [half], [f"{name}_cast" if turned else name], to=1))
        if turned:
            casts.append(onnx.helper.make_node("Transpose", [f"{name}_cast"], [name], perm=[1, 0]))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)


def _point_to(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
