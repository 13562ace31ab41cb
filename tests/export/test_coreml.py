"""A bundle of Core ML packages answers as the model does, says what it is, and a fault planted in it is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from standin_coreml import Mac, MacCompiled
from support import TOLERANCE, Ran, iou

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import GraphName, probe, signature
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.bundle.verify import verify
from samclip_edge.cache import VARIABLE
from samclip_edge.errors import InputError
from samclip_edge.export.forms.fixed_size import answer
from samclip_edge.export.options import CoreMLOptions
from samclip_edge.export.targets.coreml import export_coreml
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model.checkpoint import load
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Mask
from samclip_edge.photo.read import read_photo
from samclip_edge.runtimes.interpreters.mil import coremltools as ct

SIZE = 128
GRAPHS: list[tuple[GraphName, int | None]] = [
    *((name, SIZE) for name in ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder")),
    ("text_encoder", None),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """`tiny` in float32, one size, with test vectors."""
    folder = tmp_path_factory.mktemp("coreml") / "bundle"
    return export_coreml(data.CHECKPOINTS["tiny"], folder, [SIZE], precision="fp32", vectors=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same for iOS 16 in int8, with an image for its input and one prompt of two points."""
    folder = tmp_path_factory.mktemp("coreml") / "small"
    options = CoreMLOptions("iOS16", image_input=True, points=2)
    return export_coreml(data.CHECKPOINTS["tiny"], folder, [SIZE], ["cat"], precision="int8", options=options)


def test_saved_packages_answer_as_torch_does(bundle: Bundle) -> None:
    for graph in bundle.manifest.graphs:
        for parity in graph.parity.values():
            assert parity.error < TOLERANCE
    assert all(row.ok for row in verify(bundle))


def test_prompts_and_texts_are_open_within_their_ranges(bundle: Bundle) -> None:
    model, _ = load(data.CHECKPOINTS["tiny"])
    graphs = SamClip(bundle, SessionOptions(interpreted=True)).sessions
    for name in ("prompt_encoder", "mask_decoder", "text_encoder"):
        size = None if name == "text_encoder" else SIZE
        inputs = probe(model.spec, name, size, (5, 4))
        wanted = answer(model, name, {key: torch.from_numpy(value) for key, value in inputs.items()})
        for ours, theirs in zip(graphs.run(name, size, **inputs).values(), wanted, strict=True):
            assert np.abs(ours - theirs.numpy()).max() < TOLERANCE * float(theirs.std())
    spec = ct.utils.load_spec(str(bundle.folder / "prompt_encoder.mlpackage"))
    points = spec.description.functions[0].input[0].type.multiArrayType.shapeRange.sizeRanges
    assert [(side.lowerBound, side.upperBound) for side in points] == [(1, 64), (1, 32), (2, 2)]


def same(ours: list[Mask], theirs: list[Mask]) -> None:
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.label == b.label
        assert a.predicted_iou == pytest.approx(b.predicted_iou, abs=1e-3)
        assert iou(a.bits, b.bits) > 0.999


def test_the_pipeline_gives_the_names_and_masks_of_onnx(bundle: Bundle, tmp_path: Path) -> None:
    onnx = SamClip(export_onnx(data.CHECKPOINTS["tiny"], tmp_path / "onnx", [SIZE]))
    interpreted = SamClip(bundle, SessionOptions(interpreted=True))
    pixels = read_photo(data.photos()[0])
    ours, theirs = interpreted.look(pixels), onnx.look(pixels)
    words = ["red circle", "blue square", "green triangle"]
    for a, b in zip(ours.classify(words), theirs.classify(words), strict=True):
        assert a.label == b.label
        assert a.score == pytest.approx(b.score, abs=1e-4)
    same(ours.segment(points=[[60, 80]]), theirs.segment(points=[[60, 80]]))
    same(ours.segment(boxes=[[10, 10, 200, 150]]), theirs.segment(boxes=[[10, 10, 200, 150]]))
    same(ours.find(words, min_score=0), theirs.find(words, min_score=0))  # there or not


def test_no_tensor_has_more_than_four_sides_and_no_shape_is_computed(bundle: Bundle) -> None:
    for path in bundle.folder.glob("*.mlpackage"):
        for function in ct.utils.load_spec(str(path)).mlProgram.functions.values():
            (block,) = function.block_specializations.values()
            for op in block.operations:
                assert op.type != "shape"
                for out in op.outputs:
                    assert out.type.tensorType.rank <= 4, (path.name, op.type, out.name)


