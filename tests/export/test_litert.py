"""`export --target litert`: every signature answers as torch does, in the engine itself; so does the pipeline."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from filelock import FileLock
from support import TEMPLATES, TOLERANCE, Ran, iou, off

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import MEANINGS, GraphName, probe, signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.verify import verify
from samclip_edge.errors import InputError
from samclip_edge.export.options import Int8Way, LiteRTOptions
from samclip_edge.export.parity import ask
from samclip_edge.export.targets import litert, litert_signatures
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model.checkpoint import load

SIZES = [128, 144]
CHECKPOINT = data.CHECKPOINTS["tiny"]


@pytest.fixture(scope="module")
def bundle(shared: Path) -> Bundle:
    """`tiny` at two sizes, with signatures for fewer numbers than an export has, since each takes seconds."""
    folder = shared / "litert"
    with FileLock(f"{folder}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(litert_signatures, "PROMPTS", (1, 4))
        patch.setattr(litert_signatures, "POINTS", (2, 3))
        patch.setattr(litert_signatures, "TEXTS", (1, 4))
        patch.setattr(litert_signatures, "LENGTHS", (8,))
        if not folder.exists():
            litert.export_litert(CHECKPOINT, folder, SIZES, templates=TEMPLATES)
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> SamClip:
    return SamClip.load(bundle.folder)


@pytest.fixture(scope="module")
def onnx(shared: Path) -> SamClip:
    folder = shared / "litert-onnx"
    with FileLock(f"{folder}.lock"):
        return SamClip.load(
            folder if folder.exists() else export_onnx(CHECKPOINT, folder, SIZES, templates=TEMPLATES).folder
        )


def test_a_file_has_a_signature_for_each_size_and_number_by_the_contracts_names(bundle: Bundle) -> None:
    files = {graph.name: bundle.folder / graph.files[0].path for graph in bundle.manifest.graphs}
    assert {name: path.name for name, path in files.items()} == {name: f"{name}.tflite" for name in files}
    found = Interpreter(str(files["mask_decoder"])).get_signature_list()
    assert set(found) == {f"size_{size}_{b}x{n}" for size in SIZES for b in (1, 4) for n in (2, 3)}
    assert {name for each in found.values() for name in each["inputs"]} == {"embedding", "sparse", "dense"}
    assert {name for each in found.values() for name in each["outputs"]} == {"masks", "scores"}
    assert set(Interpreter(str(files["text_encoder"])).get_signature_list()) == {
        f"texts_{b}x{length}" for b in (1, 4) for length in (8, 77)
    }


@pytest.mark.parametrize("name", [name for name in get_args(GraphName) if name != "clip_image_encoder"])
def test_with_points_a_call_has_one_prompt_or_text(name: GraphName) -> None:
    spec = PRESETS["tiny"]
    sides = signature(spec, name, 128).fixed({"I": 1, "M": 1})
    found = litert_signatures.signatures(spec, name, 128, sides, 2)
    assert found
    assert {call.sides.get("B", 1) for call in found} == {1}
    assert {call.sides.get("N", 2) for call in found} == {2}


def test_each_signature_answers_as_torch_does(bundle: Bundle) -> None:
    """Straight in the engine, without this package's session."""
    model, _ = load(CHECKPOINT)
    for graph in bundle.manifest.graphs:
        interpreter = Interpreter(str(bundle.folder / graph.files[0].path))
        for call in graph.calls:
            inputs = probe(model.spec, graph.name, graph.size, fixed={"M": 1, **call.sides})
            got = interpreter.get_signature_runner(call.function)(**inputs)
            for name, wanted in ask(model, graph.name, graph.size, inputs)[1].items():
                assert off(wanted, got[name]) < TOLERANCE


def test_sizes_and_signatures_share_their_weights(bundle: Bundle) -> None:
    model, _ = load(CHECKPOINT)
    counts = {
        name: sum(each.numel() for each in getattr(model, name).parameters() if each.numel() >= 1024)
        for name in ("image_encoder", "clip_head", "mask_decoder", "text_encoder")
    }
    signatures = {"image_encoder": 2, "clip_head": 2, "mask_decoder": 8, "text_encoder": 4}
    sizes = {graph.name: graph.files[0].bytes for graph in bundle.manifest.graphs}
    for name, count in counts.items():
        assert 3.8 * count < sizes[name] < 4 * count + 500_000 * signatures[name]


def test_a_file_says_what_its_inputs_and_outputs_are(bundle: Bundle) -> None:
    for graph in bundle.manifest.graphs:
        read = flatbuffer_utils.read_model(str(bundle.folder / graph.files[0].path))
        (entry,) = (each for each in read.metadata if each.name == b"samclip_edge")
        told = json.loads(bytes(read.buffers[entry.buffer].data))
        names = [each.name for each in (*graph.signature.inputs, *graph.signature.outputs)]
        assert told == {name: MEANINGS[name] for name in names}


