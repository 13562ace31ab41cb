"""The model that ships: what it is, and that every verb runs it where no bundle is named."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from support import Ran, iou

from samclip_edge import SamClip, data
from samclip_edge.accuracy.synthetic import Counts, evaluate
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.model import checkpoint
from samclip_edge.photo.masks import decode_rle, mask_box
from samclip_edge.rendered import RenderedScene, render
from samclip_edge.tasks.everything import Settings

SEED = 30_003  # a scene that training never saw


@pytest.fixture
def scene() -> RenderedScene:
    return render(SEED, 256, most=1)


@pytest.fixture
def photo(scene: RenderedScene, tmp_path: Path) -> Path:
    path = tmp_path / "shapes.png"
    cv2.imwrite(str(path), scene.image[..., ::-1])
    return path


def test_it_is_small_whole_and_trained(run: Callable[..., Ran]) -> None:
    ran = run("verify", data.TINY, "--json")
    assert (ran.code, ran.json["ok"]) == (0, True)
    manifest = json.loads((data.TINY / "manifest.json").read_text())
    assert manifest["trained"]
    assert sum(path.stat().st_size for path in data.TINY.iterdir()) <= 15e6


def test_it_is_what_python_loads_where_no_bundle_is_named() -> None:
    assert SamClip.load().bundle.folder == data.TINY.resolve()


def test_its_weights_are_a_checkpoint_of_the_preset() -> None:
    model, origin = checkpoint.load(data.CHECKPOINTS["tiny"])
    assert model.spec == PRESETS["tiny"]
    assert origin.trained


def test_the_checkpoint_of_photographs_is_small_and_of_its_preset() -> None:
    model, origin = checkpoint.load(data.CHECKPOINTS["photo"])
    assert (model.spec, origin.trained) == (PRESETS["photo"], True)
    assert {each.license for each in origin.weights} == {"Apache-2.0"}
    files = [path for folder in ("photo", "tiny") for path in (data.FOLDER / folder).iterdir()]
    assert sum(len(zlib.compress(path.read_bytes(), 6)) for path in files) <= 32e6, "as the wheel compresses them"


def test_it_names_and_finds_what_it_was_never_shown() -> None:
    """Far from chance, which is 1 of 80 for names; `samclip-edge eval synthetic` tells how far."""
    counts = Counts(one_thing=60, captions=40, several=20, trusted=10, named=5)
    found = evaluate(SamClip.load(data.TINY), counts=counts)["merged"]
    assert found["classification top-1"] > 0.9
    assert found["text-to-image recall@1"] > 0.4
    assert found["box mIoU"] > 0.75
    assert found["point mIoU"] > 0.75
    assert found["present name found, alone"] > 0.9
    assert found["present name mIoU, alone"] > 0.75
    assert found["absent name answered, alone"] < 0.1
    assert found["absent name answered, among all 80"] < 0.1
    assert found["masks left unnamed, one absent name"] > 0.9
    things = [render(SEED + i, 256, most=1) for i in range(12)]
    ious = []
    for each in things:
        (thing,) = each.things
        masks = SamClip.load(data.TINY).look(each.image).find([f"{thing.colour} {thing.shape}"])
        ious.append(max((iou(mask.bits, thing.mask) for mask in masks), default=0.0))
    assert sum(ious) / len(ious) > 0.6
    assert found["referred mIoU, both heads"] > found["referred mIoU, CLIP head alone"] + 0.05


def test_names_that_are_not_there_are_not_answered(run: Callable[..., Ran]) -> None:
    """The photo of the documentation shows a blue heart and an orange star."""
    shapes = Path(__file__).parents[2] / "docs" / "shapes.jpg"
    model = SamClip.load(data.TINY)
    scene = model.look(shapes)
    assert scene.find(["red arrow"]) == []
    (heart,), (star,) = scene.find(["blue heart"]), scene.find(["Orange STAR"])
    assert star.box[1] < heart.box[1]  # the star is above the heart
    assert star.box[3] < heart.box[3]
    settings = Settings(points_per_side=12, predicted_iou=0.7, stability=0.8)
    labels = [mask.label for mask in scene.everything(["green cross"], settings)]
    assert labels
    assert set(labels) == {None}
    both = {mask.label: mask for mask in scene.find(["blue heart", "orange star", "red arrow"])}
    assert both.keys() == {"blue heart", "orange star"}
    assert both["blue heart"].score == pytest.approx(heart.score, abs=1e-6)
    assert both["orange star"].score == pytest.approx(star.score, abs=1e-6)
    assert scene.classify(["red arrow"]).any_fits < 0.5
    told = run("segment", shapes, "--text", "red arrow", "--text", "blue heart", "--json").json
    assert ([mask["label"] for mask in told["masks"]], told["absent"]) == (["blue heart"], ["red arrow"])


def test_every_verb_runs_it(run: Callable[..., Ran], scene: RenderedScene, photo: Path) -> None:
    thing = scene.things[0]
    name = f"{thing.colour} {thing.shape}"
    named = run("classify", photo, "--label", name, "--label", "background", "--json")
    assert named.json["bundle"] == str(data.TINY)
    assert named.json["photos"][0]["labels"][0]["label"] == name
    assert "rendered shapes" in named.err
    for prompt in (("--text", name), ("--box", ",".join(map(str, mask_box(thing.mask))))):
        (found,) = run("segment", photo, *prompt, "--json").json["masks"]
        assert decode_rle(found["segmentation"]).shape == (256, 256)
    assert run("export", "-o", photo.with_name("bundle"), "--size", 128).code == 0
