"""samclip_edge.hpp: what `probe_layer.cpp` is answered through it is what Python answers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from samclip_edge import SamClip, data
from samclip_edge.encoded import BATCH
from samclip_edge.photo.masks import Mask, decode_rle
from samclip_edge.scene import Scene
from samclip_edge.tasks.everything import Settings

ROOT = Path(__file__).parents[3]
BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", ROOT / "build" / "native"))
NAMES = ["red arrow", "blue square", "dog"]
Answers = dict[str, Any]


@pytest.fixture(scope="module")
def pixels() -> Any:
    return np.array(Image.open(ROOT / "docs" / "shapes.jpg").convert("RGB").resize((160, 120)))


@pytest.fixture(scope="module")
def own(pixels: Any) -> Answers:
    height, width, _ = pixels.shape
    command: list[str | Path] = [BUILD / "probe_layer", data.TINY, str(width), str(height)]
    done = subprocess.run(command, input=pixels.tobytes(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    answers: Answers = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def model() -> SamClip:
    return SamClip.load(data.TINY)


@pytest.fixture(scope="module")
def scene(model: SamClip, pixels: Any) -> Scene:
    return model.look(pixels)


def same(own: list[Answers], wanted: Sequence[Mask]) -> None:
    """The masks are Python's, but for rounding; there is one at least."""
    assert len(own) == len(wanted) > 0
    for mine, mask in zip(own, wanted, strict=True):
        bits, drawn = mask.bits, decode_rle({"size": mine["size"], "counts": mine["counts"]})
        assert bits.shape == drawn.shape
        assert (bits & drawn).sum() >= 0.99 * (bits | drawn).sum()
        assert mine["drawn"] == mine["area"] == drawn.sum()
        assert mine["box"] == pytest.approx(mask.box, abs=1)
        assert mine["label"] == mask.label
        for name in ("predicted_iou", "score", "similarity", "point"):
            assert mine[name] == pytest.approx(getattr(mask, name), abs=1e-3)
        logits = np.zeros(0) if mask.logits is None else mask.logits
        assert mine["logits"][0] == logits.size
        assert mine["logits"][1] == pytest.approx(float(logits.sum()), rel=1e-2, abs=1)


def near(own: Any, wanted: Any) -> None:
    assert np.abs(np.reshape(own, np.shape(wanted)) - wanted).max() < 1e-3


def test_a_model_answers_as_python_s(own: Answers, model: SamClip, pixels: Any) -> None:
    part = pixels[:, :80]
    assert own["sizes"] == [[size, size] for size in model.sizes]
    assert own["names_size"] == model.names_size
    near(own["embed"], model.embed([pixels, part]))
    near(own["embed_text"], model.embed_text(NAMES))
    ranked = model.rank([pixels, part], "red arrow")
    assert [place for place, _ in own["rank"]] == [place for place, _ in ranked]
    near([cosine for _, cosine in own["rank"]], np.array([cosine for _, cosine in ranked]))
    assert own["nothing"] == [0, 0, 0]


def test_a_scene_answers_as_python_s(own: Answers, scene: Scene) -> None:
    answers = own["scene"]
    assert own["photo"] == [160, 120]
    first = scene.segment([[20, 20], [100, 60]], [1, 0])
    boxes = [[5, 5, 60, 60], [30, 30, 120, 90]]
    three = [mask for each in scene.segment_all(boxes=boxes) for mask in each]
    same(answers["segment"], first)
    same(answers["again"], scene.segment([[20, 20]], mask=first[0].logits))
    near(answers["features"], np.stack([scene.features_under(mask.bits) for mask in three]))
    same(answers["segment_all, named"], scene.name(three, NAMES, min_score=0.2))
    how: dict[str, Any] = {"points": 1, "threshold": 0.4, "background": ["background", "wall"], "min_score": 0.1}
    same(answers["find"], scene.find(NAMES, **how))
    same(answers["find, not refined"], scene.find(NAMES, refine=False, **how))
    settings = Settings(6, predicted_iou=0.3, stability=0.3)
    same(answers["everything"], scene.everything(NAMES, settings, min_score=0.2))
    guesses = scene.classify(NAMES, background=["wall"])
    assert [guess[0] for guess in answers["classify"]] == [guess.label for guess in guesses]
    near([guess[1:] for guess in answers["classify"]], np.array([guess[1:] for guess in guesses], float))
    near(answers["image_features"], scene.image_features)
    assert first[0].logits is not None
    assert own["kept"] == first[0].logits.size


def test_what_is_thrown_has_a_status_and_python_s_line(own: Answers) -> None:
    assert own["no bundle"]["status"] == 1
    assert own["no bundle"]["line"].startswith("nowhere: no such bundle folder; ")
    assert own["no size"] == {"status": 1, "line": "size 16: the bundle holds 128, 256; choose one of them"}
    assert own["nul"] == {"status": 1, "line": "a name holds a NUL character; give letters"}
    assert own["scene"]["bad prompts"]["status"] == 1
    assert own["scene"]["bad prompts"]["line"].startswith("prompts: ")


def test_tasks_are_told_of_steps_and_end_calls(own: Answers) -> None:
    tasks = own["tasks"]
    whats, done, total = zip(*tasks["steps"], strict=True)
    assert set(whats) == {"clicking everywhere"}
    assert list(done) == list(range(total[0] + 1))
    assert total[0] == 32 * 32 / BATCH
    assert [tasks[each]["status"] for each in ("no", "cancelled")] == [5, 5]
    assert tasks["throws"] == {"line": "enough"}
    assert tasks["told"] == [False, True, True]