def test_info_lists_the_signatures_and_what_is_left_to_the_cpu(run: Callable[..., Ran], bundle: Bundle) -> None:
    told = run("info", bundle.folder).out
    for size in SIZES:
        assert all(f"size_{size}_{b}x{n}" in told for b in (1, 4) for n in (2, 3))
        assert told.count(f"mask_decoder {size}") == 3  # its sides, its processors, its operators
    found = run("info", bundle.folder, "--json").json
    assert found["ops"][f"image_encoder {SIZES[0]}"]["CONV_2D"] > 0
    left = {graph["name"]: graph["left_to_cpu"] for graph in found["manifest"]["graphs"]}
    assert left["mask_decoder"] == {"GPU": [], "Qualcomm NPU": [], "MediaTek NPU": []}


def test_verify_runs_the_engine(bundle: Bundle) -> None:
    rows = verify(bundle)
    assert all(row.ok for row in rows)
    assert {row.what.split(":")[0] for row in rows} >= {f"{name} {SIZES[1]}" for name in ("mask_decoder", "clip_head")}


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_pipeline_answers_as_in_onnx_runtime(model: SamClip, onnx: SamClip, size: int) -> None:
    ours, theirs = (each.look(data.photos()[0], size=size) for each in (model, onnx))
    names = ["cat", "coffee cup", "circle", "red square", "astronaut"]
    got, wanted = ours.classify(names), theirs.classify(names)
    assert [each.label for each in got] == [each.label for each in wanted]
    assert np.allclose([each.score for each in got], [each.score for each in wanted], atol=1e-3)
    boxes = np.array([[10 * k, 5 * k, 120 + 30 * k, 100 + 40 * k] for k in range(7)], float)
    points, labels = np.array([[[40, 60], [90, 80]]] * 5, float), np.array([[1, 0]] * 5)
    for given in ({"boxes": boxes}, {"points": points, "labels": labels}, {"points": points[:1, :1]}):
        masks, right = ours.segment(**given), theirs.segment(**given)
        assert len(masks) == len(right) > 0
        assert min(iou(a.bits, b.bits) for a, b in zip(masks, right, strict=True)) >= 0.995
    found, right = ours.find(names, points=1, min_score=0.0), theirs.find(names, points=1, min_score=0.0)
    assert [each.label for each in found] == [each.label for each in right]
    assert min(iou(a.bits, b.bits) for a, b in zip(found, right, strict=True)) >= 0.995


def test_a_prompt_that_no_signature_is_for_is_refused_in_a_line(model: SamClip) -> None:
    scene = model.look(data.photos()[0])
    with pytest.raises(InputError, match=r"has 5 points, .*the bundle takes 2, 3: give fewer or more"):
        scene.segment(points=[[10, 10], [20, 20], [30, 30], [40, 40]])


def spoilt(bundle: Bundle, folder: Path, name: str, change: Callable[[dict[str, Any], bytes], bytes]) -> Bundle:
    """A copy whose graph `name` is changed, entry and file, with the right sha256."""
    shutil.copytree(bundle.folder, folder)
    manifest = folder / "manifest.json"
    told = json.loads(manifest.read_text("utf-8"))
    for graph in told["graphs"]:
        if graph["name"] == name:
            path = folder / f"{name}.tflite"
            content = change(graph, (bundle.folder / path.name).read_bytes())
            path.write_bytes(content)
            graph["files"][0] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest.write_text(json.dumps(told), "utf-8")
    return Bundle.open(folder)


