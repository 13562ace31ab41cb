"""The TensorRT runtime over stand-ins for a GPU and its engine (`standin`): answers, buffers, graphs, and faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standin import Context, forget, jetson
from standin_cuda import Gpu
from support import Ran, iou

from samclip_edge import SamClip, data
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.bundle.verify import verify
from samclip_edge.errors import InputError
from samclip_edge.export.options import TensorRTOptions
from samclip_edge.export.targets.tensorrt import export_tensorrt
from samclip_edge.export.targets.tensorrt_builders import choose
from samclip_edge.photo.read import read_photo
from samclip_edge.runtimes.tensorrt import library
from samclip_edge.runtimes.tensorrt.__main__ import record
from samclip_edge.runtimes.tensorrt.library import load_module

SIZE = 128
WORDS = ["red circle", "blue square", "green triangle"]


@pytest.fixture(scope="module")
def onnx_only(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped model in float32, one size, without engines."""
    folder = tmp_path_factory.mktemp("trt") / "bundle"
    return export_tensorrt(
        data.CHECKPOINTS["tiny"], folder, [SIZE], precision="fp32", options=TensorRTOptions(only_onnx=True)
    )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    with jetson(monkeypatch) as (state, _):
        yield state


def build(bundle: Bundle, folder: Path, version: str = "10.3") -> tuple[int, str]:
    """Run a copy of the bundle's `build.sh` with a stand-in of trtexec; its exit code and what it printed."""
    for file in bundle.files():
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_bytes((bundle.folder / file.path).read_bytes())
    (folder / MANIFEST).write_bytes((bundle.folder / MANIFEST).read_bytes())
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    programs = {"trtexec": f'exec {sys.executable} {Path(__file__).parent.parent / "standin.py"} {version} "$@"'}
    programs["recorder"] = 'echo recorded "$@"'  # in this process, where the stand-ins are
    for name, line in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": str(tools / "recorder")}
    ran = subprocess.run(["sh", folder / "build.sh"], env=env, cwd="/", capture_output=True, text=True)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def bundle(onnx_only: Bundle, gpu: Gpu, tmp_path: Path) -> Bundle:
    """The same with engines, built by its script."""
    code, out = build(onnx_only, tmp_path / "bundle")
    assert code == 0, out
    assert "recorded -m samclip_edge.runtimes.tensorrt ." in out
    assert not list((tmp_path / "bundle").glob("*.log"))
    record(tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def test_the_pipeline_answers_as_onnx_runtime_does(bundle: Bundle) -> None:
    on_gpu, on_cpu = SamClip(bundle), SamClip(bundle, SessionOptions(interpreted=True))
    for photo in data.photos()[:2]:
        pixels = read_photo(photo)
        ours, theirs = on_gpu.look(pixels), on_cpu.look(pixels)
        assert [each.label for each in ours.classify(WORDS)] == [each.label for each in theirs.classify(WORDS)]
        for asked in ({"points": [[60, 80]]}, {"boxes": [[10, 10, 90, 90], [5, 5, 60, 60]]}):
            for a, b in zip(ours.segment(**asked), theirs.segment(**asked), strict=True):
                assert a.score == pytest.approx(b.score, abs=1e-5)
                assert iou(a.bits, b.bits) > 0.999
        mask = ours.segment(points=[[60, 80]])[0].logits
        assert len(ours.segment(mask=mask)) == 1, "a mask alone is a prompt of no points"
        for a, b in zip(ours.find(WORDS), theirs.find(WORDS), strict=True):
            assert iou(a.bits, b.bits) > 0.999
    assert all(row.ok for row in verify(bundle))


def test_embeddings_stay_on_the_gpu_and_outlive_the_next_photo(bundle: Bundle, gpu: Gpu) -> None:
    model, spec = SamClip(bundle), bundle.manifest.spec
    first, second = (model.look(read_photo(photo)) for photo in data.photos()[:2])
    gpu.count.clear()
    masks = first.segment(points=[[60, 80]])
    grid, low = spec.grid(SIZE), SIZE // 4
    up = 4 * (2 * 2 + 2 + low * low + 1)  # points, labels, a mask, whether to heed it
    assert gpu.count["cudaMemcpyHostToDevice"] == up
    assert gpu.count["cudaMemcpyDeviceToHost"] == 4 * (4 * low * low + 4)  # masks and scores
    embedding, sparse = 256 * grid * grid, 2 * 256  # dense is as large as an embedding
    assert gpu.count["cudaMemcpyDeviceToDevice"] == 4 * (2 * (sparse + embedding) + embedding)  # handed out and in
    before = np.array(first.embedding)
    del second
    third = model.look(read_photo(data.photos()[1]))
    np.testing.assert_array_equal(first.embedding, before)
    assert not np.array_equal(third.embedding, before)
    assert iou(first.segment(points=[[60, 80]])[0].bits, masks[0].bits) == 1


def test_a_loop_allocates_no_more_and_replays_what_it_captured(bundle: Bundle, gpu: Gpu) -> None:
    model, pixels = SamClip(bundle), read_photo(data.photos()[0])

    scenes = []

    def step() -> list[Any]:
        scenes.append(model.look(pixels))
        del scenes[:-1]  # as in a loop whose variable holds a scene until the next is there
        return [mask.score for mask in scenes[0].segment(boxes=[[10, 10, 90, 90]])]

    wanted = [step() for _ in range(3)]
    blocks = set(gpu.memory)
    gpu.count.clear()
    again = [step() for _ in range(4)]
    assert wanted[:1] * 4 == again
    assert set(gpu.memory) == blocks
    assert gpu.count["launches"] == 0, "every call is one launch of a captured graph"
    assert gpu.count["replays"] == 4 * 3  # encoder, prompts, masks
    assert gpu.count["captures"] == 0


def test_engines_share_their_working_memory_which_grows_with_what_is_asked(bundle: Bundle, gpu: Gpu) -> None:
    model, pixels = SamClip(bundle), read_photo(data.photos()[0])

    def click() -> float:
        return model.look(pixels).segment(points=[[60, 80]])[0].score

    wanted = [click() for _ in range(3)]  # captured by now
    gpu.workspaces.clear()
    wanted.append(click())
    assert len(gpu.workspaces) == 1, "one for all"
    (few,) = (len(gpu.memory[each]) for each in gpu.workspaces)
    boxes = [[i, i, 90, 90] for i in range(64)]
    scores = [mask.score for mask in model.look(pixels).segment(boxes=boxes)]
    (many,) = (len(gpu.memory[each]) for each in gpu.workspaces & gpu.memory.keys())  # what was outgrown is given back
    assert many > 10 * few
    assert [click() for _ in range(3)] == wanted[1:], "and no capture wants it back"
    assert [mask.score for mask in model.look(pixels).segment(boxes=boxes)] == scores


def test_an_engine_that_cannot_say_what_it_needs_gets_the_most(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(context: Context) -> int:
        context.needs = context.engine.device_memory_size_v2
        return 0

    monkeypatch.setattr(Context, "update_device_memory_size_for_shapes", fail)
    photo = read_photo(data.photos()[0])
    wanted = SamClip(bundle, SessionOptions(interpreted=True)).look(photo).segment(points=[[60, 80]])[0].score
    assert SamClip(bundle).look(photo).segment(points=[[60, 80]])[0].score == pytest.approx(wanted, abs=1e-5)


def test_tensorrt_rtx_is_left_to_capture_by_itself(bundle: Bundle, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture of ours would keep the general kernels that it runs before those for the shapes are compiled."""
    strategies = load_module("tensorrt").CudaGraphStrategy.__members__
    monkeypatch.setattr(library, "_MODULES", {"tensorrt_rtx": ("tensorrt",)})
    change(bundle, builder="tensorrt_rtx")
    pixels, model = read_photo(data.photos()[0]), SamClip.load(bundle.folder)
    wanted = SamClip(bundle, SessionOptions(interpreted=True)).look(pixels).segment(points=[[60, 80]])[0].score
    for _ in range(4):
        assert model.look(pixels).segment(points=[[60, 80]])[0].score == pytest.approx(wanted, abs=1e-5)
    assert (gpu.count["captures"], gpu.count["launches"]) == (0, 4 * 3)
    assert gpu.count["captured by the engine"] == 4 * 3
    monkeypatch.undo()
    forget()
    real = load_module("tensorrt_rtx")
    assert set(strategies) == set(real.CudaGraphStrategy.__members__)
    assert {"create_runtime_config", "create_execution_context", "device_memory_size_v2"} <= set(dir(real.ICudaEngine))
    assert {"cuda_graph_strategy", "set_execution_context_allocation_strategy"} <= set(dir(real.IRuntimeConfig))
    assert {"set_device_memory", "update_device_memory_size_for_shapes"} <= set(dir(real.IExecutionContext))


def test_memory_is_given_back(bundle: Bundle, gpu: Gpu) -> None:
    model = SamClip(bundle)
    scene = model.look(read_photo(data.photos()[0]))
    scene.segment(points=[[60, 80]])
    assert gpu.memory
    del scene, model
    assert not gpu.memory


def test_threads_share_a_model(bundle: Bundle) -> None:
    model = SamClip(bundle)
    photos = [read_photo(photo) for photo in data.photos()[:2]]
    wanted = [model.look(pixels).segment(points=[[60, 80]])[0].score for pixels in photos]
    found: list[tuple[int, float]] = []

    def ask(index: int) -> None:
        for _ in range(4):
            found.append((index, model.look(photos[index]).segment(points=[[60, 80]])[0].score))

    threads = [threading.Thread(target=ask, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert all(score == wanted[index] for index, score in found)


def test_more_prompts_than_the_engine_takes_are_refused_in_a_line(bundle: Bundle) -> None:
    scene = SamClip(bundle).look(read_photo(data.photos()[0]))
    assert len(scene.segment(boxes=[[i, i, 90, 90] for i in range(70)])) == 70, "64 at once is the pipeline's own limit"
    with pytest.raises(InputError, match=r"takes points of \(1, 0, 2\) to \(64, 32, 2\), not \(1, 41, 2\)"):
        scene.segment(points=[[i, i] for i in range(40)])
    assert len(scene.segment(points=[[60, 80]])) == 1, "and the engine goes on"


def change(bundle: Bundle, **engines: Any) -> None:
    path = bundle.folder / MANIFEST
    fields = json.loads(path.read_text())
    fields["engines"].update(engines)
    path.write_text(json.dumps(fields))


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "another GPU": ({"capabilities": ["8.9", "12.0"]}, "engines for compute capability 8.9, 12.0; this GPU is 8.7"),
    "another version": ({"version": "10.7.0"}, "engines of tensorrt 10.7.0; here is 10.3.0"),
    "another builder": ({"builder": "tensorrt_rtx"}, "tensorrt_rtx: is not installed here"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_engines_of_another_machine_are_refused_in_a_line(fault: str, bundle: Bundle, run: Callable[..., Ran]) -> None:
    changes, wanted = FAULTS[fault]
    change(bundle, **changes)
    ran = run("classify", data.photos()[0], "--label", "cat", "--label", "dog", "--bundle", bundle.folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert wanted in ran.err


def test_version_compatible_engines_are_not_asked_for_their_version(bundle: Bundle) -> None:
    change(bundle, version="10.2.0", portable=True)
    assert SamClip.load(bundle.folder).look(read_photo(data.photos()[0])).embedding.shape == (1, 256, 8, 8)


def test_a_corrupt_engine_is_refused_in_a_line(bundle: Bundle, run: Callable[..., Ran]) -> None:
    engine = bundle.folder / f"image_encoder_{SIZE}.engine"
    engine.write_bytes(b"\xff" + engine.read_bytes()[1:])
    asked = ("segment", data.photos()[0], "--point", "60,80", "--bundle", bundle.folder)
    ran = run(*asked)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "its sha256 is not the manifest's" in ran.err
    fields = json.loads((bundle.folder / MANIFEST).read_text())  # and one that was corrupt when it was recorded
    for graph in fields["graphs"]:
        if graph["name"] == "image_encoder":
            graph["engine"] = describe(bundle.folder, engine).model_dump()
    (bundle.folder / MANIFEST).write_text(json.dumps(fields))
    ran = run(*asked)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "tensorrt refuses it (Error Code 1: Serialization" in ran.err


def test_a_bundle_without_engines_says_how_to_build_them(onnx_only: Bundle, gpu: Gpu, run: Callable[..., Ran]) -> None:
    ran = run("classify", data.photos()[0], "--label", "cat", "--label", "dog", "--bundle", onnx_only.folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"has no engines yet; build them here: sh {onnx_only.folder}/build.sh" in ran.err


def test_without_a_gpu_it_says_so_in_a_line(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]
) -> None:
    monkeypatch.undo()
    forget()
    ran = run("classify", data.photos()[0], "--label", "cat", "--label", "dog", "--bundle", bundle.folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "no NVIDIA GPU here" in ran.err
    assert all(row.ok for row in verify(bundle)), "its ONNX is checked anywhere"


def test_a_script_that_fails_says_where(onnx_only: Bundle, gpu: Gpu, tmp_path: Path) -> None:
    broken = onnx_only.manifest.graphs[1].files[0]
    copy = tmp_path / "bundle"
    code, _ = build(onnx_only, copy, "10.13")
    assert code == 0
    (copy / broken.path).unlink()
    ran = subprocess.run(
        ["sh", copy / "build.sh"],
        env={**os.environ, "PATH": f"{tmp_path / 'tools'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith(f"error: {Path(broken.path).stem}: trtexec failed: ")
    (copy / f"image_encoder_{SIZE}.engine").unlink()
    with pytest.raises(InputError, match="is not there; run sh"):
        record(copy)


@pytest.mark.parametrize("stripped", [False, True])
def test_the_builder_of_the_device(stripped: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--builder tensorrt`: typed, with profiles, kernel times kept; engines without weights get them when loaded."""
    with jetson(monkeypatch) as (_, module):
        if stripped:  # and newer
            module.PreviewFeature = IntEnum("PreviewFeature", {"RUNTIME_ACTIVATION_RESIZE_10_10": 2})
        options = TensorRTOptions("tensorrt", portable=True, stripped=stripped, timing_cache=tmp_path / "times")
        made = export_tensorrt(
            data.CHECKPOINTS["tiny"], tmp_path / "b", [SIZE], WORDS, precision="fp16", options=options
        )
        engines = made.manifest.engines
        assert engines is not None
        assert (engines.builder, engines.capabilities, engines.version) == ("tensorrt", ("8.7",), "10.3.0")
        assert (engines.portable, engines.stripped) == (True, stripped)
        assert (tmp_path / "times").read_bytes() == b"++++", "of four builds, each added to"
        flags = {frozenset(config.flags) for config in module.configs}
        assert flags == {frozenset({2, 3} if stripped else {2})}
        assert {tuple(config.preview.items()) for config in module.configs} == {((2, True),) if stripped else ()}
        scene = SamClip(made).look(read_photo(data.photos()[0]))
        wanted = SamClip(made, SessionOptions(interpreted=True)).look(read_photo(data.photos()[0]))
        np.testing.assert_allclose(scene.embedding, wanted.embedding, atol=1e-5)
        (tmp_path / "times").write_bytes(b"another GPU")
        with pytest.raises(InputError, match=r"--timing-cache .*times: is not of this GPU"):
            choose(options).build(made.folder / "clip_head_128.onnx", {})
