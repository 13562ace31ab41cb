"""A module as an ONNX graph: traced by torch, simplified, and stripped of the tracer's notes.

Graphs use opset 20 and the default domain only, which ONNX Runtime, TensorRT and onnxruntime-web all take. Image sizes
are fixed; the batch of prompts or texts (B), the number of points (N) and the length of texts (L) stay open. So does
the number of mask prompts (M), which is 1 or B. Torch knows no such choice: M is traced as 1, and opened afterwards,
because the ops of ONNX broadcast.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules
from torch import nn

from samclip_edge.bundle.contract import Arrays, Signature
from samclip_edge.export.options import TOKENS

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


def trace(module: nn.Module, signature: Signature, inputs: Arrays) -> onnx.ModelProto:
    """The ONNX graph of a module, with the names and the open dimensions of the contract."""
    open_sides = {"B": torch.export.Dim("B"), "N": torch.export.Dim("N"), "L": torch.export.Dim("L", max=TOKENS)}
    shapes = tuple(
        {axis: open_sides[side] for axis, side in enumerate(tensor.shape) if isinstance(side, str) and side != "M"}
        for tensor in signature.inputs
    )
    masks = [tensor.name for tensor in signature.inputs if tensor.shape[0] == "M"]
    given = (inputs[tensor.name][:1] if tensor.name in masks else inputs[tensor.name] for tensor in signature.inputs)
    with quiet():
        program = torch.onnx.export(
            module,
            tuple(map(torch.from_numpy, given)),
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
    model = _stripped(program.model_proto)
    _open_masks(model.graph, masks)
    return model


def _open_masks(graph: onnx.GraphProto, masks: Sequence[str]) -> None:
    """Open the first side of the inputs `masks`, and of all that has a first side of 1 because theirs was."""
    known = {each.name: each for each in (*graph.input, *graph.value_info, *graph.output)}
    follow = set(masks)
    for node in graph.node:
        if follow.intersection(node.input):
            follow.update(name for name in node.output if _first(known[name]).dim_value == 1)
    for name in follow:
        _first(known[name]).dim_param = "M"


def _first(value: onnx.ValueInfoProto) -> onnx.TensorShapeProto.Dimension:
    return value.type.tensor_type.shape.dim[0]


def _simplify(model: ir.Model) -> None:
    """Do what `torch.onnx.export` would do itself with `optimize`, but for one rule.

    That rule compares every slice with every node. It never finds anything here, and takes a minute on an encoder at
    1024 pixels.
    """
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
    """Hide the tracer's logs, warnings and prints from the user: they are about its own deprecations."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the stack traces and source paths that the tracer writes beside every node. Name us as the producer."""
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        thing.ClearField("doc_string")
        thing.ClearField("metadata_props")
    model.producer_name, model.producer_version = "samclip-edge", ""
    return model