def test_a_file_that_breaks_off_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    short = spoilt(bundle, tmp_path / "short", "image_encoder", lambda _, content: content[: len(content) // 2])
    with pytest.raises(InputError, match=r"image_encoder\.tflite: LiteRT refuses it \(.*export the bundle again"):
        SamClip(short).look(data.photos()[0])


@pytest.mark.parametrize("sides", [{"B": 4, "N": 3}, {"B": 1}, {"B": 1, "N": 2, "L": 3}])
def test_a_manifest_that_lies_about_a_signature_is_refused(
    bundle: Bundle, tmp_path: Path, sides: dict[str, int]
) -> None:
    def lie(graph: dict[str, Any], content: bytes) -> bytes:
        graph["calls"][0]["sides"] = sides  # of a signature for one prompt of two points
        return content

    liar = spoilt(bundle, tmp_path / "liar", "mask_decoder", lie)
    with pytest.raises(InputError, match=r"its signature size_\d+_1x2 is not the manifest's"):
        SamClip(liar).look(data.photos()[0]).segment(points=[[10, 10]])


def test_a_graph_without_signatures_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    def leave_out(graph: dict[str, Any], content: bytes) -> bytes:
        graph["calls"] = []
        return content

    without = spoilt(bundle, tmp_path / "without", "image_encoder", leave_out)
    with pytest.raises(InputError, match=r"image_encoder\.tflite: the manifest lists no signature of it"):
        SamClip(without).look(data.photos()[0])


def test_an_input_of_another_shape_is_refused(model: SamClip) -> None:
    with pytest.raises(InputError, match=r"image is \(1, 3, 64, 64\), not \(1, 3, 128, 128\)"):
        model.sessions.run("image_encoder", 128, image=np.zeros((1, 3, 64, 64), np.float32))
    wide = np.full((1, 3, 128, 128), 9)
    narrow = wide.astype(np.float32)
    found, wanted = (model.sessions.run("image_encoder", 128, image=each)["embedding"] for each in (wide, narrow))
    assert np.array_equal(found, wanted)


def test_a_signature_of_fewer_than_one_prompt_is_no_manifest(bundle: Bundle, tmp_path: Path) -> None:
    def lie(graph: dict[str, Any], content: bytes) -> bytes:
        graph["calls"][0]["sides"]["B"] = -1
        return content

    with pytest.raises(InputError, match=r"calls\.0\.sides\.B: Input should be greater than or equal to 1"):
        spoilt(bundle, tmp_path / "liar", "mask_decoder", lie)


def test_graphs_opened_in_threads_leave_stderr_as_it_was(bundle: Bundle) -> None:
    before = os.fstat(2)
    model = SamClip.load(bundle.folder)
    size = model.sizes[0]
    threads = [
        threading.Thread(target=model.sessions.open, args=(name, size))
        for name in ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder")
    ]
    for thread in threads:
        thread.start()
    model.sessions.open("text_encoder")
    for thread in threads:
        thread.join()
    assert os.path.samestat(before, os.fstat(2))


def test_a_names_feature_does_not_depend_on_what_it_is_asked_with(bundle: Bundle) -> None:
    alone, among = (SamClip.load(bundle.folder).words for _ in range(2))
    names = ["cat", "dog", "a very long name of a thing that nobody has seen", "cup"]
    features = among.features(names)
    assert np.abs(features[0] - alone.features(["cat"])[0]).max() < 1e-6


def test_a_text_may_have_any_length(bundle: Bundle, model: SamClip) -> None:
    torch_model, _ = load(CHECKPOINT)
    tokens = torch_model.tokenizer()(["cat", "a photo of a large green bottle of wine on a table"])[:, :19]
    wanted = ask(torch_model, "text_encoder", None, {"tokens": tokens})[1]["text_features"]
    assert off(wanted, model.sessions.run("text_encoder", tokens=tokens)["text_features"]) < TOLERANCE


def halves(path: Path) -> set[str]:
    """The layers of a file whose weights are in half, as its operators' outputs are named."""
    model = flatbuffer_utils.read_model(str(path))
    kinds = flatbuffer_utils.schema_fb.TensorType
    found = set()
    for graph in model.subgraphs:
        half = {place for place, each in enumerate(graph.tensors) if each.type == kinds.FLOAT16}
        unpacked = {each.outputs[0] for each in graph.operators if each.inputs[0] in half}
        for each in graph.operators:
            if len(each.inputs) > 1 and each.inputs[1] in unpacked:
                found.add(graph.tensors[each.outputs[0]].name.decode().rsplit("/", 1)[0])
    return found


@pytest.mark.parametrize(("precision", "way"), [("fp16", "dynamic"), *(("int8", way) for way in get_args(Int8Way))])
def test_smaller_precisions_hold_and_say_what_they_cost(
    tmp_path: Path, bundle: Bundle, precision: str, way: str
) -> None:
    options = LiteRTOptions(points=2, int8=way)
    small = litert.export_litert(
        CHECKPOINT, tmp_path / "small", [128], ["cat", "dog"], precision=precision, options=options, templates=TEMPLATES
    )
    assert all(row.ok for row in verify(small))
    sizes = {graph.name: graph.files[0].bytes for graph in bundle.manifest.graphs}
    for graph in small.manifest.graphs:
        assert graph.points == (2 if graph.name in ("prompt_encoder", "mask_decoder") else None)
        if graph.name in ("image_encoder", "clip_head"):
            assert graph.files[0].bytes < (0.62 if precision == "fp16" else 0.45) * sizes[graph.name]
    if precision == "int8":
        assert small.manifest.quantisation == way
        assert small.manifest.measured_on
        encoder = next(graph for graph in small.manifest.graphs if graph.name == "image_encoder")
        assert 0 < max(each.error for each in encoder.moved.values()) < 0.1
        assert halves(small.folder / encoder.files[0].path) == set(encoder.in_float)
    scene = SamClip(small).look(data.photos()[0])
    (mask,) = scene.segment(boxes=[60, 40, 300, 260])
    (right,) = SamClip.load(bundle.folder).look(data.photos()[0], size=128).segment(boxes=[60, 40, 300, 260])
    assert iou(mask.bits, right.bits) > (0.995 if precision == "fp16" else 0.9)
