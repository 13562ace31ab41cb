"""TensorRT-RTX, which needs no GPU for it, builds every graph of a model in every precision."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import trtcheck
from onnx import TensorProto, helper
from support import GPUS
from torch import nn

from samclip_edge.bundle.contract import GraphName, probe, sample
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Graph, Precision
from samclip_edge.bundle.verify import compare_to, passes
from samclip_edge.errors import InputError
from samclip_edge.export.options import TensorRTOptions
from samclip_edge.export.precision.half import halve_types
from samclip_edge.export.precision.int8 import Names, layer_names
from samclip_edge.export.precision.qdq import calibrate, insert_pairs
from samclip_edge.export.targets.tensorrt_builders import Builder, choose, profile
from samclip_edge.export.weights import WeightFile
from samclip_edge.model import checkpoint
from samclip_edge.runtimes.onnxruntime import OrtSession

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@pytest.fixture(scope="module")
def builder() -> Builder:
    return choose(TensorRTOptions(capabilities=GPUS))


def typed(
    bundle: Bundle, graph: Graph, precision: Precision, names: Names, scales: dict[GraphName, Any]
) -> onnx.ModelProto:
    """A graph of a float32 ONNX bundle in a precision; in int8 every layer, with scales that are kept by graph."""
    model = onnx.load(bundle.folder / graph.files[0].path)
    if precision == "fp32" or graph.name == "prompt_encoder":
        return model
    if precision == "int8":
        if graph.name not in scales:
            scales[graph.name] = calibrate(model, names, [probe(bundle.manifest.spec, graph.name, graph.size)])
        insert_pairs(model, names, scales[graph.name])
    halve_types(model)
    return model


def asked_in_int8(model: onnx.ModelProto) -> list[str]:
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and [made.get(name) for name in node.input] == ["DequantizeLinear"] * 2
    ]


def in_int8(layers: str, node: str) -> bool:
    """Whether the builder's own list of an engine's layers has a node as a product of int8 and int8."""
    lines = [
        line for line in layers.splitlines() if node in re.split(r"Name: |\+|_myl|, ", line.split(", LayerType")[0])
    ]
    return bool(lines) and all(re.findall(r"Datatype: (\w+)", line)[:2] == ["Int8", "Int8"] for line in lines)


def check_all(bundle: Bundle, model: nn.Module, builder: Builder, folder: Path, sizes: tuple[int, ...]) -> None:
    """Every graph of these sizes in every precision: built for both GPUs, int8 where asked, and answers as torch's."""
    names, scales = layer_names(model), dict[GraphName, Any]()
    spec = bundle.manifest.spec
    for graph in (graph for graph in bundle.manifest.graphs if graph.size in (None, *sizes)):
        for precision in PRECISIONS:
            proto = typed(bundle, graph, precision, names, scales)
            weights = folder / "weights"
            weights.unlink(missing_ok=True)
            WeightFile(weights).take(proto)
            onnx.save(proto, folder / "graph.onnx")
            engine = builder.build(folder / "graph.onnx", profile(graph.signature))
            assert b" tf32=0" in engine, "the builder's options, which it writes into the engine"
            asked = asked_in_int8(proto)
            assert bool(asked) == (precision == "int8" and graph.name != "prompt_encoder")
            fell = [node for node in asked if not in_int8(builder.layers, node)]
            assert not fell, (graph.name, graph.size, fell)
            if precision == "fp32":
                continue  # the very graph that was held against torch when the bundle was exported
            got = OrtSession(folder / "graph.onnx", graph.signature, precision, 2).run(
                probe(spec, graph.name, graph.size)
            )
            for output, reference in graph.reference.items():
                parity = compare_to(reference.std, np.array(reference.values), sample(got[output]))
                assert passes(parity, precision), (graph.name, graph.size, precision, output, parity)


def test_every_graph_of_tiny_builds_in_every_precision(
    tiny_folder: Path, tiny_checkpoint: Path, builder: Builder, tmp_path: Path
) -> None:
    bundle = Bundle.open(tiny_folder)
    check_all(bundle, checkpoint.load(tiny_checkpoint)[0], builder, tmp_path, bundle.manifest.sizes)


def test_every_graph_of_vit_b_builds_in_every_precision(
    vit_b: SimpleNamespace, builder: Builder, tmp_path: Path
) -> None:
    """At its smallest and its largest size, to save minutes: those between are of the same form."""
    check_all(vit_b.bundle, vit_b.torch, builder, tmp_path, (224, 1024))


def test_a_layer_that_fell_to_half_would_be_seen(tiny_folder: Path, builder: Builder, tmp_path: Path) -> None:
    """The check above can fail: here nothing was asked for in int8."""
    bundle = Bundle.open(tiny_folder)
    graph = bundle.graph("clip_head", 128)
    model = typed(bundle, graph, "fp16", {}, {})
    onnx.save(model, tmp_path / "graph.onnx")
    builder.build(tmp_path / "graph.onnx", profile(graph.signature))
    products = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    assert products
    assert not any(in_int8(builder.layers, node) for node in products)


def test_a_static_check_finds_nothing_critical(tiny_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """trtcheck, against TensorRT 10.3. What it warns of: shapes in int64, which ONNX asks for and TensorRT 10 has, and
    open sides, for which there is a profile."""
    bundle, names, scales = (
        Bundle.open(tiny_folder),
        layer_names(checkpoint.load(tiny_checkpoint)[0]),
        dict[GraphName, Any](),
    )
    for graph in bundle.manifest.graphs:
        for precision in PRECISIONS:
            onnx.save(typed(bundle, graph, precision, names, scales), tmp_path / "graph.onnx")
            found = trtcheck.analyze(tmp_path / "graph.onnx")
            assert found.issues is not None
            assert not [each for each in found.issues if each.severity == trtcheck.Severity.CRITICAL]
            warned = {each.rule_id for each in found.issues if each.severity == trtcheck.Severity.WARNING}
            assert warned <= {"TRT-DTYPE-INT64-WEIGHTS", "TRT-SHAPE-PROFILE-MISSING"}, (graph.name, warned)


def test_a_graph_that_cannot_be_built_is_one_line(builder: Builder, tmp_path: Path, tiny_folder: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    odd = helper.make_graph([helper.make_node("Det", ["x"], ["y"], name="odd")], "g", [x], [y])
    onnx.save(helper.make_model(odd, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "odd.onnx")
    with pytest.raises(
        InputError, match=r"odd\.onnx: tensorrt_rtx does not take it \(Det odd: an op that it does not have\)"
    ):
        builder.build(tmp_path / "odd.onnx", {})
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(
        InputError, match=r"bad\.onnx: tensorrt_rtx does not take it \(.*Failed to parse the ONNX model"
    ):
        builder.build(tmp_path / "bad.onnx", {})
    with pytest.raises(InputError, match="no optimization profile has been defined") as error:
        builder.build(tiny_folder / "mask_decoder_128.onnx", {})
    assert "\n" not in str(error.value)
