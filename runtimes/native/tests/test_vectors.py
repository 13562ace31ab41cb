"""The whole pipeline: what the native library answers is what Python did, by the test vectors of exported bundles."""

from __future__ import annotations

import ctypes
import json
import math
import subprocess
from pathlib import Path
from typing import Any

import native
import numpy as np
import numpy.typing as npt
import pytest

from samclip_edge.photo.masks import decode_rle

BUNDLES = native.ROOT / "build" / "vectors"  # which `make test-native` writes, by tests/vector_bundles.py
KINDS = ("photo", "tiny-fp32", "tiny-fp16", "tiny-int8", "tiny-words", "tiny-static", "tiny-litert", "sam+clip")
Step = dict[str, Any]


class Vectors:
    """The vectors of a bundle's pipeline, by json and numpy alone."""

    def __init__(self, bundle: Path) -> None:
        self.bundle, self.folder = bundle, bundle / "vectors"
        told = json.loads((self.folder / "pipeline.json").read_text("utf-8"))
        self.steps: list[Step] = told["steps"]
        self.holds: dict[str, float] = told["holds"]
        self.model = native.Model(bundle)
        photo = self.array(told["photo"])
        self.scenes = {
            at: self.model.look(photo, _size(at)) for at in {step["at"] for step in self.steps if "at" in step}
        }

    def array(self, entry: dict[str, Any]) -> npt.NDArray[Any]:
        kind = np.dtype(entry["dtype"]).newbyteorder("<")
        return np.fromfile(self.folder / entry["file"], kind).reshape(entry["shape"])


def _size(at: int | str) -> tuple[int, int]:
    width, _, height = str(at).partition("x")
    return int(width), int(height or width)


@pytest.fixture(scope="module", params=KINDS)
def vectors(request: pytest.FixtureRequest) -> Vectors:
    return Vectors(BUNDLES / request.param)


def test_pipeline(vectors: Vectors) -> None:
    """Each question of the vectors, at each size of the bundle."""
    asked = set()
    for number, step in enumerate(vectors.steps):
        ask = step["ask"]
        if ask in ("tokens", "name_features"):  # test_text.py has the tokens; features of names are within the scores
            continue
        asked.add(ask)
        fault = globals()[f"_{ask}"](vectors, step)
        assert not fault, f"step {number}, {ask} at {step.get('at')}: {fault}"
    assert {"look", "classify", "segment", "segment_all", "find", "everything", "name"} <= asked


def test_tokens(vectors: Vectors) -> None:
    """The token ids of the bundle's tokenizer."""
    steps = [step for step in vectors.steps if step["ask"] == "tokens"]
    path = vectors.bundle / "tokenizer.json"
    assert bool(steps) == path.is_file()
    for step in steps:
        assert _tokens(path, vectors.bundle, step["given"]["texts"]) == step["answers"]


