"""What `--test-vectors` says of the pipeline, read back as an app's test reads it, is what the bundle answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import TEMPLATES, iou, spread

from samclip_edge import Mask, SamClip, Scene, data
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec
from samclip_edge.export.options import OnnxOptions
from samclip_edge.export.pipeline_vectors import HOLDS
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint
from samclip_edge.tasks.everything import Settings
from samclip_edge.text.tokenizer import Tokenizer

Step = dict[str, Any]


class Read:
    """The vectors of a bundle's pipeline, by json and numpy alone."""

    def __init__(self, bundle: Path) -> None:
        self.folder = bundle / "vectors"
        self.told = json.loads((self.folder / "pipeline.json").read_text("utf-8"))
        self.steps: list[Step] = self.told["steps"]
        self.holds: dict[str, float] = self.told["holds"]

    def array(self, entry: dict[str, Any]) -> np.ndarray:
        kind = np.dtype(entry["dtype"]).newbyteorder("<")
        return np.fromfile(self.folder / entry["file"], kind).reshape(entry["shape"])


def bits(rle: dict[str, Any]) -> np.ndarray:
    """A mask (H,W) of COCO's RLE, as `rleFrString` of its `maskApi.c` reads it."""
    height, width = rle["size"]
    runs: list[int] = []
    value = place = 0
    for letter in rle["counts"].encode():
        value |= (letter - 48 & 31) << place
        place += 5
        if not letter - 48 & 32:
            value -= (1 << place) if letter - 48 & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = place = 0
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def answers(model: SamClip, scenes: dict[Any, Scene], step: Step, read: Read) -> Any:
    """What Python answers to a step. scenes: of the photo, by their size."""
    ask, given = step["ask"], dict(step["given"])
    if ask == "tokens":
        text, spec = model.bundle.manifest.text.tokenizer, model.bundle.manifest.spec.text
        assert text is not None
        return [Tokenizer.read(model.bundle.folder / text.path, spec)([each])[0].tolist() for each in given["texts"]]
    if ask in ("embed_text", "name_features"):
        return model.embed_text(**given) if ask == "embed_text" else model.words.features(**given)
    scene = scenes[step["at"]]
    if ask == "look":
        return scene
    if ask == "classify":
        odds = scene.model.judge.log_odds(scene.image_features, given["labels"], given["background"])
        places = {name: place for place, name in enumerate(given["labels"])}
        return [{**each._asdict(), "log_odds": odds[places[each.label]]} for each in scene.classify(**given)]
    if "settings" in given:
        given["settings"] = Settings(**given["settings"])
    if "mask" in given:
        given["mask"] = read.array(given["mask"])
    if "masks" in given:
        (of,) = read.steps[given["masks"]["step"]]["answers"]  # of `segment_all` of one prompt
        given["masks"] = [Mask(each["rle"], each["predicted_iou"]) for each in of]
    return getattr(scene, ask)(**given)


def holds(step: Step, got: Any, read: Read) -> bool:
    """Whether answers are those of a step, within what the index allows."""
    ask, wanted = step["ask"], step["answers"]
    if ask == "tokens":
        return bool(got == wanted)
    if ask in ("embed_text", "name_features"):
        return _same_way(read.array(wanted), got, read, axis=1)
    if ask == "look":
        return all(_same_way(read.array(each), getattr(got, name), read, axis=0) for name, each in wanted.items())
    if ask == "classify":
        return len(got) == len(wanted) and all(
            ours["label"] == theirs["label"]
            and abs(ours["log_odds"] - theirs["log_odds"]) <= read.holds["log_odds"]
            and all(abs(ours[name] - theirs[name]) <= read.holds["score"] for name in ("score", "similarity", "share"))
            for ours, theirs in zip(wanted, got, strict=True)
        )
    lists = zip(wanted, got, strict=True) if ask == "segment_all" else [(wanted, got)]
    return all(
        len(ours) == len(theirs) and all(_same_mask(*pair, read) for pair in zip(ours, theirs, strict=True))
        for ours, theirs in lists
    )


def _same_way(wanted: np.ndarray, got: np.ndarray, read: Read, axis: int) -> bool:
    return wanted.shape == got.shape and bool(((wanted * got).sum(axis=axis) >= read.holds["cosine"]).all())


def _same_mask(wanted: dict[str, Any], got: Mask, read: Read) -> bool:
    ours, theirs = bits(wanted["rle"]), got.bits
    differ = ours.shape != theirs.shape or np.count_nonzero(ours ^ theirs)
    if iou(ours, theirs) < read.holds["iou"] and differ > read.holds["pixels"]:
        return False
    y, x = np.nonzero(ours)
    box = [x.min(), y.min(), x.max() + 1, y.max() + 1] if ours.any() else [0, 0, 0, 0]
    if (wanted["area"], wanted["box"]) != (np.count_nonzero(ours), box):
        return False
    if "logits" in wanted:
        logits = read.array(wanted["logits"])
        assert got.logits is not None
        if np.abs(logits - got.logits).max() > read.holds["logits"] * logits.std():
            return False
    near = all(
        (wanted[name] is None) == (getattr(got, name) is None)
        and (wanted[name] is None or abs(wanted[name] - getattr(got, name)) <= read.holds["score"])
        for name in ("predicted_iou", "score", "similarity")
    )
    point = None if got.point is None else list(got.point)
    return near and (wanted["label"], wanted["point"]) == (got.label, point)


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained `tiny`, which knows what rendered scenes hold."""
    folder = tmp_path_factory.mktemp("vectors") / "tiny"
    return export_onnx(data.CHECKPOINTS["tiny"], folder, [128], templates=TEMPLATES, vectors=True).folder


@pytest.fixture(scope="module")
def two_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM + CLIP, both small and spread at random, with a vocabulary, and one prompt of two points a call."""
    where = tmp_path_factory.mktemp("vectors")
    vision = ClipVisionSpec.vit(width=64, depth=2, heads=4, patch=16, size=64)
    model = checkpoint.build(PRESETS["tiny"].model_copy(update={"name": "sam+clip", "clip_vision": vision}))
    spread(model, seed=9)
    path = checkpoint.save(model, where / "two.safetensors", checkpoint.Origin(note="spread at random"))
    given = (path, where / "two", [128], ["sky", "caf\u00e9", "cat"])
    return export_onnx(*given, templates=TEMPLATES, vectors=True, options=OnnxOptions(static=True)).folder


