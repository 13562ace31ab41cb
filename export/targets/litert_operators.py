"""Which processors of a phone take which operators of a LiteRT file, by published tables and the rules of LiteRT's GPU.

What a delegate does not take runs on the CPU. Then the graph is split there, and tensors are copied at each split. Some
operators LiteRT's GPU takes and computes wrongly; those are named with the others, and their text says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ai_edge_litert.tools import flatbuffer_utils

from samclip_edge.export.precision.tflite import operators

# LiteRT's accelerator for GPUs: `ml_drift_delegate/tflite/model_builder.cc` of google-ai-edge/LiteRT, of 2026-08.
_GPU = """
    ABS ADD ADD_N ARG_MAX ATAN2 AVERAGE_POOL_2D BATCH_MATMUL BITCAST BITWISE_XOR CAST CEIL CONCATENATION CONV_2D
    COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL
    EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS
    LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD
    MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN
    REDUCE_PROD RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2
    RIGHT_SHIFT ROUND RSQRT SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE
    SQUARED_DIFFERENCE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CBRT STABLEHLO_CLAMP STABLEHLO_REMAINDER
    STABLEHLO_SHIFT_LEFT STRIDED_SLICE SUB SUM TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV UNPACK
"""
# `litert/vendors/qualcomm/compiler/qnn_compose_graph.cc`, and the list in LiteRT 2.3's plugin for MediaTek. Their own
# compilers have the last word, which needs the vendors' kits.
_QUALCOMM = """
    ABS ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_TO CAST CEIL CONCATENATION
    CONV_2D CONV_3D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU
    EMBEDDING_LOOKUP EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GELU GREATER
    GREATER_EQUAL HARD_SWISH L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT
    LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK
    PAD PADV2 POW PRELU QUANTIZE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1
    RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SCATTER_ND SELECT SELECT_V2 SIGN SIN
    SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE
    SUB SUM TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV UNPACK
"""
_MEDIATEK = """
    ABS ADD AVERAGE_POOL_2D BATCH_MATMUL CAST CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEQUANTIZE DIV
    FULLY_CONNECTED GELU GREATER HARD_SWISH L2_NORMALIZATION LEAKY_RELU LESS LOGISTIC MAXIMUM MAX_POOL_2D MEAN
    MINIMUM MUL PAD PADV2 PRELU QUANTIZE REDUCE_MAX RELU RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT
    SLICE SOFTMAX SPLIT SQRT SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV UNPACK
"""
TABLES = {"GPU": _GPU, "Qualcomm NPU": _QUALCOMM, "MediaTek NPU": _MEDIATEK}


class Taken(NamedTuple):
    """What the operators of a graph are, and what of them each processor leaves to the CPU."""

    operators: dict[str, int]  # how many there are of each in the first signature
    # By processor: the operators that it leaves to the CPU or computes wrongly, with why; none: it takes all of them.
    left: dict[str, tuple[str, ...]]


def taken(path: Path, functions: Sequence[str]) -> Taken:
    """Look at the operators of signatures of a file."""
    model = flatbuffer_utils.read_model(str(path))
    places = {each.signatureKey.decode(): each.subgraphIndex for each in model.signatureDefs}
    found = [_of_one(model, model.subgraphs[places[each]]) for each in functions]
    left = {
        processor: tuple(dict.fromkeys(kind for each in found for kind in each.left[processor])) for processor in TABLES
    }
    return Taken(found[0].operators, left)


def _of_one(model: Any, subgraph: Any) -> Taken:
    own = [(operator, kind) for of, operator, kind in operators(model) if of is subgraph]
    left = {
        processor: tuple(dict.fromkeys(kind for _, kind in own if kind not in table.split()))
        for processor, table in TABLES.items()
    }
    constant = {place for place, each in enumerate(subgraph.tensors) if model.buffers[each.buffer].data is not None}
    for operator, kind in own:  # weights in half, which the GPU reads as they are stored
        if kind == "DEQUANTIZE" and operator.inputs[0] in constant:
            constant.update(operator.outputs)
    rules = (why for operator, kind in own for why in _against_the_gpu(subgraph, operator, kind, constant))
    left["GPU"] = tuple(dict.fromkeys([*left["GPU"], *rules]))
    return Taken(dict(Counter(kind for _, kind in own).most_common()), left)


def _against_the_gpu(subgraph: Any, operator: Any, kind: str, constant: Collection[int]) -> Iterator[str]:
    """Why the GPU does not take an operator of its table, or computes it wrongly.

    constant: the tensors that no call changes.
    """
    places = [each for each in (*operator.inputs, *operator.outputs) if each >= 0]
    shapes = [[int(side) for side in _sides(subgraph.tensors[each])] for each in places]
    if any(len(shape) > 4 for shape in shapes):
        yield f"{kind} (of more than four dimensions)"
    moving = [shape for each, shape in zip(places, shapes, strict=True) if each not in constant]
    if any(len(shape) > 2 and shape[0] != 1 for shape in moving):
        yield f"{kind} (of a batch)"
    if any(side < 0 for shape in shapes for side in shape):
        yield f"{kind} (of an open dimension)"
    if kind == "BATCH_MATMUL" and places[0] in constant:
        yield "BATCH_MATMUL (of a constant from the left)"
    if kind == "BATCH_MATMUL" and shapes[0][:-2] != shapes[1][:-2]:
        yield "BATCH_MATMUL (of unequal numbers of matrices: computed wrongly)"
    if kind != "RESHAPE" and len(shapes[-1]) > 2 and any(len(shape) == 2 and shape[0] != 1 for shape in moving):
        yield f"{kind} (of two dimensions with more: computed wrongly)"  # the first of two is taken for a batch
    if kind == "SELECT_V2" and any(shape != shapes[-1] for shape in shapes[1:3] if shape):
        yield "SELECT_V2 (between shapes that differ)"


def _sides(tensor: Any) -> Any:
    return () if tensor.shape is None else tensor.shape
