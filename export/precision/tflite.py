"""Half and int8 in LiteRT's files, by Google's quantiser: which products of a file are put into which, and how.

A layer is a weight of the file that a product or a convolution takes; signatures share it, and so it has one precision.
Weights are signed and symmetric, with a scale for each output channel.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from samclip_edge.bundle.contract import Arrays
from samclip_edge.export.precision.int8 import Names, digest

How = Literal["half", "dynamic", "static", "weights"]
Ranges = dict[str, Any]  # the least and the greatest value of tensors, by name
METADATA = "samclip_edge"  # the entry of a file that says what its inputs and outputs are, as JSON
SMALL = 1024  # weights with fewer values stay as they are: they are positions and biases, and save nothing
_OPS = qtyping.TFLOperationName
# The operators whose second input is a weight, as the schema and as the quantiser call them.
_PRODUCTS = {
    "FULLY_CONNECTED": _OPS.FULLY_CONNECTED,
    "CONV_2D": _OPS.CONV_2D,
    "DEPTHWISE_CONV_2D": _OPS.DEPTHWISE_CONV_2D,
    "TRANSPOSE_CONV": _OPS.CONV_2D_TRANSPOSE,
}
_TABLE = _OPS.EMBEDDING_LOOKUP
_INT8 = qtyping.TensorQuantizationConfig(
    num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE, dtype=qtyping.TensorDataType.INT
)
_ACTIVATION = qtyping.TensorQuantizationConfig(
    num_bits=8, symmetric=False, granularity=qtyping.QuantGranularity.TENSORWISE, dtype=qtyping.TensorDataType.INT
)
_HALF = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
_FLOAT, _INTEGER = qtyping.ComputePrecision.FLOAT, qtyping.ComputePrecision.INTEGER


def operators(model: Any) -> Iterator[tuple[Any, Any, str]]:
    """The subgraph, the operator and the operator's name in the schema, of every operator of a file that was read."""
    known = {code: name for name, code in vars(flatbuffer_utils.BuiltinOperator).items() if not name.startswith("_")}
    codes = [known[max(each.builtinCode, each.deprecatedBuiltinCode)] for each in model.operatorCodes]
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            yield subgraph, operator, codes[operator.opcodeIndex]


def name_layers(path: Path, names: Names, told: Mapping[str, Any]) -> dict[str, str]:
    """Give what each layer of a file makes the layer's name, and write `told` into its metadata.

    Returns the operator of each layer, by name.

    names: of weight matrices, by digest (`int8.layer_names`). A weight that is none of them, as of a convolution, is
    named after its operator and counted.
    """
    model = flatbuffer_utils.read_model(str(path))
    found: dict[int, str] = {}  # names, by the weight's buffer
    layers: dict[str, str] = {}
    for place, (subgraph, operator, kind) in enumerate(operators(model)):
        weight = _weight(model, subgraph, operator, kind)
        if weight is None:
            continue
        values = model.buffers[weight.buffer].data
        name = names.get(digest(np.ascontiguousarray(values).tobytes()), f"{kind.lower()}_{len(found)}")
        name = found.setdefault(weight.buffer, name)
        layers[name] = kind
        for output in operator.outputs:
            subgraph.tensors[output].name = f"{name}/{place}".encode()
    buffer = flatbuffer_utils.BufferT()
    buffer.data = np.frombuffer(json.dumps(told).encode(), np.uint8)
    model.buffers.append(buffer)
    entry = flatbuffer_utils.schema_fb.MetadataT()
    entry.name, entry.buffer = METADATA.encode(), len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    model.description = b"samclip-edge"
    flatbuffer_utils.write_model(model, str(path))
    return layers


def _weight(model: Any, subgraph: Any, operator: Any, kind: str) -> Any | None:
    """The constant that a product multiplies by, if it is large enough to count."""
    if kind not in _PRODUCTS:
        return None
    weight = subgraph.tensors[operator.inputs[1]]
    values = model.buffers[weight.buffer].data
    return weight if values is not None and len(values) >= 4 * SMALL else None


def requantised(
    source: Path,
    target: Path,
    how: How,
    kept: Collection[str] = (),
    ranges: Ranges | None = None,
) -> None:
    """Write a file anew with its layers in half or in int8, but for those in `kept`, which int8 leaves in half.

    dynamic: scales of activations are found in each call, for each row. static: they are those of `ranges`
    (`calibrated`). weights: int8 is only how weights are stored. Tables are stored in half.
    """
    work = quantizer.Quantizer(str(source))
    none = qtyping.OpQuantizationConfig()
    half = qtyping.OpQuantizationConfig(weight_tensor_config=_HALF, compute_precision=_FLOAT, explicit_dequantize=True)
    chosen = _int8(how)
    named = rf"^(?:{'|'.join(map(re.escape, kept)) or '(?!)'})/"
    small = r"^(?!\S+/\d+;)"  # products without a layer's name
    for kind, operation in _PRODUCTS.items():
        own = chosen if in_int8(how, kind) else None
        work.update_quantization_recipe(".*", operation, own or half, _algorithm(own))
        if own:
            work.update_quantization_recipe(named, operation, half, AlgorithmName.FLOAT_CASTING)
        work.update_quantization_recipe(small, operation, none, AlgorithmName.NO_QUANTIZE)
    work.update_quantization_recipe(".*", _TABLE, half, AlgorithmName.FLOAT_CASTING)
    target.unlink(missing_ok=True)
    work.quantize(ranges, serialize_to_path=str(target), enable_progress_bar=False, enable_progress_report=False)
    target.chmod(source.stat().st_mode)  # large files are written as programs


def in_int8(how: How, operator: str) -> bool:
    """Whether a layer of such an operator is put into int8.

    XNNPACK has no dynamic int8 for convolutions of each channel; LiteRT's own kernel takes ten times as long.
    """
    return how != "half" and not (how == "dynamic" and operator == "DEPTHWISE_CONV_2D")


def calibrated(source: Path, seen: Mapping[str, Sequence[Arrays]]) -> Ranges:
    """The ranges of the activations that go into layers and come out of them, on the inputs that each signature saw."""
    work = quantizer.Quantizer(str(source))
    static = _int8("static")
    for operation in _PRODUCTS.values():
        work.update_quantization_recipe(".*", operation, static, _algorithm(static))
    ranges: Ranges = dict(work.calibrate({name: list(inputs) for name, inputs in seen.items()}))
    return ranges


def _int8(how: How) -> Any | None:
    if how == "half":
        return None
    return qtyping.OpQuantizationConfig(
        activation_tensor_config=_ACTIVATION if how == "static" else None,
        weight_tensor_config=_INT8,
        compute_precision=_FLOAT if how == "weights" else _INTEGER,
        explicit_dequantize=how == "weights",
    )


def _algorithm(chosen: Any | None) -> str:
    return AlgorithmName.FLOAT_CASTING if chosen is None else AlgorithmName.MIN_MAX_UNIFORM_QUANT


def hurting(layers: Sequence[str], hurt: Callable[[Collection[str]], bool]) -> list[str]:
    """The layers that change an output too much when they alone are in int8.

    hurt: whether layers in int8 together change it too much. Where they do not, none of them is looked at alone. Where
    they do, halves are tried, and halves of those.
    """
    if not layers or not hurt(layers):
        return []
    if len(layers) == 1:
        return list(layers)
    middle = len(layers) // 2
    return [*hurting(layers[:middle], hurt), *hurting(layers[middle:], hurt)]