@pytest.mark.parametrize("which", ["tiny_bundle", "two_bundle"])
def test_python_answers_as_the_vectors_say(which: str, request: pytest.FixtureRequest) -> None:
    bundle = request.getfixturevalue(which)
    read, model = Read(bundle), SamClip.load(bundle)
    photo = read.array(read.told["photo"])
    scenes: dict[Any, Scene] = {128: model.look(photo, 128)}
    for number, step in enumerate(read.steps):
        assert holds(step, answers(model, scenes, step, read), read), f"step {number}, {step['ask']}"
    asked = {step["ask"] for step in read.steps}
    every = {"embed_text", "name_features", "look", "classify", "segment", "segment_all", "find", "everything", "name"}
    assert asked == every | ({"tokens"} if which == "tiny_bundle" else set())
    counts = [len(step["answers"]) for step in read.steps if step["ask"] == "everything"]
    assert all(3 <= count <= 40 for count in counts), counts
    listed = [file.path for file in model.bundle.manifest.vectors]
    assert listed[0] == "vectors/index.json"
    assert sorted(listed) == sorted(path.relative_to(bundle).as_posix() for path in read.folder.iterdir())


def test_what_is_there_is_found_and_what_is_not_is_not(tiny_bundle: Path) -> None:
    """By hand: the scene has a white hexagon, a blue square, a red arrow and a black star."""
    read = Read(tiny_bundle)
    assert read.holds == HOLDS
    find = [step for step in read.steps if step["ask"] == "find"]
    labels = find[0]["given"]["labels"]
    assert labels[:4] == ["white hexagon", "blue square", "red arrow", "black star"]
    seen = {each["label"] for each in find[0]["answers"]}
    assert {"blue square", "red arrow"} < seen < set(labels)
    assert [sorted(each["label"] for each in step["answers"]) for step in find[1:]] == [sorted(labels)] * 2
    named = [step for step in read.steps if step["ask"] == "name"]
    assert all(each["label"] in labels for each in named[0]["answers"])


def step_of(read: Read, ask: str) -> Step:
    return next(copy.deepcopy(step) for step in read.steps if step["ask"] == ask)


CHANGES: dict[str, tuple[str, Callable[[Any], object]]] = {
    "a token": ("tokens", lambda answers: answers[0].__setitem__(1, 7)),
    "another's feature": ("embed_text", lambda answers: answers.update(file="pipeline.2.features.bin", shape=[8, 128])),
    "a score": ("classify", lambda answers: answers[0].update(score=answers[0]["score"] + 0.002)),
    "a name": ("classify", lambda answers: answers[0].update(label="dog")),
    "the order": ("classify", lambda answers: answers.reverse()),
    "a mask": ("segment", lambda answers: answers[0]["rle"].update(counts=full(answers[0]["rle"]["size"]))),
    "an area": ("segment", lambda answers: answers[0].update(area=answers[0]["area"] + 1)),
    "a box": ("segment", lambda answers: answers[0].update(box=[0, 0, 1, 1])),
    "logits": ("segment_all", lambda answers: answers[0][0].update(logits=answers[0][1]["logits"])),
    "a predicted IoU": ("segment_all", lambda answers: answers[0][2].update(predicted_iou=None)),
    "the masks of a prompt": ("segment_all", lambda answers: answers[0].reverse()),
    "a mask too few": ("find", lambda answers: answers.pop()),
    "a similarity": ("find", lambda answers: answers[0].update(similarity=answers[0]["similarity"] - 0.002)),
    "a point": ("everything", lambda answers: answers[0].update(point=[1.0, 2.0])),
    "a label": ("name", lambda answers: answers[0].update(label=None)),
}


def full(size: list[int]) -> str:
    """The runs of a mask that has every pixel, as pycocotools writes them."""
    from pycocotools import mask as coco

    return str(coco.encode(np.ones(size, np.uint8, order="F"))["counts"], "ascii")


@pytest.mark.parametrize("what", CHANGES)
def test_an_answer_that_was_changed_is_noticed(tiny_bundle: Path, what: str) -> None:
    read, model = Read(tiny_bundle), SamClip.load(tiny_bundle)
    scenes: dict[Any, Scene] = {128: model.look(read.array(read.told["photo"]), 128)}
    ask, change = CHANGES[what]
    step = step_of(read, ask)
    got = answers(model, scenes, step, read)
    assert holds(step, got, read)
    change(step["answers"])
    assert not holds(step, got, read)


def test_a_photo_that_was_changed_has_other_features(tiny_bundle: Path) -> None:
    read, model = Read(tiny_bundle), SamClip.load(tiny_bundle)
    photo = read.array(read.told["photo"])[::-1]
    assert not holds(step_of(read, "look"), model.look(photo, 128), read)
