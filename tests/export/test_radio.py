"""C-RADIO in every form that is exported answers as the model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import radio
import torch
from support import GPUS, TEMPLATES, TOLERANCE, off

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import GraphName, probe, signature
from samclip_edge.export.forms import attention, channels_first, fixed_size, neural_engine
from samclip_edge.export.options import CoreMLOptions, TensorRTOptions
from samclip_edge.export.parity import ask
from samclip_edge.export.precision.half import halve_types
from samclip_edge.export.precision.int8 import layer_names
from samclip_edge.export.precision.int8 import run as run_graph
from samclip_edge.export.precision.qdq import calibrate, insert_pairs
from samclip_edge.export.targets.coreml import PackageWriter
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.export.targets.tensorrt_builders import choose, profile
from samclip_edge.export.targets.tracing import trace
from samclip_edge.model.checkpoint import load
from samclip_edge.runtimes.interpreters.mil import coremltools as ct


@pytest.fixture(scope="module")
def radio_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return radio.make_checkpoint(tmp_path_factory.mktemp("radio") / "radio.safetensors")


@pytest.mark.parametrize("forms", [fixed_size, neural_engine])
@pytest.mark.parametrize("size", [128, 272, "192x80"])
@pytest.mark.parametrize("name", ["image_encoder", "clip_head", "mask_decoder"])
def test_forms_are_the_model(radio_checkpoint: Path, name: GraphName, size: int | str, forms: object) -> None:
    model, _ = load(radio_checkpoint)
    inputs = {key: torch.from_numpy(value) for key, value in probe(model.spec, name, size).items()}
    with torch.inference_mode():
        got = forms.graph_module(model, name, size)(*inputs.values())
    for ours, wanted, tensor in zip(
        got, fixed_size.answer(model, name, inputs), signature(model.spec, name, size).outputs, strict=True
    ):
        assert ours.shape == wanted.shape == tuple({"I": 1, "B": 2}.get(s, s) for s in tensor.shape)
        assert (ours - wanted).abs().max() < TOLERANCE * wanted.std()


@pytest.mark.parametrize(("forms", "module"), [(fixed_size, attention), (neural_engine, channels_first)])
@pytest.mark.parametrize("scores", [1, 300])
def test_scores_in_small_blocks_are_the_same(
    radio_checkpoint: Path, forms: object, module: object, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load(radio_checkpoint)
    image = torch.from_numpy(probe(model.spec, "image_encoder", "128x80")["image"])
    with torch.inference_mode():
        wanted = model.image_encoder(image)
        monkeypatch.setattr(module, "BLOCK", scores)
        got = forms.graph_module(model, "image_encoder", "128x80")(image)
    for ours, theirs in zip(got, wanted, strict=True):
        assert (ours - theirs).abs().max() < TOLERANCE * theirs.std()


def test_a_bundle_of_a_cameras_shape_names_and_masks(radio_checkpoint: Path) -> None:
    folder = radio_checkpoint.with_name("onnx")
    bundle = export_onnx(radio_checkpoint, folder, ["128x80"], ["cat", "cup"], templates=TEMPLATES[:1])
    scene = SamClip(bundle).look(data.photos()[0])
    assert {each.label for each in scene.classify(["cat", "cup"])} == {"cat", "cup"}
    assert len(scene.segment(points=[[200, 100]])) > 0
    assert len(scene.find(["cat", "cup"], min_score=0)) > 0


# Four in each of two layers, and in each adaptor the first, two residual ones and the last.
@pytest.mark.parametrize(("name", "matrices"), [("image_encoder", 2 * 4 + 4), ("clip_head", 4)])
def test_tensorrt_takes_each_matrix_once_and_in_int8(
    radio_checkpoint: Path, name: GraphName, matrices: int, tmp_path: Path
) -> None:
    model, _ = load(radio_checkpoint)
    builder, asked = choose(TensorRTOptions(capabilities=GPUS)), probe(model.spec, name, "128x80")
    module = fixed_size.graph_module(model, name, "128x80")
    proto = trace(module, signature(model.spec, name, "128x80"), asked)
    assert not any(node.op_type == "Gemm" for node in proto.graph.node)  # which would stay in float
    several = {each: np.concatenate([values, 0.7 * values]) for each, values in asked.items()}
    (found,) = run_graph(proto, [several])
    wanted = fixed_size.answer(model, name, {each: torch.from_numpy(values) for each, values in several.items()})
    assert all(off(theirs, ours) < TOLERANCE for theirs, ours in zip(wanted, found, strict=True))
    scales = calibrate(proto, layer_names(model), [asked])
    insert_pairs(proto, layer_names(model), scales)
    halve_types(proto)
    onnx.save(proto, tmp_path / "graph.onnx")
    builder.build(tmp_path / "graph.onnx", profile(signature(model.spec, name, "128x80")))
    assert len([line for line in builder.layers.splitlines() if "Int8" in line]) >= matrices == len(scales)


@pytest.mark.parametrize("name", ["image_encoder", "clip_head"])
def test_core_ml_runs_it_op_by_op(radio_checkpoint: Path, name: GraphName, tmp_path: Path) -> None:
    """The writer holds each op of the saved package against torch, and raises ParityError."""
    model, origin = load(radio_checkpoint)
    writer = PackageWriter(model, origin, tmp_path, "fp16", CoreMLOptions())
    writer.write(name, 144, [ask(model, name, 144, probe(model.spec, name, 144))])
    (graph,) = writer.finish()["graphs"]
    assert all(parity.cosine > 0.999 for parity in graph.parity.values())
    (function,) = ct.utils.load_spec(str(tmp_path / f"{name}.mlpackage")).mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    assert all(out.type.tensorType.rank <= 4 for op in block.operations for out in op.outputs)
