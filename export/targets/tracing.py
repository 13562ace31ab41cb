"""A module as an ONNX graph: traced by torch, simplified, and stripped of the tracer's notes.

Graphs use opset 20 and the default domain only, which ONNX Runtime, TensorRT and onnxruntime-web all take. Image sizes
are fixed; the number of prompts or texts (B), of points (N) and of a text's token ids (L) stay open. So do those of
photos (I) and of mask prompts (M), which are traced as 1 and opened afterwards: torch knows no number that is either 1
or B, as M is, and takes half as long again for a graph of I photos. The ops of ONNX broadcast, and the modules write -1
where they reshape.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import numpy_helper
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules
from torch import nn

from samclip_edge.bundle.contract import Arrays, Signature
from samclip_edge.export.options import TOKENS
from samclip_edge.export.precision.int8 import drop_unread

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
    rules.fuse_pad_into_conv_rule,
]


def trace(module: nn.Module, signature: Signature, inputs: Arrays) -> onnx.ModelProto:
    """The ONNX graph of a module, with the names and the open dimensions of the contract."""
    open_sides = {side: torch.export.Dim(side, max=TOKENS if side == "L" else None) for side in "BNL"}
    shapes = tuple(
        {axis: open_sides[side] for axis, side in enumerate(tensor.shape) if side in open_sides}
        for tensor in signature.inputs
    )
    later = {tensor.name: str(tensor.shape[0]) for tensor in signature.inputs if tensor.shape[0] in ("I", "M")}
    given = (inputs[each.name][:1] if each.name in later else inputs[each.name] for each in signature.inputs)
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
    _open_first_sides(model.graph, later)
    return model


def _open_first_sides(graph: onnx.GraphProto, letters: Mapping[str, str]) -> None:
    """Open the first side of inputs, which was traced as 1, by letter, and of the outputs that have it from them.

    What is computed of them has a first side that grows with theirs, and no other that does: the modules see to it. So
    a reshape infers its first side. Shapes in between are dropped; engines infer them.
    """
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    of = dict(letters)  # the letter of each tensor that depends on these inputs
    for node in graph.node:
        found = [of[name] for name in node.input if name in of]
        if not found:
            continue
        of.update(dict.fromkeys(node.output, found[0]))
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and -1 not in shape:
            name = f"{node.input[1]}_open"
            if name not in constants:
                constants[name] = np.array([-1, *shape[1:]], np.int64)
                graph.initializer.append(numpy_helper.from_array(constants[name], name))
            node.input[1] = name
    for value in (*graph.input, *graph.output):
        first = value.type.tensor_type.shape.dim[0]
        if value.name in of and first.dim_value == 1:
            first.dim_param = of[value.name]
    for value in graph.value_info:
        if value.name in of:
            value.type.tensor_type.ClearField("shape")
    drop_unread(graph)


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
