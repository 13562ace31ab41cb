"""Words and boxes on a tree in COCO's layout, against `accuracy.presence` on the same rendered scenes, and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trees_instances as trees

from samclip_edge import SamClip
from samclip_edge.accuracy.presence import presence
from samclip_edge.benchmarks.evaluation.instances import instances
from samclip_edge.benchmarks.evaluation.run import measure
from samclip_edge.benchmarks.evaluation.task import Asked
from samclip_edge.benchmarks.evaluation.true_instances import grab_cut, overlap, within
from samclip_edge.benchmarks.evaluation.words import words
from samclip_edge.data import TINY
from samclip_edge.rendered import NAMES, render
from samclip_edge.train.conse import Conse

COUNT = 4


def test_rendered_scenes_have_the_numbers_of_presence(tmp_path: Path) -> None:
    model, scenes = SamClip.load(TINY), [render(30_000 + number, 256, fewest=1, most=3) for number in range(COUNT)]
    document = trees.of_scenes(scenes, lambda shape: 1)
    document["categories"] = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    things = [thing for scene in scenes for thing in scene.things]
    for each, thing in zip(document["annotations"], things, strict=True):
        each["category_id"] = 1 + NAMES.index(thing.kind)
    data = trees.write_coco(tmp_path, document, [scene.image for scene in scenes])
    asked = Asked(model, data)
    (task,) = words("coco-words", asked)
    found, expected = measure(task, asked).measures, presence(model, scenes)
    assert found["mIoU of names that are there"] == pytest.approx(expected["present name mIoU, together"], abs=1e-9)
    assert found["absent names answered"] == pytest.approx(expected["absent name answered, among all 80"], abs=1e-9)
    kinds = [{thing.kind for thing in scene.things} for scene in scenes]
    first = [model.look(scene.image, 256).classify(NAMES)[0].label for scene in scenes]
    assert found["the first of 80 names is there"] == sum(map(set.__contains__, kinds, first)) / COUNT
    assert found["the same by chance"] == pytest.approx(sum(map(len, kinds)) / COUNT / 80)
    sample = task.samples[0]
    height, width, _ = task.picture(sample, measure(task, asked).outcomes[sample.key]).shape
    assert width == 2 * height  # the answer beside the truth


def test_a_box_as_its_own_mask_by_hand() -> None:
    """A box of 4 x 2 pixels, of which the mask has 3, with one pixel of the mask beside it: 3 of 9."""
    bits = np.zeros((6, 6), bool)
    bits[1, 1:4] = bits[5, 5] = True
    assert overlap(within((1.0, 1.0, 5.0, 3.0), *bits.shape), bits) == pytest.approx(3 / 9)
    assert overlap(within((0.6, 0.6, 5.4, 3.4), *bits.shape), bits) == pytest.approx(
        3 / 9
    )  # a pixel counts by its middle


def test_a_teacher_names_the_same_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that takes every photo for the one name: it is right where that is on the photo. By chance: the same,
    over all names."""
    scenes = [render(30_000 + number, 64, fewest=1, most=3) for number in range(COUNT)]
    document, kinds = trees.of_scenes(scenes, lambda shape: 1), [{t.kind for t in scene.things} for scene in scenes]
    document["categories"] = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    for each, thing in zip(document["annotations"], (t for scene in scenes for t in scene.things), strict=True):
        each["category_id"] = 1 + NAMES.index(thing.kind)
    data = trees.write_coco(tmp_path, document, [scene.image for scene in scenes])
    always, count = NAMES.index(min(kinds[0])), len(NAMES)
    seeing = Conse(torch.nn.Identity(), torch.eye(count))
    monkeypatch.setattr(Conse, "__call__", lambda _, pixels: torch.eye(count)[[always] * len(pixels)])
    monkeypatch.setattr("samclip_edge.train.conse.named", lambda *_: seeing)
    monkeypatch.setattr("samclip_edge.train.sentences.space", lambda *_: lambda names: torch.eye(len(names)))
    asked = Asked(SamClip.load(TINY), data, teacher="conse")
    _, task = words("coco-words", asked)
    (share,) = measure(task, asked).measures.values()
    assert share == sum(NAMES[always] in each for each in kinds) / COUNT > 0


def test_grabcut_finds_what_differs_from_what_is_around_the_box() -> None:
    """A bright square in dark noise, in a box that is larger; and where nothing is around the box, the box itself."""
    random = np.random.default_rng(0)
    pixels, bits = random.integers(0, 60, (60, 80, 3)).astype(np.uint8), np.zeros((60, 80), bool)
    bits[20:40, 30:55] = True
    pixels[bits] += 180
    assert overlap(within((24.0, 14.0, 62.0, 47.0), *bits.shape), bits) < 0.5
    assert overlap(grab_cut(pixels, (24.0, 14.0, 62.0, 47.0)), bits) > 0.95
    assert grab_cut(pixels, (0.0, 0.0, 80.0, 60.0)).all()


def test_grabcut_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    scenes = [render(20_000 + number, 256, most=4) for number in range(COUNT)]
    data = trees.write_coco(tmp_path, trees.of_scenes(scenes, lambda shape: 1), [scene.image for scene in scenes])
    asked = Asked(SamClip.load(TINY), data, (256,))
    without, beside = (measure(*instances("coco", each), each) for each in (asked, replace(asked, grabcut=True)))
    assert without.measures == {name: each for name, each in beside.measures.items() if "GrabCut" not in name}
    assert without.measures["mIoU of a box as its own mask"] < beside.measures["mIoU of GrabCut in true boxes"]