def test_a_target_with_fused_attention_uses_it_and_one_without_does_not(bundle: Bundle, small: Bundle) -> None:
    for made, fused in ((bundle, True), (small, False)):
        (path,) = made.folder.glob("image_encoder*.mlpackage")
        (function,) = ct.utils.load_spec(str(path)).mlProgram.functions.values()
        (block,) = function.block_specializations.values()
        assert any(op.type == "scaled_dot_product_attention" for op in block.operations) == fused


def test_xcode_shows_what_a_package_is(bundle: Bundle) -> None:
    description = ct.utils.load_spec(str(bundle.folder / "mask_decoder.mlpackage")).description
    assert "mask decoder" in description.metadata.shortDescription
    assert description.metadata.author
    assert "Apache-2.0" in description.metadata.license
    assert description.metadata.versionString
    (function,) = description.functions
    assert function.name == f"size_{SIZE}"
    for side in (*function.input, *function.output):
        assert len(side.shortDescription) > 20


def test_int8_stores_a_byte_a_weight_and_takes_an_image_and_one_prompt(small: Bundle) -> None:
    assert {graph.function for graph in small.manifest.graphs} == {"main"}
    encoder = small.folder / f"image_encoder_{SIZE}.mlpackage"
    spec = ct.utils.load_spec(str(encoder))
    image = spec.description.input[0].type.imageType
    assert (image.width, image.height) == (SIZE, SIZE)
    assert image.colorSpace == ct.proto.FeatureTypes_pb2.ImageFeatureType.RGB
    model, _ = load(data.CHECKPOINTS["tiny"])
    count = sum(parameter.numel() for parameter in model.image_encoder.parameters())
    assert (encoder / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size < 1.3 * count
    assert all(row.ok for row in verify(small))
    scene = SamClip(small, SessionOptions(interpreted=True)).look(read_photo(data.photos()[0]))
    assert len(scene.segment(boxes=[[10, 10, 200, 150], [50, 40, 90, 90]])) == 2
    with pytest.raises(InputError, match="the bundle takes 2: "):
        scene.segment(points=[[60, 80], [70, 90]])


def test_vectors_hold_the_contract(bundle: Bundle) -> None:
    folder = bundle.folder / "vectors"
    index = json.loads((folder / "index.json").read_text())

    def read(entry: dict[str, Any]) -> np.ndarray:
        return np.fromfile(folder / entry["file"], np.dtype(entry["dtype"])).reshape(entry["shape"])

    model, _ = load(data.CHECKPOINTS["tiny"])
    for name, size in GRAPHS:
        case = index[f"{name}_{size}" if size else name]
        sides = signature(model.spec, name, size)
        assert list(case["inputs"]) == [tensor.name for tensor in sides.inputs]
        inputs = {key: torch.from_numpy(read(entry)) for key, entry in case["inputs"].items()}
        for entry, wanted in zip(case["outputs"].values(), answer(model, name, inputs), strict=True):
            np.testing.assert_allclose(read(entry), wanted.numpy(), rtol=1e-4, atol=1e-4)
    photo = read(index[f"preprocess_{SIZE}"]["inputs"]["photo"])
    wanted = Frame.of(photo, SIZE).image(photo)
    np.testing.assert_array_equal(read(index[f"preprocess_{SIZE}"]["outputs"]["image"]), wanted)
    mask = read(index[f"postprocess_{SIZE}"]["outputs"]["mask"])
    assert mask.shape == photo.shape[:2]
    assert set(np.unique(mask)) == {0, 1}


# Faults. Each changes a program as a faulty converter might have written it.


def constant(block: Any, name: str) -> Any:
    (found,) = (op for op in block.operations if op.type == "const" and op.outputs[0].name == name)
    return found.attributes["val"].immediateValue.tensor


def argument(block: Any, op: Any, side: str) -> Any:
    return constant(block, op.inputs[side].arguments[0].name)


def swapped_axis(block: Any) -> str:
    op = [op for op in block.operations if op.type == "softmax"][5]
    argument(block, op, "axis").ints.values[0] = -2
    return op.outputs[0].name


def wrong_epsilon(block: Any) -> str:
    op = next(op for op in block.operations if op.type == "layer_norm")
    argument(block, op, "epsilon").floats.values[0] = 1e-2
    return op.outputs[0].name


def dropped_bias(block: Any) -> str:
    op = [op for op in block.operations if op.type == "conv" and "bias" in op.inputs][3]
    del op.inputs["bias"]
    return op.outputs[0].name


@pytest.mark.parametrize(
    ("graph", "fault"),
    [("mask_decoder", swapped_axis), ("prompt_encoder", wrong_epsilon), ("clip_head", dropped_bias)],
)
def test_a_planted_fault_is_caught_and_named(
    bundle: Bundle, tmp_path: Path, run: Callable[..., Ran], graph: str, fault: Callable[[Any], str]
) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "faulty"))
    path = folder / f"{graph}.mlpackage" / "Data/com.apple.CoreML/model.mlmodel"
    spec = ct.utils.load_spec(str(path.parents[2]))
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    op = fault(block)
    path.write_bytes(spec.SerializeToString())
    fields = json.loads((folder / MANIFEST).read_text())
    for entry in fields["graphs"]:
        entry["files"] = [describe(folder, folder / file["path"]).model_dump() for file in entry["files"]]
    (folder / MANIFEST).write_text(json.dumps(fields))

    ran = run("verify", folder, "--json")
    assert ran.code == 1
    failed = [check for check in json.loads(ran.out)["checks"] if not check["ok"]]
    assert all(check["what"].startswith(graph) for check in failed)
    (named,) = (check for check in failed if check["what"].endswith(" ops"))
    assert op in named["found"]


