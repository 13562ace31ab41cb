"""EfficientNet-Lite and the head of classes in every form that is exported answer as the model does."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from support import TEMPLATES, TOLERANCE, off, spread

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import GraphName, probe, signature
from samclip_edge.bundle.encoder_spec import EfficientNetLiteSpec
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClassHeadSpec
from samclip_edge.bundle.verify import verify
from samclip_edge.export.forms import fixed_size, mobile_gpu, neural_engine
from samclip_edge.export.options import CoreMLOptions
from samclip_edge.export.parity import ask
from samclip_edge.export.precision.half import halve_types
from samclip_edge.export.precision.int8 import run as run_graph
from samclip_edge.export.targets.coreml import PackageWriter
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.export.targets.tracing import trace
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel

SMALL = PRESETS["tiny"].model_copy(
    update={
        "name": "photo",
        "encoder": EfficientNetLiteSpec(
            stem=8, widths=(8, 8, 8, 16, 16, 24, 32), depths=(1, 1, 1, 1, 1, 2, 1), lateral=(8, 8)
        ),
        "clip_head": ClassHeadSpec(classes=12, hidden=32, max_grid=8),
        "guidance": 8,
    }
)


@pytest.fixture(scope="module")
def photo_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = MergedModel(SMALL).eval()
    spread(model, seed=22)
    path = tmp_path_factory.mktemp("photo") / "photo.safetensors"
    return checkpoint.save(model, path, checkpoint.Origin(note="spread at random for tests"))


@pytest.fixture(scope="module")
def model(photo_checkpoint: Path) -> MergedModel:
    return checkpoint.load(photo_checkpoint)[0]


@pytest.mark.parametrize("forms", [fixed_size, neural_engine, mobile_gpu])
@pytest.mark.parametrize("size", [128, 208, "144x64"])  # 13 rows and columns of tokens are halved to 7
@pytest.mark.parametrize("name", ["image_encoder", "clip_head"])
def test_forms_are_the_model(model: MergedModel, name: GraphName, size: int | str, forms: ModuleType) -> None:
    given = torch.from_numpy(next(iter(probe(model.spec, name, size).values())))
    with torch.inference_mode():
        got, wanted = forms.graph_module(model, name, size)(given), getattr(model, name)(given)
    for ours, theirs in zip(got, wanted, strict=True):
        assert off(theirs, ours) < 3e-5


@pytest.fixture(scope="module")
def encoder(model: MergedModel) -> onnx.ModelProto:
    sides, inputs = (of(model.spec, "image_encoder", 64) for of in (signature, probe))
    return trace(fixed_size.graph_module(model, "image_encoder", 64), sides, inputs)


def test_a_graph_has_convolutions_that_pad_and_norm_themselves(encoder: onnx.ModelProto) -> None:
    nodes = [node.op_type for node in encoder.graph.node]
    assert not {"BatchNormalization", "Pad", "Shape"} & set(nodes)
    assert nodes.count("Conv") == 1 + 3 * 8 - 1 + 2 + 2  # the first block widens nothing; laterals, neck


def test_what_computes_in_half_is_near(model: MergedModel, encoder: onnx.ModelProto) -> None:
    """The strongly typed graph that TensorRT is built from."""
    half, asked = onnx.ModelProto(), probe(model.spec, "image_encoder", 64)
    half.CopyFrom(encoder)
    halve_types(half)
    ((wanted, _),), ((got, _),) = run_graph(encoder, [asked]), run_graph(half, [asked])
    assert TOLERANCE < off(wanted, got) < 0.05


def test_a_bundle_in_int8_names_and_masks(photo_checkpoint: Path, tmp_path: Path) -> None:
    words, given = ["cat", "cup"], (photo_checkpoint, tmp_path / "bundle", ["160x96"])
    model = SamClip(export_onnx(*given, words, precision="int8", templates=TEMPLATES[:1]))
    assert all(row.ok for row in verify(model.bundle))
    scene = model.look(data.photos()[0])
    assert {each.label for each in scene.classify(words)} == set(words)
    assert len(scene.segment(points=[[200, 100]])) > 0
    encoder = checkpoint.load(photo_checkpoint)[0].image_encoder
    weights = sum(each.numel() for each in encoder.parameters() if each.ndim > 1)
    assert (tmp_path / "bundle" / "image_encoder.weights").stat().st_size < 2.3 * weights  # bytes: in half


def test_a_box_is_drawn_in_every_prompt_of_a_bundle(photo_checkpoint: Path, tmp_path: Path) -> None:
    """Torch's masks of two boxes at once, which `dense` tells apart; and of one, which the other does not change."""
    given, boxes = (photo_checkpoint, tmp_path / "bundle", ["128"]), [[10, 20, 60, 80], [30, 30, 120, 100]]
    model, torchs = SamClip(export_onnx(*given)), checkpoint.load(photo_checkpoint)[0]
    scene = model.look(np.full((128, 128, 3), 90, np.uint8))
    with torch.inference_mode():
        embedding = torchs.image_encoder(torch.full((1, 3, 128, 128), 90.0))[1]
        points = torch.tensor(boxes, dtype=torch.float32).reshape(2, 2, 2)
        prompted = torchs.prompt_encoder(
            points, torch.tensor([[2.0, 3.0]] * 2), torch.zeros(2, 1, 32, 32), torch.zeros(1)
        )
        wanted = torchs.decode_masks(embedding, *prompted)[0][:, 0]
    for box, low_res in zip(boxes, wanted, strict=True):
        assert off(low_res, torch.from_numpy(scene.segment(boxes=box)[0].logits)) < 1e-4


@pytest.mark.parametrize("name", ["image_encoder", "clip_head", "prompt_encoder", "mask_decoder"])
def test_core_ml_answers_as_torch(photo_checkpoint: Path, name: GraphName, tmp_path: Path) -> None:
    """The writer holds each op of the saved package against torch, and raises ParityError."""
    model, origin = checkpoint.load(photo_checkpoint)
    writer = PackageWriter(model, origin, tmp_path, "fp16", CoreMLOptions())
    writer.write(name, 128, [ask(model, name, 128, probe(model.spec, name, 128))])
    (graph,) = writer.finish()["graphs"]
    assert all(parity.cosine > 0.999 for parity in graph.parity.values())
