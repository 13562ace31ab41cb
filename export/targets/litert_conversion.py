"""Modules to LiteRT's `.tflite`: converted by litert-torch, several signatures in a file that stores weights once.

Products keep their dimensions. Left to itself, litert-torch makes three dimensions of four, by moving attention heads
into the first, which the GPU delegate takes for a batch.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from samclip_edge.bundle.contract import Arrays
from samclip_edge.errors import InputError, one_line
from samclip_edge.export.targets.tracing import quiet
from samclip_edge.native import native_lines

with native_lines():  # they greet at import
    import litert_torch
    from litert_converter.mlir import ir
    from litert_converter.mlir.dialects import stablehlo
    from litert_torch import fx_infra
    from litert_torch.backend.lowerings import lower, utils

aten = torch.ops.aten


class Call(NamedTuple):
    """A signature of a file: a module, traced for inputs of fixed shapes."""

    function: str  # the name of the signature
    module: nn.Module
    inputs: Arrays
    outputs: tuple[str, ...]


class _Named(nn.Module):
    """A module whose outputs have names, which the converter keeps."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.module, self.names = call.module, call.outputs

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Inputs and outputs by name."""
        found = self.module(**inputs)
        return dict(zip(self.names, found if isinstance(found, tuple) else (found,), strict=True))


def convert(calls: Sequence[Call], path: Path) -> None:
    """Write a file with a signature for each call.

    Raises InputError that names the operator and the source line where the converter refuses it.
    """
    try:
        with silence(), torch.no_grad():
            converter = litert_torch.Converter()
            for call in calls:
                inputs = {name: torch.from_numpy(values) for name, values in call.inputs.items()}
                converter.signature(call.function, _Named(call).eval(), sample_kwargs=inputs)
            converter.convert().export(str(path))
    except Exception as error:  # torch and the converter raise classes of many kinds
        raise InputError(f"{path.name}: {refused(error)}; no bundle was written") from error


@contextmanager
def silence() -> Iterator[None]:
    """Hide what Google's tools log, print and count on the way."""
    with quiet(), native_lines():
        yield


_OPERATOR = re.compile(r"(?P<where>[\w./-]+\.py:\d+)(?::\d+)?: error: '(?P<what>[\w.]+)'")
_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


def refused(error: BaseException) -> str:
    """Why the converter refused a module, in one line: the operator, and the source line that it came from."""
    told = _OPERATOR.search(str(error))
    if told:
        return f"LiteRT's converter refuses {told['what']}, of {_short(told['where'])}"
    node = _node(error)
    trace = str(error) if node is None else f"{error} {node.stack_trace or node.meta.get('stack_trace', '')}"
    lines = [f"{each['file']}:{each['line']}" for each in _LINE.finditer(trace) if _ours(each["file"])]
    frames = traceback.extract_tb(error.__traceback__)
    lines = lines or [f"{each.filename}:{each.lineno}" for each in frames if _ours(each.filename)] or ["?"]
    what = f"it ({one_line(error)})" if node is None else f"the operator {node.target}"
    return f"LiteRT's converter refuses {what}, of {_short(lines[-1])}"


def _ours(file: str) -> bool:
    """Whether a source file is of the model or its forms, and not of torch, the converter, or what calls them."""
    others = ("/torch/", "/litert_torch/", "/litert_converter/", "/jax/", "/lib/python")
    installed = "site-packages/samclip_edge/" in file
    return installed or not (file.endswith(Path(__file__).name) or any(each in file for each in others))


def _node(error: BaseException) -> torch.fx.Node | None:
    """The node of the traced graph that was being lowered."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        node = frame.f_locals.get("node") or frame.f_locals.get("n")
        found = node if isinstance(node, torch.fx.Node) and node.op == "call_function" else found
    return found


def _short(where: str) -> str:
    """A source file as it stands in the repository: the last two folders and the name."""
    return "/".join(where.split("/")[-3:])


@torch.library.custom_op("samclip_edge::matmul", mutates_args=())
def _matmul(x: Tensor, y: Tensor) -> Tensor:
    """`torch.matmul` of tensors of one rank, or of a tensor and a matrix, which nothing takes apart."""
    return torch.matmul(x, y)


@_matmul.register_fake
def _(x: Tensor, y: Tensor) -> Tensor:  # of no other product, which would be one of these again
    sides = [max(pair) for pair in zip(x.shape[:-2], y.shape[:-2], strict=True)] if y.ndim > 2 else x.shape[:-2]
    return x.new_empty((*sides, x.shape[-2], y.shape[-1]))


def _whole_matmul(x: Tensor, y: Tensor) -> Tensor:
    if x.ndim < 2 or y.ndim < 2 or x.dtype != torch.float32:
        return NotImplemented
    if y.ndim == 2:
        return _matmul(x, y)
    rank = max(x.ndim, y.ndim)
    x, y = (each[(None,) * (rank - each.ndim)] for each in (x, y))
    return _matmul(x, y)


def _whole_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out = _matmul(x, weight.t())
    return out if bias is None else out + bias


@lower(torch.ops.samclip_edge.matmul.default)  # type: ignore[untyped-decorator]
def _lower_matmul(context: Any, x: ir.Value, y: ir.Value) -> ir.Value:
    rank, batch = len(x.type.shape), list(x.type.shape)[:-2]
    (out,) = utils.node_meta_to_ir_types(context.node)
    if len(y.type.shape) == 2 or list(y.type.shape)[:-2] == batch:
        both = [] if len(y.type.shape) == 2 else list(range(rank - 2))
        dims = stablehlo.DotDimensionNumbers.get(
            lhs_batching_dimensions=both,
            rhs_batching_dimensions=both,
            lhs_contracting_dimensions=(rank - 1,),
            rhs_contracting_dimensions=(len(y.type.shape) - 2,),
        )
        return stablehlo.dot_general(out, x, y, dims)
    # Only LiteRT's own operator broadcasts, so that a map which prompts share is not copied for each.
    flags = {name: ir.BoolAttr.get(False) for name in ("adj_x", "adj_y", "asymmetric_quantize_inputs")}
    return stablehlo.custom_call(
        result=[out],
        inputs=[x, y],
        call_target_name=ir.StringAttr.get("tfl.batch_matmul"),
        has_side_effect=ir.BoolAttr.get(False),
        backend_config=ir.StringAttr.get(str(ir.DictAttr.get(flags))),
    )


fx_infra.decomp.add_pre_convert_decomp(aten.matmul.default, _whole_matmul)
fx_infra.decomp.add_pre_convert_decomp(aten.linear.default, _whole_linear)