def test_elsewhere_than_on_a_mac_it_says_so_in_a_line(
    bundle: Bundle, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    ran = run("classify", data.photos()[0], "--label", "cat", "--bundle", bundle.folder)
    assert ran.code == 2
    assert "Core ML runs on a Mac" in ran.err.splitlines()[-1]
    assert "verify" in ran.err.splitlines()[-1]


def test_on_a_mac_the_pipeline_runs_core_ml(bundle: Bundle, small: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = read_photo(data.photos()[0])
    for made, function in ((bundle, f"size_{SIZE}"), (small, None)):
        wanted = SamClip(made, SessionOptions(interpreted=True)).look(pixels).segment(boxes=[[10, 10, 200, 150]])
        with monkeypatch.context() as patch:
            patch.setattr("platform.system", lambda: "Darwin")
            patch.setattr(ct.models, "MLModel", Mac)
            Mac.asked.clear()
            rows = verify(made)
            assert all(row.ok for row in rows)
            masks = f"mask_decoder {SIZE}: masks"
            assert {masks, f"{masks} (op by op)"} < {row.what for row in rows}
            Mac.asked.clear()
            model = SamClip.load(made.folder, units="cpu+ne")
            same(model.look(pixels).segment(boxes=[[10, 10, 200, 150]]), wanted)
            assert Mac.asked == [("CPU_AND_NE", function)] * 3
            scene = model.look(pixels)
            with pytest.raises(InputError, match="no empty arrays" if made is bundle else "the bundle takes 2: "):
                scene.segment(mask=np.zeros((SIZE // 4, SIZE // 4)))


def test_a_package_is_compiled_once_and_kept(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(ct.models, "MLModel", Mac)
    monkeypatch.setattr(ct.models, "CompiledMLModel", MacCompiled)
    wanted = [f"{bundle.folder / name}.mlpackage" for name in ("image_encoder", "mask_decoder", "prompt_encoder")]

    def ask() -> list[Mask]:
        Mac.compiled.clear()
        return SamClip.load(bundle.folder).look(data.photos()[0]).segment(points=[[60, 60]])

    first = ask()
    assert sorted(Mac.compiled) == wanted
    same(ask(), first)
    assert Mac.compiled == []
    weights = max((tmp_path / "coreml").rglob("*.bin"), key=lambda path: path.stat().st_size)
    weights.write_bytes(weights.read_bytes()[:-1])
    same(ask(), first)
    assert len(Mac.compiled) == 1
    same(ask(), first)
    assert Mac.compiled == []


def test_info_lists_the_ops(bundle: Bundle, run: Callable[..., Ran]) -> None:
    ops = run("info", bundle.folder, "--json").json["ops"]
    assert ops[f"image_encoder {SIZE}"]["scaled_dot_product_attention"] == 4
    assert ops["text_encoder"]["gather"] == 2  # of token embeddings and of positions
