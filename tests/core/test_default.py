"""The two models that ship: what they are, and that every verb runs `photo` where no bundle is named."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Ran, iou

from samclip_edge import SamClip, data
from samclip_edge.accuracy.synthetic import Counts, evaluate
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.model import checkpoint
from samclip_edge.photo.masks import decode_rle
from samclip_edge.rendered import render
from samclip_edge.tasks.everything import Settings

SEED = 30_003  # a scene that training never saw


@pytest.mark.parametrize("name", ["photo", "tiny"])
def test_what_ships_is_small_whole_and_trained(name: str, run: Callable[..., Ran]) -> None:
    folder = data.FOLDER / name
    ran = run("verify", folder, "--json")
    assert (ran.code, ran.json["ok"]) == (0, True)
    assert json.loads((folder / "manifest.json").read_text())["trained"]
    model, origin = checkpoint.load(data.CHECKPOINTS[name])
    assert (model.spec, origin.trained) == (PRESETS[name], True)
    assert {each.license for each in origin.weights} <= {"Apache-2.0"}
    assert bool(origin.weights) == (name == "photo")


def test_both_models_are_at_most_32_mb_in_the_wheel() -> None:
    """Files are compressed one by one there, as here."""
    files = [path for folder in (data.PHOTO, data.TINY) for path in folder.iterdir()]
    assert sum(len(zlib.compress(path.read_bytes(), 6)) for path in files) <= 32e6


def test_it_is_what_python_loads_where_no_bundle_is_named() -> None:
    assert SamClip.load().bundle.folder == data.PHOTO.resolve()


def test_tiny_names_and_finds_what_it_was_never_shown() -> None:
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


def test_tiny_does_not_answer_names_that_are_not_there(run: Callable[..., Ran]) -> None:
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
    asked = ("--text", "red arrow", "--text", "blue heart", "--bundle", data.TINY, "--json")
    told = run("segment", shapes, *asked).json
    assert ([mask["label"] for mask in told["masks"]], told["absent"]) == (["blue heart"], ["red arrow"])


def test_every_verb_runs_photo_where_no_bundle_is_named(run: Callable[..., Ran], tmp_path: Path) -> None:
    cat = data.FOLDER / "photos" / "chelsea.jpg"  # 451 x 300, whose face fills most of it
    named = run("classify", cat, "--label", "cat", "--label", "truck", "--json")
    assert named.json["bundle"] == str(data.PHOTO)
    assert named.json["photos"][0]["labels"][0]["label"] == "cat"
    assert "ImageNet" in named.err
    for prompt in (("--text", "cat"), ("--box", "60,10,430,290")):
        (found,) = run("segment", cat, *prompt, "--json").json["masks"]
        assert decode_rle(found["segmentation"]).shape == (300, 451)
    assert run("export", "-o", tmp_path / "bundle", "--size", 256).code == 0


def test_what_ships_goes_by_its_name_unless_a_folder_has_it(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("info", "tiny", "--json").json["manifest"]["spec"]["name"] == "tiny"
    cat = data.FOLDER / "photos" / "chelsea.jpg"
    assert run("classify", cat, "--label", "cat", "--bundle", "tiny", "--json").json["bundle"] == str(data.TINY)
    (tmp_path / "tiny").mkdir()
    ran = run("info", "tiny")
    assert (ran.code, "holds no manifest.json" in ran.err) == (2, True)


def test_where_no_mask_is_sure_enough_everything_says_what_to_lower(run: Callable[..., Ran]) -> None:
    coffee = data.FOLDER / "photos" / "coffee.jpg"
    asked = ("segment", coffee, "--everything", "--grid", 4, "--json")
    none = run(*asked, "--min-iou", 1)
    assert none.json["masks"] == []
    assert "no mask reaches --min-iou 1 and --min-stability 0.95; lower them" in none.err
    some = run(*asked, "--min-iou", 0.5, "--min-stability", 0.6)
    assert some.json["masks"]
    assert "lower them" not in some.err
