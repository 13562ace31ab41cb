"""MobileSAM's encoder in every form that is exported answers as the model does."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from support import GPUS, TEMPLATES, TOLERANCE, off, spread

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import probe, signature
from samclip_edge.bundle.encoder_spec import TinyVitSpec
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipHeadSpec
from samclip_edge.bundle.verify import verify
from samclip_edge.export.forms import fixed_size, mobile_gpu, neural_engine, tiny_vit
from samclip_edge.export.options import CoreMLOptions, TensorRTOptions
from samclip_edge.export.parity import ask
from samclip_edge.export.precision.half import halve_types
from samclip_edge.export.precision.int8 import layer_names, layers, quantize
from samclip_edge.export.precision.int8 import run as run_graph
from samclip_edge.export.precision.qdq import calibrate, insert_pairs
from samclip_edge.export.targets.coreml import PackageWriter
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.export.targets.tensorrt_builders import choose, profile
from samclip_edge.export.targets.tracing import trace
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel
from samclip_edge.runtimes.interpreters.mil import coremltools as ct

DEPTHS = (1, 1, 2, 1)
SMALL = PRESETS["tiny"].model_copy(
    update={
        "name": "mobile",
        "encoder": TinyVitSpec(widths=(16, 32, 48, 64), depths=DEPTHS, stage_heads=(2, 3, 4), grid=8),
        "clip_head": ClipHeadSpec(depth=1, hidden=64),
    }
)
PRODUCTS = 4 * sum(DEPTHS[1:])  # of a matrix: qkv, proj, fc1 and fc2 of each block that attends


@pytest.fixture(scope="module")
def mobile_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = MergedModel(SMALL).eval()
    spread(model, seed=21)
    path = tmp_path_factory.mktemp("mobile") / "mobile.safetensors"
    return checkpoint.save(model, path, checkpoint.Origin(note="spread at random for tests"))


@pytest.fixture(scope="module")
def model(mobile_checkpoint: Path) -> MergedModel:
    return checkpoint.load(mobile_checkpoint)[0]


@pytest.mark.parametrize("forms", [fixed_size, neural_engine, mobile_gpu])
@pytest.mark.parametrize("size", [128, 224, 272, "272x144"])
@pytest.mark.parametrize("group", [16, 64, 24])
def test_forms_are_the_model(
    model: MergedModel, size: int | str, forms: ModuleType, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_vit, "GROUP", group)
    image = torch.from_numpy(probe(model.spec, "image_encoder", size)["image"])
    with torch.inference_mode():
        got, wanted = forms.graph_module(model, "image_encoder", size)(image), model.image_encoder(image)
    for ours, theirs in zip(got, wanted, strict=True):
        assert off(theirs, ours) < 3e-5


@pytest.fixture(scope="module")
def encoder(model: MergedModel) -> onnx.ModelProto:
    """The graph of its encoder at 128 pixels, with the widest map in groups of 16 channels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_vit, "GROUP", 16)
        module = fixed_size.graph_module(model, "image_encoder", 128)
    return trace(module, signature(model.spec, "image_encoder", 128), probe(model.spec, "image_encoder", 128))


def test_a_graph_has_no_norms_of_convolutions_and_computes_no_shapes(encoder: onnx.ModelProto) -> None:
    nodes = [node.op_type for node in encoder.graph.node]
    computed = {"BatchNormalization", "Shape", "Range", "Expand", "ConstantOfShape", "ScatterND", "GatherND", "Where"}
    assert not computed & set(nodes)
    assert nodes.count("Softmax") == sum(DEPTHS[1:])
    # Of a block to windows and back, to its convolution and back, and of its keys; of three stages; of two norms.
    assert nodes.count("Transpose") <= 5 * sum(DEPTHS[1:]) + 2 * 3 + 2 * 2


def test_the_widest_map_is_never_whole(encoder: onnx.ModelProto) -> None:
    """The MBConv widens 16 channels of 32 x 32 to 64."""
    graph = onnx.shape_inference.infer_shapes(encoder).graph
    weights = {each.name for each in graph.initializer}
    values = [each.type.tensor_type for each in graph.value_info if each.name not in weights]
    shapes = [[side.dim_value for side in each.shape.dim[1:]] for each in values]  # of a photo
    assert len(shapes) > 100
    assert [16, 32, 32] in shapes
    assert [64, 32, 32] not in shapes


