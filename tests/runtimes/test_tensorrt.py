"""The TensorRT runtime, over a stand-in of the GPU, answers as ONNX Runtime does and keeps its buffers and graphs."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from standin import change, forget
from standin_cuda import Gpu
from standin_engine import Context
from support import iou

from samclip_edge import SamClip, data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.bundle.verify import verify
from samclip_edge.encoded import BATCH
from samclip_edge.photo.read import read_photo
from samclip_edge.runtimes.tensorrt import library
from samclip_edge.runtimes.tensorrt.library import load_module

SIZE = 128
WORDS = ["red circle", "blue square", "green triangle"]


def test_the_pipeline_answers_as_onnx_runtime_does(bundle: Bundle) -> None:
    on_gpu, on_cpu = SamClip(bundle), SamClip(bundle, SessionOptions(interpreted=True))
    for photo in data.photos()[:2]:
        pixels = read_photo(photo)
        ours, theirs = on_gpu.look(pixels), on_cpu.look(pixels)
        assert [each.label for each in ours.classify(WORDS)] == [each.label for each in theirs.classify(WORDS)]
        for asked in ({"points": [[60, 80]]}, {"boxes": [[10, 10, 90, 90], [5, 5, 60, 60]]}):
            for a, b in zip(ours.segment(**asked), theirs.segment(**asked), strict=True):
                assert a.predicted_iou == pytest.approx(b.predicted_iou, abs=1e-5)
                assert iou(a.bits, b.bits) > 0.999
        mask = ours.segment(points=[[60, 80]])[0].logits
        assert len(ours.segment(mask=mask)) == 1, "a mask alone is a prompt of no points"
        for a, b in zip(ours.find(WORDS), theirs.find(WORDS), strict=True):
            assert iou(a.bits, b.bits) > 0.999
    assert all(row.ok for row in verify(bundle))


def test_embeddings_stay_on_the_gpu_and_outlive_the_next_photo(bundle: Bundle, gpu: Gpu) -> None:
    model = SamClip(bundle)
    first, second = (model.look(read_photo(photo)) for photo in data.photos()[:2])
    gpu.count.clear()
    masks = first.segment(points=[[60, 80]])
    grid, low = SIZE // 16, SIZE // 4
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
        return [mask.predicted_iou for mask in scenes[0].segment(boxes=[[10, 10, 90, 90]])]

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
        return model.look(pixels).segment(points=[[60, 80]])[0].predicted_iou

    wanted = [click() for _ in range(3)]  # captured by now
    gpu.workspaces.clear()
    wanted.append(click())
    assert len(gpu.workspaces) == 1, "one for all"
    (few,) = (len(gpu.memory[each]) for each in gpu.workspaces)
    boxes, refined = [[i, i, 90, 90] for i in range(BATCH)], np.ones((BATCH, SIZE // 4, SIZE // 4), np.float32)

    def refine() -> list[float]:
        return [mask.predicted_iou for mask in model.look(pixels).segment(boxes=boxes, mask=refined)]

    scores = refine()
    (many,) = (len(gpu.memory[each]) for each in gpu.workspaces & gpu.memory.keys())  # what was outgrown is given back
    assert many > BATCH / 6 * few
    assert [click() for _ in range(3)] == wanted[1:], "and no capture wants it back"
    assert refine() == scores


def test_an_engine_that_cannot_say_what_it_needs_gets_the_most(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(context: Context) -> int:
        context.needs = context.engine.device_memory_size_v2
        return 0

    monkeypatch.setattr(Context, "update_device_memory_size_for_shapes", fail)
    photo = read_photo(data.photos()[0])
    wanted = SamClip(bundle, SessionOptions(interpreted=True)).look(photo).segment(points=[[60, 80]])[0].predicted_iou
    assert SamClip(bundle).look(photo).segment(points=[[60, 80]])[0].predicted_iou == pytest.approx(wanted, abs=1e-5)


def test_tensorrt_rtx_is_left_to_capture_by_itself(bundle: Bundle, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture of ours would keep the general kernels that it runs before those for the shapes are compiled."""
    strategies = load_module("tensorrt").CudaGraphStrategy.__members__
    monkeypatch.setattr(library, "_MODULES", {"tensorrt_rtx": ("tensorrt",)})
    change(bundle, builder="tensorrt_rtx")
    pixels, model = read_photo(data.photos()[0]), SamClip.load(bundle.folder)
    wanted = SamClip(bundle, SessionOptions(interpreted=True)).look(pixels).segment(points=[[60, 80]])[0].predicted_iou
    for _ in range(4):
        assert model.look(pixels).segment(points=[[60, 80]])[0].predicted_iou == pytest.approx(wanted, abs=1e-5)
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
    wanted = [model.look(pixels).segment(points=[[60, 80]])[0].predicted_iou for pixels in photos]
    found: list[tuple[int, float]] = []

    def ask(index: int) -> None:
        for _ in range(4):
            found.append((index, model.look(photos[index]).segment(points=[[60, 80]])[0].predicted_iou))

    threads = [threading.Thread(target=ask, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert all(score == wanted[index] for index, score in found)
