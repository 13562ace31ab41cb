"""The ONNX bundle: what the graphs are made of, and that they answer as torch does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from support import TOLERANCE, Ran, off
from vit_b import VitB

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import SIZED, GraphName, probe, signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sessions import SessionOptions, Sessions
from samclip_edge.bundle.verify import verify
from samclip_edge.errors import ParityError
from samclip_edge.export.forms.fixed_size import answer, graph_module
from samclip_edge.export.targets import onnx as exporting
from samclip_edge.model import checkpoint
from samclip_edge.runtimes import onnxruntime

# Of the default domain up to opset 20; all stand in the operator tables of onnxruntime-web (wasm and WebGPU) and of
# TensorRT's ONNX parser (onnx-tensorrt, docs/operators.md).
PORTABLE = {
    "Add", "AveragePool", "Cast", "Clip", "Concat", "Conv", "ConvTranspose", "Cos", "CumSum", "Div", "Equal",
    "Expand", "Gather", "Gelu", "Gemm", "Greater", "LayerNormalization", "Less", "MatMul", "Mul", "Pad", "Relu",
    "ReduceL2", "ReduceMax", "Reshape", "Shape", "Sin", "Slice", "Softmax", "Squeeze", "Sub", "Transpose",
    "Unsqueeze", "Where",
}  # fmt: skip
GRAPHS: list[tuple[GraphName, int | None]] = [(name, size) for name in SIZED for size in (128, 256)] + [
    ("text_encoder", None)
]


def inputs(
    spec: object, name: GraphName, size: int | None, batch: int, points: int, masks: int
) -> dict[str, np.ndarray]:
    """The probe, with another number of prompts, texts or photos, of points, and of masks; each photo is darker."""
    base = probe(spec, name, size)  # type: ignore[arg-type]
    sides = {"I": batch, "B": batch, "N": points, "M": masks, "L": 77}
    out = {}
    for tensor in signature(spec, name, size).inputs:  # type: ignore[arg-type]
        shape = tuple(sides[side] if isinstance(side, str) else side for side in tensor.shape)
        out[tensor.name] = np.resize(base[tensor.name], shape)
        if tensor.shape[0] == "I":
            out[tensor.name] *= np.linspace(1, 0.5, batch, dtype=np.float32).reshape(-1, 1, 1, 1)
    return out


@pytest.mark.parametrize(("name", "size"), GRAPHS)
def test_modules_made_for_tracing_answer_as_the_model(tiny_checkpoint: Path, name: GraphName, size: int | None) -> None:
    model, _ = checkpoint.load(tiny_checkpoint)
    asked = {key: torch.from_numpy(value) for key, value in probe(model.spec, name, size).items()}
    with torch.inference_mode():
        out = graph_module(model, name, size)(*asked.values())
    for a, b in zip(answer(model, name, asked), out if isinstance(out, tuple) else (out,), strict=True):
        assert off(a, b) < 1e-5


@pytest.mark.parametrize(("batch", "points", "masks"), [(1, 1, 1), (1, 4, 1), (5, 2, 5), (5, 2, 1), (64, 3, 1)])
@pytest.mark.parametrize(("name", "size"), GRAPHS)
def test_graphs_answer_as_torch_at_every_batch(
    tiny: SamClip, tiny_checkpoint: Path, name: GraphName, size: int | None, batch: int, points: int, masks: int
) -> None:
    model, _ = checkpoint.load(tiny_checkpoint)
    asked = inputs(model.spec, name, size, batch, points, masks)
    got = tiny.sessions.run(name, size, **asked)
    wanted = answer(model, name, {key: torch.from_numpy(value) for key, value in asked.items()})
    for tensor, value in zip(signature(model.spec, name, size).outputs, wanted, strict=True):
        assert off(value, got[tensor.name]) < TOLERANCE
        assert got[tensor.name].dtype == tensor.dtype


def test_a_mask_alone_prompts_without_points(tiny: SamClip, tiny_checkpoint: Path) -> None:
    model, _ = checkpoint.load(tiny_checkpoint)
    asked = inputs(model.spec, "prompt_encoder", 128, 2, 0, 2)
    got = tiny.sessions.run("prompt_encoder", 128, **asked)
    wanted = answer(model, "prompt_encoder", {key: torch.from_numpy(value) for key, value in asked.items()})
    assert got["sparse"].shape == (2, 0, 256)
    assert off(wanted[1], got["dense"]) < TOLERANCE


@pytest.mark.parametrize("size", PRESETS["vit_b"].sizes)
def test_vit_b_answers_as_torch(vit_b: VitB, size: int) -> None:
    """Measured at export on the probe and on real photos; the checksum ties the figure to the file."""
    for name in SIZED:
        graph = vit_b.bundle.graph(name, size)
        assert set(graph.parity) == {tensor.name for tensor in graph.signature.outputs}
        for parity in graph.parity.values():
            assert parity.error < TOLERANCE
            assert parity.cosine > 0.999999


def test_vit_b_bundle_verifies(vit_b: VitB) -> None:
    rows = verify(vit_b.bundle, SessionOptions(2))
    assert all(row.ok for row in rows)
    assert len(rows) > 30


def test_graphs_use_only_what_every_engine_takes(tiny_folder: Path, vit_b: VitB) -> None:
    for folder in (tiny_folder, vit_b.bundle.folder):
        for path in folder.glob("*.onnx"):
            model = onnx.load(path, load_external_data=False)
            assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
            assert {node.op_type for node in model.graph.node} <= PORTABLE
            assert not model.functions
            text = path.read_bytes()
            assert b".py" not in text, "a stack trace of the machine that exported"
            for tensor in (*model.graph.input, *model.graph.output):
                sides = [side.dim_param or side.dim_value for side in tensor.type.tensor_type.shape.dim]
                assert all(
                    side in ("I", "B", "N", "M", "L") or (isinstance(side, int) and side > 0) for side in sides
                ), tensor.name


def test_sizes_share_their_weights(vit_b: VitB) -> None:
    """Sizes of the encoder weigh what SAM's encoder does once, and their own position tables."""
    encoder = vit_b.torch.image_encoder
    parameters = sum(p.numel() for p in encoder.parameters()) * 4
    grids = [size // 16 for size in vit_b.torch.spec.sizes]
    tables = sum(4 * (768 * grid * grid + 4 * 2 * 64 * grid * grid + 8 * 2 * 64 * 14 * 14) for grid in grids)
    weights = (vit_b.bundle.folder / "image_encoder.weights").stat().st_size
    assert weights < 1.01 * (parameters + tables)
    assert {path.name for path in vit_b.bundle.folder.glob("*.weights")} == {
        f"{name}.weights" for name in (*SIZED, "text_encoder")
    }


def test_a_graph_that_is_off_leaves_no_bundle(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]
) -> None:
    def faulty(module: torch.nn.Module, *arguments: object) -> onnx.ModelProto:
        model = trace(module, *arguments)
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.name == "epsilon":
                    attribute.f = 1e-2
        return model

    trace = exporting.trace
    monkeypatch.setattr(exporting, "trace", faulty)
    with pytest.raises(ParityError, match=r"image_encoder_128\.onnx"):
        exporting.export_onnx(tiny_checkpoint, tmp_path / "bundle", [128])
    assert not list(tmp_path.iterdir())
    ran = run("export", "--model", tiny_checkpoint, "--size", 128, "-o", tmp_path / "bundle")
    assert (ran.code, ran.err.count("\n"), ran.out) == (1, 1, "")
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_the_old_bundle(
    tiny_checkpoint: Path, bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir()}
    monkeypatch.setattr(exporting, "trace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exporting.export_onnx(tiny_checkpoint, bundle_copy, [128])
    assert {path.name: path.read_bytes() for path in bundle_copy.iterdir()} == before
    assert [path.name for path in bundle_copy.parent.iterdir()] == [bundle_copy.name]


def test_an_export_replaces_a_bundle_and_nothing_else(
    tiny_checkpoint: Path, bundle_copy: Path, run: Callable[..., Ran]
) -> None:
    ran = run("export", "--model", tiny_checkpoint, "--size", 128, "-o", bundle_copy, "--json")
    assert ran.code == 0
    assert {graph["size"] for graph in ran.json["graphs"]} == {128, None}
    assert Bundle.open(bundle_copy).manifest.sizes == (128,)
    assert not (bundle_copy / "image_encoder_256.onnx").exists()
    assert [path.name for path in bundle_copy.parent.iterdir()] == [bundle_copy.name]

    other = bundle_copy.parent / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    ran = run("export", "--model", tiny_checkpoint, "--size", 128, "-o", other)
    assert ran.code == 2
    assert "holds other files" in ran.err
    assert (other / "thesis.txt").read_text() == "years of work"


def test_export_names_bad_options(tiny_checkpoint: Path, tmp_path: Path, run: Callable[..., Ran]) -> None:
    empty = tmp_path / "names.txt"
    empty.write_text("\n\n")
    out = tmp_path / "bundle"
    for arguments, named in (
        (("--size", 100), "--size 100"),
        (("--target", "tflite"), "--target tflite"),
        (("--precision", "fp8"), "--precision fp8"),
        (("--vocabulary", empty), str(empty)),
        (("--vocabulary", tmp_path / "none.txt"), "none.txt"),
        (("--model", tmp_path / "none.safetensors"), "none.safetensors"),
    ):
        ran = run("export", "--model", tiny_checkpoint, "-o", out, *arguments)
        assert (ran.code, ran.err.count("\n"), ran.out) == (2, 1, "")
        assert named in ran.err
        assert not out.exists()


def test_a_vocabulary_replaces_the_text_encoder(
    vocabulary_folder: Path, tiny_folder: Path, run: Callable[..., Ran]
) -> None:
    assert not (vocabulary_folder / "text_encoder.onnx").exists()
    photo = data.photos()[0]
    ours, whole = SamClip.load(vocabulary_folder), SamClip.load(tiny_folder)
    names = ["dog", "cup of coffee", "cat"]
    a, b = ours.look(photo).classify(names), whole.look(photo, 128).classify(names)
    assert [guess.label for guess in a] == [guess.label for guess in b]
    np.testing.assert_allclose([guess.score for guess in a], [guess.score for guess in b], atol=1e-5)
    assert ours.words.vocabulary == ["cat", "dog", "cup of coffee", "background"]
    assert len(ours.look(photo).find(["cat", "dog"])) == len(whole.look(photo, 128).find(["cat", "dog"]))
    ran = run("classify", photo, "--label", "horse", "--bundle", vocabulary_folder)
    assert ran.code == 2
    assert "'horse'" in ran.err
    assert ran.err.splitlines()[-1].startswith("error:")


def test_text_features_are_those_of_open_clip(vit_b: VitB, clip: torch.nn.Module) -> None:
    import open_clip

    texts = ["a photo of a dog.", "", "Ein Fuß & ﬁsh", "x " * 200, "😀 犬 naïve café", "a red <b>square</b> on “blue”"]
    with torch.inference_mode():
        theirs = clip.encode_text(open_clip.get_tokenizer("ViT-L-14")(texts), normalize=True)
    assert off(theirs, vit_b.model.words.encode(texts)) < TOLERANCE
    assert vit_b.bundle.manifest.text.logit_scale == pytest.approx(float(clip.logit_scale.exp()))


def test_graphs_are_opened_once_and_only_when_asked(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_session = onnxruntime.open_session
    opened = []
    monkeypatch.setattr(
        onnxruntime, "open_session", lambda *given: opened.append(given[1].name) or open_session(*given)
    )
    sessions = Sessions(Bundle.open(tiny_folder))
    assert opened == []
    asked = probe(PRESETS["tiny"], "clip_head", 128)
    sessions.run("clip_head", 128, **asked)
    sessions.run("clip_head", 128, **asked)
    assert opened == ["clip_head"]