def test_a_bundle_in_half_names_and_masks_at_a_cameras_shape(mobile_checkpoint: Path, tmp_path: Path) -> None:
    words, given = ["cat", "cup"], (mobile_checkpoint, tmp_path / "bundle", ["160x96"])
    model = SamClip(export_onnx(*given, words, precision="fp16", templates=TEMPLATES[:1]))
    assert all(row.ok for row in verify(model.bundle))
    scene = model.look(data.photos()[0])
    assert {each.label for each in scene.classify(words)} == set(words)
    assert len(scene.segment(points=[[200, 100]])) > 0
    assert len(scene.find(words, min_score=0)) > 0


def test_onnx_runtime_answers_as_torch_and_int8_takes_every_matrix(
    model: MergedModel, encoder: onnx.ModelProto
) -> None:
    proto, names = copy.deepcopy(encoder), layer_names(model)
    asked = [probe(model.spec, "image_encoder", 128)]
    assert len(layers(proto, names)) == PRODUCTS
    images = np.concatenate([asked[0]["image"] * light for light in (1, 0.8, 0.6)]).astype(np.float32)
    wanted, several = run_graph(proto, [*asked, {"image": images}])
    with torch.inference_mode():
        for image, found in ((asked[0]["image"], wanted), (images, several)):
            for theirs, ours in zip(model.image_encoder(torch.from_numpy(image)), found, strict=True):
                assert off(theirs, ours) < TOLERANCE
    quantize(proto, names)
    assert sum(node.op_type == "MatMulInteger" for node in proto.graph.node) == PRODUCTS
    (got,) = run_graph(proto, asked)
    for a, b in zip(wanted, got, strict=True):
        assert 0.98 < np.corrcoef(a.ravel(), b.ravel())[0, 1] < 1


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tensorrt_builds_it_with_every_matrix_in_int8(
    model: MergedModel, encoder: onnx.ModelProto, precision: str, tmp_path: Path
) -> None:
    proto, names = copy.deepcopy(encoder), layer_names(model)
    builder, sides = choose(TensorRTOptions(capabilities=GPUS)), signature(model.spec, "image_encoder", 128)
    products = [node.name for node in proto.graph.node if node.name in layers(proto, names)]
    if precision == "int8":
        insert_pairs(proto, names, calibrate(proto, names, [probe(model.spec, "image_encoder", 128)]))
    if precision != "fp32":
        halve_types(proto)
    onnx.save(proto, tmp_path / "graph.onnx")
    builder.build(tmp_path / "graph.onnx", profile(sides))
    assert len(products) == PRODUCTS
    for product in products:
        lines = [
            line
            for line in builder.layers.splitlines()
            if product in re.split(r"Name: |\+|_myl|, ", line.split(", LayerType")[0])
        ]
        types = [re.findall(r"Datatype: (\w+)", line)[:2] for line in lines]
        assert (bool(lines) and all(each == ["Int8", "Int8"] for each in types)) == (precision == "int8"), product


@pytest.mark.parametrize(("precision", "size"), [("fp32", "144x80"), ("int8", 128)])
def test_core_ml_runs_it_op_by_op(model: MergedModel, precision: Any, size: int | str, tmp_path: Path) -> None:
    """The writer holds each op of the saved package against torch, and raises ParityError."""
    writer = PackageWriter(model, checkpoint.Origin(note=""), tmp_path, precision, CoreMLOptions())
    writer.write("image_encoder", size, [ask(model, "image_encoder", size, probe(model.spec, "image_encoder", size))])
    (graph,) = writer.finish()["graphs"]
    for parity in graph.parity.values():
        assert parity.error < TOLERANCE if precision == "fp32" else parity.cosine > 0.999
    (function,) = ct.utils.load_spec(str(tmp_path / "image_encoder.mlpackage")).mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    kinds = [op.type for op in block.operations]
    assert "shape" not in kinds
    assert kinds.count("scaled_dot_product_attention") == sum(DEPTHS[1:])
    assert all(out.type.tensorType.rank <= 4 for op in block.operations for out in op.outputs)
