"""Names that programs imported before the rooms: they are still found, and say where they are now."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from samclip_edge import SamClip, moved
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.tasks.everything import Settings

# Every public class, function and constant of the modules that moved, read from the last commit before they did.
BEFORE = dict(line.split(": ") for line in (Path(__file__).parent / "names_before.txt").read_text().splitlines())
GONE = {  # what CHANGELOG says is gone: internals, and tasks that take other arguments now
    "benchmarks.synthetic": {"TRAINED_FROM"},
    "everything": {"name", "everything"},
    "export.coreml": {"check_minimum"},
    "export.export": {"Change", "CHECKPOINT", "OnnxWriter", "Writer", "export_bundle", "seen_by"},
    "export.graphs": {"ImageEncoderGraph"},
    "export.quantize": {"sensitivity"},
    "train.data": {"steps"},
    "train.engine": {"CLIP_GRADIENT"},
}


def test_every_old_module_is_held_here() -> None:
    assert set(BEFORE) == set(moved.HOMES)


@pytest.mark.parametrize("module", BEFORE)
def test_old_names_are_found_and_tell_the_new_ones(module: str) -> None:
    old = import_module(f"samclip_edge.{module}")
    kept = set(BEFORE[module].split()) - GONE.get(module, set())
    if module == "runtimes.mil_ops":
        kept = {"OPS"}  # the ops themselves are read from it
    for name in sorted(kept):
        if name in vars(old):
            continue  # a module that stayed, and kept the name
        with pytest.warns(DeprecationWarning, match=rf"samclip_edge\.{module}\.{name} is samclip_edge\.\S+ now"):
            assert getattr(old, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        old.nothing_of_the_kind  # noqa: B018


def test_old_arguments_and_attributes_still_work(tiny: SamClip) -> None:
    assert Settings(score=0.5) == Settings(predicted_iou=0.5)
    assert (Settings().score, Settings(score=0.5).score) == (0.88, 0.5)
    assert replace(Settings(score=0.5), predicted_iou=0.7) == Settings(predicted_iou=0.7)
    assert SamClip(tiny.bundle, engine=SessionOptions(threads=1)).sizes == tiny.sizes
    assert tiny.graphs is tiny.sessions
    pixels = np.random.RandomState(0).randint(0, 255, (20, 30, 3)).astype(np.uint8)
    (mask,) = tiny.look(pixels).segment(points=[[3, 3]])
    assert mask.to_json()["predicted_iou"] == mask.predicted_iou
    named = replace(mask, label="cat", score=0.25)
    assert named.confidence == named.to_json()["confidence"] == named.to_json()["score"] == 0.25
