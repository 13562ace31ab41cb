"""Many threads and many looks."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import GraphName, probe
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Graph
from samclip_edge.bundle.sessions import Session, SessionOptions, Sessions
from samclip_edge.errors import InputError
from samclip_edge.photo.opened import OpenPhoto
from samclip_edge.photo.read import open_photo
from samclip_edge.runtimes import onnxruntime
from samclip_edge.tasks.everything import Settings


def ask(model: SamClip, photo: Path) -> list[object]:
    """Everything an app asks of a photo, as plain values."""
    scene = model.look(photo)
    found = scene.find(["cat", "dog", "cup"])
    every = scene.everything(["cat", "cup"], Settings(3, score=-9, stability=0))
    clicked = scene.segment(points=[[20, 30]])
    return [
        scene.classify(["cat", "dog", photo.stem]),
        [(mask.label, mask.rle["counts"], mask.score, mask.predicted_iou) for mask in (*found, *every, *clicked)],
    ]


def test_eight_threads_get_the_answers_of_one(tiny_folder: Path) -> None:
    alone = SamClip.load(tiny_folder)
    photos = data.photos() * 8
    wanted = {photo: ask(alone, photo) for photo in set(photos)}
    shared = SamClip.load(tiny_folder)  # a fresh one: its graphs are opened in the thick of it
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda photo: ask(shared, photo), photos))
    assert answers == [wanted[photo] for photo in photos]


def test_a_graph_is_opened_once_and_others_run_meanwhile(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(Bundle.open(tiny_folder))
    warm = sessions.open("prompt_encoder", 128)
    opened, begun, go = list[str](), threading.Event(), threading.Event()
    open_session = onnxruntime.open_session

    def slow(bundle: Bundle, graph: Graph, options: SessionOptions) -> Session:
        opened.append(graph.name)
        if graph.name == "clip_head":
            begun.set()
            assert go.wait(60)
        return open_session(bundle, graph, options)

    monkeypatch.setattr(onnxruntime, "open_session", slow)
    with ThreadPoolExecutor(4) as pool:
        heads = [pool.submit(sessions.open, "clip_head", 128) for _ in range(4)]
        try:
            assert begun.wait(60)
            assert sessions.open("prompt_encoder", 128) is warm
            sessions.run("mask_decoder", 128, **probe(sessions.bundle.manifest.spec, "mask_decoder", 128))
        finally:
            go.set()
        assert len({id(head.result()) for head in heads}) == 1
    assert sorted(opened) == ["clip_head", "mask_decoder"]


def test_eight_threads_may_ask_one_scene(tiny: SamClip) -> None:
    scene = tiny.look(data.photos()[0])
    with ThreadPoolExecutor(8) as pool:
        features = list(pool.map(lambda _: scene.patch_features, range(16)))
    assert all(np.array_equal(features[0], each) for each in features)


def test_500_looks_do_not_grow_memory(tiny_folder: Path) -> None:
    model, photos = SamClip.load(tiny_folder), data.photos()
    process = psutil.Process()

    def look(times: int) -> int:
        for index in range(times):
            scene = model.look(photos[index % len(photos)])
            scene.classify(["cat", "dog"])
            scene.segment(points=[[20, 30]])
        gc.collect()
        return process.memory_info().rss

    before = look(60)
    grown = look(500) - before
    assert grown < 8 * 2**20  # one leaked photo a look would be 300 MB


def test_graphs_are_opened_while_a_photo_is_read(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the photo waits for what `prepare` opens, so nothing else can have opened it."""
    model = SamClip.load(tiny_folder)
    names: list[GraphName] = ["image_encoder", "prompt_encoder", "mask_decoder"]
    opened = {name: threading.Event() for name in names}
    open_session = onnxruntime.open_session

    def told(bundle: Bundle, graph: Graph, options: SessionOptions) -> Session:
        opened[graph.name].set()
        return open_session(bundle, graph, options)

    def read(*given: Any) -> OpenPhoto:
        assert all(event.wait(60) for event in opened.values())
        return open_photo(*given)

    monkeypatch.setattr(onnxruntime, "open_session", told)
    monkeypatch.setattr("samclip_edge.pipeline.open_photo", read)
    model.prepare()
    model.look(data.photos()[0])


def test_what_fails_in_a_thread_is_raised_where_it_is_asked_for(bundle_copy: Path) -> None:
    model = SamClip.load(bundle_copy)
    (bundle_copy / "mask_decoder.weights").write_bytes(b"")
    model.prepare(128)
    with pytest.raises(InputError, match=r"mask_decoder\.weights"):
        model.look(data.photos()[0], 128).segment(points=[[20, 30]])
