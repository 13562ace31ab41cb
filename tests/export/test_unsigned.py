"""int8 products in ONNX bundles are exact on every processor: their weights are unsigned.

Without VNNI, x86-64 multiplies uint8 by int8 with `vpmaddubsw`: it adds two neighbouring products and saturates the sum
at 16 bits. ONNX Runtime uses it where the weight is signed. Where both are unsigned, it widens them to 16 bits first
and multiplies with `vpmaddwd`, whose sums have 32 bits. A machine with VNNI has an instruction without the fault, so a
test of answers alone would pass there. Here the arithmetic is worked out, and the graphs are read.

Bundles of `--qdq` are left out knowingly. Engines that take the pairs require signed weights. This package's runtime
runs the pairs in float, so that none of its products can saturate.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.bundle.verify import verify
from samclip_edge.export.precision.int8 import ZERO, by_column, unsigned
from samclip_edge.export.targets.onnx import export_onnx


def in_saturating_pairs(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """uint8 (M,K) by int8 (K,N) as vpmaddubsw and vpmaddwd do it: sums of two products, saturated at 16 bits."""
    products = x.astype(np.int64)[:, :, None] * weight.astype(np.int64)[None]
    pairs = products[:, 0::2] + products[:, 1::2]
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1)


def widened(x: np.ndarray, x_zero: int, weight: np.ndarray, zero: int) -> np.ndarray:
    """uint8 (M,K) by uint8 (K,N) as vpmaddwd does it: 16-bit factors, sums of two products in 32 bits."""
    products = x.astype(np.int16).astype(np.int64)[:, :, None] * weight.astype(np.int16).astype(np.int64)[None]
    pairs = products[:, 0::2] + products[:, 1::2]
    assert np.abs(pairs).max() < 2**31
    rows, columns = x.astype(np.int64).sum(axis=1)[:, None], weight.astype(np.int64).sum(axis=0)[None]
    return pairs.sum(axis=1) - zero * rows - x_zero * columns + len(weight) * x_zero * zero


def exact(x: np.ndarray, x_zero: int, weight: np.ndarray) -> np.ndarray:
    return (x.astype(np.int64) - x_zero) @ weight.astype(np.int64)


def test_signed_weights_saturate_by_hand() -> None:
    x, weight = np.array([[255, 255]], np.uint8), np.array([[127], [127]], np.int8)
    assert exact(x, 0, weight) == 64770  # 2 * 255 * 127
    assert in_saturating_pairs(x, weight) == 32767
    assert widened(x, 0, unsigned(weight), ZERO) == 64770


def test_signed_weights_are_wrong_where_unsigned_are_exact() -> None:
    random = np.random.RandomState(0)
    weight, _ = by_column(random.standard_normal((64, 32)).astype(np.float32))
    x, x_zero = random.randint(0, 256, (8, 64)).astype(np.uint8), 120
    wanted = exact(x, x_zero, weight)
    saturated = in_saturating_pairs(x, weight) - x_zero * weight.astype(np.int64).sum(axis=0)
    assert np.abs(saturated - wanted).max() > 1000
    np.testing.assert_array_equal(widened(x, x_zero, unsigned(weight), ZERO), wanted)
    np.testing.assert_array_equal(unsigned(weight).astype(int) - 128, weight)


UNKNOWN = ("ConvInteger", "QGemm", "QAttention", "MatMulIntegerToFloat", "MatMulNBits")


def signed_products(folder: Path) -> list[str]:
    """The integer products of a folder's graphs whose weight is signed, or unsigned with another zero point than 128.

    Q and DQ pairs count too: ONNX Runtime may fuse them into such a product. So does every other op that may multiply
    integers, since none of them is looked into here.
    """
    found = []
    for path in sorted(folder.glob("*.onnx")):
        graph = onnx.load(path).graph
        values = {each.name: each for each in graph.initializer}
        for node in graph.node:
            if node.op_type == "MatMulInteger":
                weight, zero = values[node.input[1]], [values[name] for name in node.input[3:4]]
                right = weight.data_type == onnx.TensorProto.UINT8
                right &= [numpy_helper.to_array(each).tolist() for each in zero] == [128]
                found += [] if right else [f"{path.name}: {node.output[0]}"]
            elif node.op_type in UNKNOWN or node.op_type.startswith(("QLinear", "DynamicQuantizeMatMul")):
                found.append(f"{path.name}: {node.output[0]}")
            elif node.op_type == "DequantizeLinear" and node.input[0] in values:
                signed = values[node.input[0]].data_type == onnx.TensorProto.INT8
                found += [f"{path.name}: {node.output[0]}"] if signed else []
    return found


@pytest.fixture(scope="module")
def int8(tiny_checkpoint: Path) -> Bundle:
    return export_onnx(tiny_checkpoint, tiny_checkpoint.with_name("unsigned"), [128], precision="int8")


def signed_again(bundle: Bundle) -> int:
    """Rewrite a bundle's graphs as older versions wrote them, with int8 weights. Returns how many products changed."""
    changed = 0
    for path in bundle.folder.glob("*.onnx"):
        model = onnx.load(path)
        values = {each.name: each for each in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "MatMulInteger":
                weight = values[node.input[1]]
                if weight.data_type == onnx.TensorProto.UINT8:
                    back = (numpy_helper.to_array(weight).astype(np.int16) - 128).astype(np.int8)
                    weight.CopyFrom(numpy_helper.from_array(back, weight.name))
                del node.input[3]
                changed += 1
        onnx.save(model, path)
    return changed


def test_no_graph_of_a_bundle_has_signed_weights_in_an_integer_product(int8: Bundle) -> None:
    assert signed_products(int8.folder) == []


def test_an_older_bundle_with_signed_weights_still_loads(int8: Bundle, tmp_path: Path) -> None:
    """And the check above can fail: it names each of that bundle's products."""
    older = Bundle(Path(shutil.copytree(int8.folder, tmp_path / "older")), int8.manifest)
    changed = signed_again(older)
    assert changed > 50
    assert len(signed_products(older.folder)) == changed
    fields = int8.manifest.model_dump(by_alias=True, exclude={"quantisation", "measured_on"})
    for graph in fields["graphs"]:
        del graph["moved"]
        graph["files"] = [describe(older.folder, older.folder / file["path"]).model_dump() for file in graph["files"]]
    (older.folder / MANIFEST).write_text(json.dumps(fields))
    older = Bundle.open(older.folder)
    assert older.manifest.quantisation is None
    assert all(row.ok for row in verify(older))
    assert Sessions(older).open("clip_head", 128)
