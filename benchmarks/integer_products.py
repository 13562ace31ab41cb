"""What unsigned weights cost: a layer's product in int8, timed with signed and with unsigned weights in turn.

    python -m samclip_edge.benchmarks.integer_products

prints the median time of both and the median of their ratios, for products of the shapes of `vit_b`. The two are run in
alternation, so that other programs on the machine slow both alike. The answers are compared too: where they differ,
signed weights saturate on this processor.
"""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from samclip_edge.export.precision.int8 import ZERO, by_column, unsigned

SHAPES = ((4096, 768, 3072), (196, 768, 3072))  # rows, inputs and outputs: the tokens at 1024 and at 224 pixels
SECONDS = 8.0  # for each shape and number of threads
_WARM = 3  # runs that are not counted


def product(rows: int, weight: np.ndarray, signed: bool) -> onnx.ModelProto:
    """A graph of one layer as an int8 bundle has it: `x` (rows,I) by a weight (I,O)."""
    values, scale = by_column(weight)
    stored = {"w": values if signed else unsigned(values), "w_scale": scale, "w_zero": np.array(ZERO, np.uint8)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["x_uint8", "x_scale", "x_zero"]),
        helper.make_node("MatMulInteger", ["x_uint8", "w", "x_zero", *([] if signed else ["w_zero"])], ["y_int32"]),
        helper.make_node("Cast", ["y_int32"], ["y_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x_scale", "w_scale"], ["by"]),
        helper.make_node("Mul", ["y_float", "by"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, weight.shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, weight.shape[1]])
    constants = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "product", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def measure(rows: int, inside: int, outside: int, threads: int) -> str:
    """A line of the table: the median milliseconds of both, the median ratio of neighbours, and their difference."""
    random = np.random.RandomState(0)
    weight = random.standard_normal((inside, outside)).astype(np.float32)
    x = {"x": random.standard_normal((rows, inside)).astype(np.float32)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    sessions = [
        onnxruntime.InferenceSession(
            product(rows, weight, signed).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for signed in (True, False)
    ]
    answers = [session.run(None, x)[0] for session in sessions]
    taken: list[list[float]] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        pair = []
        for session in sessions:
            start = time.perf_counter()
            session.run(None, x)
            pair.append(time.perf_counter() - start)
        taken.append(pair)
    signed_time, unsigned_time = np.array(taken[_WARM:]).T
    off = float(np.abs(answers[0] - answers[1]).max())
    return (
        f"| {rows} x {inside} by {inside} x {outside} | {threads} | {np.median(signed_time) * 1e3:.1f} ms "
        f"| {np.median(unsigned_time) * 1e3:.1f} ms | {np.median(unsigned_time / signed_time):.2f} | {off:g} |"
    )


if __name__ == "__main__":
    print("| product | threads | signed | unsigned | ratio | answers differ by |\n|---|---|---|---|---|---|")
    for shape in SHAPES:
        for count in (1, 2):
            print(measure(*shape, count))