def _tokens(path: Path, bundle: Path, texts: list[str]) -> list[list[int]]:
    """Token ids by `probe_text`: a line loads the tokenizer, and each further line asks for a text."""
    spec = json.loads((bundle / "manifest.json").read_text("utf-8"))["spec"]["text"]
    loads = [path.read_bytes(), b"tokenizer.json", str(spec["vocab"]).encode(), b"77", b"", spec["clean"].encode()]
    lines = [["tokenizer", *loads], *(["tokens", text.encode()] for text in texts)]
    asked = "".join(" ".join([what, *("x" + each.hex() for each in given)]) + "\n" for what, *given in lines)
    program = next(native.BUILD.rglob("probe_text"))
    answered = subprocess.run([program], input=asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return [[int(each) for each in line.split()] for line in answered[1:]]


def _look(vectors: Vectors, step: Step) -> str:
    scene = vectors.scenes[step["at"]]
    for name, wanted in step["answers"].items():
        ours, theirs = vectors.array(wanted), getattr(scene, name)()
        if ours.shape != theirs.shape or ((ours * theirs).sum(axis=0) < vectors.holds["cosine"]).any():
            return name
    return ""


def _embed_text(vectors: Vectors, step: Step) -> str:
    ours, theirs = vectors.array(step["answers"]), vectors.model.embed_text(step["given"]["texts"])
    return "" if ((ours * theirs).sum(axis=1) >= vectors.holds["cosine"]).all() else "another feature"


def _classify(vectors: Vectors, step: Step) -> str:
    found, wanted = vectors.scenes[step["at"]].classify(**step["given"]), step["answers"]
    if [guess.label for guess in found] != [guess["label"] for guess in wanted]:
        return f"{[guess.label for guess in found]}"
    for guess, other in zip(found, wanted, strict=True):
        for name in ("score", "similarity", "share"):
            if abs(getattr(guess, name) - other[name]) > vectors.holds["score"]:
                return f"{guess} for {other}"
    return ""


def _segment(vectors: Vectors, step: Step) -> str:
    given = dict(step["given"])
    if "mask" in given:
        given["masks"] = vectors.array(given.pop("mask"))
    return _same(vectors, getattr(vectors.scenes[step["at"]], step["ask"])(**given), step["answers"])


def _segment_all(vectors: Vectors, step: Step) -> str:
    flat = [mask for masks in step["answers"] for mask in masks]
    return _segment(vectors, {**step, "answers": flat})


def _name(vectors: Vectors, step: Step) -> str:
    given = dict(step["given"])
    (masks,) = vectors.steps[given.pop("masks")["step"]]["answers"]
    found = vectors.scenes[step["at"]].take([mask["rle"]["counts"] for mask in masks]).name(**given)
    wanted = [{**answer, "predicted_iou": None} for answer in step["answers"]]  # which an RLE does not hold
    return _same(vectors, found, wanted)


def _everything(vectors: Vectors, step: Step) -> str:
    given = dict(step["given"])
    return _same(vectors, vectors.scenes[step["at"]].everything(grid=_grid(given), **given), step["answers"])


def _find(vectors: Vectors, step: Step) -> str:
    given = dict(step["given"])
    return _same(vectors, vectors.scenes[step["at"]].find(grid=_grid(given), **given), step["answers"])


def _grid(given: dict[str, Any]) -> native.Grid:
    """0 stands for SAM's own value in C, so what is 0 is told by the numbers beside it."""
    settings = given.pop("settings")
    beside = {name: -5e-324 if name == "stability" else 5e-324 for name in settings}
    return native.Grid(ctypes.sizeof(native.Grid), *(value or beside[name] for name, value in settings.items()))


def _same(vectors: Vectors, masks: native.Masks, wanted: list[dict[str, Any]]) -> str:
    found = masks.all()
    if [mask.label for mask in found] != [mask["label"] for mask in wanted]:
        return f"{[mask.label for mask in found]} for {[mask['label'] for mask in wanted]}"
    for number, (mask, other) in enumerate(zip(found, wanted, strict=True)):
        fault = _fault(vectors, mask, other)
        if fault:
            return f"mask {number}: {fault}"
    return ""


def _fault(vectors: Vectors, mask: native.Mask, wanted: dict[str, Any]) -> str:
    ours, theirs = decode_rle(wanted["rle"]), mask.bits
    both, differ = np.count_nonzero(ours & theirs), np.count_nonzero(ours ^ theirs)
    if differ > vectors.holds["pixels"] and both < vectors.holds["iou"] * (both + differ):
        return f"{differ} pixels differ of {wanted['area']}"
    if (decode_rle({"size": [*theirs.shape], "counts": mask.rle}) != theirs).any():
        return "its RLE is not its pixels"
    y, x = np.nonzero(theirs)
    box = (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else (0, 0, 0, 0)
    if (mask.area, mask.box) != (len(x), box):
        return f"area {mask.area}, box {mask.box}"
    for name in ("predicted_iou", "score", "similarity"):
        got, told = getattr(mask, name), wanted[name]
        if not (math.isnan(got) if told is None else abs(got - told) <= vectors.holds["score"]):
            return f"{name} {got} for {told}"
    if wanted["point"] is not None and not np.allclose(mask.point, wanted["point"]):
        return f"point {mask.point} for {wanted['point']}"
    if "logits" in wanted:
        logits = vectors.array(wanted["logits"])
        if mask.logits is None or np.abs(mask.logits - logits).max() > vectors.holds["logits"] * logits.std():
            return "its logits differ"
    return ""
