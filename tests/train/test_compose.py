"""Composed photos: their masks are what their pixels show, and what is held out is nowhere among them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from samclip_edge.rendered import render
from samclip_edge.train import compose
from samclip_edge.train.data.composed import SIDE as WIDEST
from samclip_edge.train.data.composed import Composer, Piece, cropped, cut_out, jpeg, kept, mosaic, pasted
from samclip_edge.train.data.panoptic import Layers, Segment, read_panoptic
from samclip_edge.train.data.sources import generator

SIDE, PHOTOS = 160, 8


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Path, Path]:
    """COCO's panoptic format: rendered scenes, each with things of names of its own; the last one's are a crowd."""
    photos, maps = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    maps.mkdir()
    document: dict[str, list[dict[str, object]]] = {"images": [], "annotations": [], "categories": []}
    document["categories"].append({"id": 999, "name": "sky-other-merged", "isthing": 0})
    for number in range(PHOTOS):
        scene = render(40 + number, SIDE, 2, 4)
        colours = np.full((SIDE, SIDE, 3), (7, 1, number), np.uint8)  # RGB: 7 + 256 + 65536 n
        segments = [{"id": 263 + 65536 * number, "category_id": 999, "iscrowd": 0}]
        for place, thing in enumerate(scene.things):
            colours[thing.mask] = (place, 2, number)
            segments.append(
                {"id": 512 + place + 65536 * number, "category_id": number, "iscrowd": int(number == PHOTOS - 1)}
            )
        colours[:4] = 0  # of no segment
        cv2.imwrite(str(photos / f"{number}.png"), scene.image[..., ::-1])
        cv2.imwrite(str(maps / f"{number}.png"), colours[..., ::-1])
        document["categories"].append({"id": number, "name": f"thing-{number}", "isthing": 1})
        document["images"].append({"id": number, "file_name": f"{number}.png"})
        document["annotations"].append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    (tmp_path / "panoptic.json").write_text(json.dumps(document))
    return tmp_path / "panoptic.json", maps, photos


def test_a_photo_in_the_panoptic_format_has_its_segments(tree: tuple[Path, Path, Path]) -> None:
    listed = read_panoptic(*tree)
    scene, layers = render(43, SIDE, 2, 4), listed[3].read()
    assert np.array_equal(layers.pixels, scene.image)
    assert layers.segments == [Segment("sky", False), *[Segment("thing 3", True)] * len(scene.things)]
    assert not layers.labels[:4].any()
    assert [each.crowd for each in listed[-1].read().segments][:2] == [False, True]
    stored = layers.annotations()["annotations"]
    for annotation, thing in zip(stored[1:], scene.things, strict=True):
        rle = annotation["segmentation"]
        wanted = thing.mask.copy()
        wanted[:4] = False
        assert np.array_equal(coco.decode({**rle, "counts": rle["counts"].encode()}), wanted)
        assert annotation["area"] == wanted.sum()


def test_the_mask_of_what_is_pasted_is_where_its_colour_is_and_is_cut_off_what_lies_below() -> None:
    """A red disc on black: more than half of the red is mask. Of the two halves below, the rest is left."""
    y, x = np.mgrid[:60, :60]
    disc = (x - 30) ** 2 + (y - 30) ** 2 < 25**2
    piece = Piece(
        np.where(disc[..., None], np.array([255, 0, 0]), np.array([0, 255, 0])).astype(np.uint8), disc, "disc"
    )
    halves = np.repeat(np.array([[1, 2]], np.int32), 100, axis=1).repeat(150, axis=0)
    below = Layers(np.zeros((150, 200, 3), np.uint8), halves, [Segment("left", False), Segment("right", False)])
    made = [m for k in range(20) if (m := pasted(below, piece, generator("paste", k))) is not None]
    assert len(made) > 5
    for each in made:
        red = (each.pixels[..., 0] > each.pixels[..., 0].max() / 2).astype(np.uint8)
        mask, cross = each.labels == 3, np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
        assert (mask >= cv2.erode(red, cross)).all()
        assert (mask <= cv2.dilate(red, cross)).all()
        assert each.pixels[..., 1].max() < 60  # none of the green around it came along
        left = np.where(each.labels == 3, 3, halves)
        assert set(np.unique(each.labels[each.labels != left])) <= {0}
        assert each.segments[2] == Segment("disc", True)


def test_what_a_paste_hides_but_for_a_rest_is_no_mask_any_more() -> None:
    squares = np.arange(1, 101, dtype=np.int32).reshape(10, 10).repeat(20, axis=0).repeat(20, axis=1)
    below = Layers(np.zeros((200, 200, 3), np.uint8), squares, [Segment(f"{k}", True) for k in range(100)])
    piece = Piece(np.full((60, 60, 3), 255, np.uint8), np.pad(np.ones((50, 50), bool), 5), "square")
    made = next(m for k in range(20) if (m := pasted(below, piece, generator("hide", k))) is not None)
    areas = np.bincount(made.labels.ravel(), minlength=102)[1:101]
    assert ((areas == 0) | (areas >= 0.2 * 400)).all()
    assert (areas == 0).any()
    whole = kept(made, 1)
    assert len(whole.segments) == (areas > 0).sum() + 1
    assert whole.segments[-1].name == "square"
    assert np.array_equal(whole.labels == len(whole.segments), made.labels == 101)


def test_a_crop_moves_pixels_and_segments_alike(tree: tuple[Path, Path, Path]) -> None:
    """A photo whose pixels are the numbers of its segments stays one."""
    layers = read_panoptic(*tree)[2].read()
    layers = layers._replace(pixels=np.repeat(layers.labels[..., None], 3, axis=2).astype(np.uint8))
    sides = set()
    for number in range(10):
        part = cropped(layers, generator("crop", number))
        assert np.array_equal(part.pixels[..., 0], part.labels)
        sides.add(part.labels.shape)
        assert all(0.4 / 1.17 * SIDE <= side <= SIDE for side in part.labels.shape)
    assert len(sides) > 5


def test_four_photos_in_one_keep_their_segments() -> None:
    """Each segment is named after the value of its pixels; 0 is of none."""
    tiles = []
    for number, (height, width) in enumerate(((300, 400), (512, 512), (100, 90), (260, 300))):
        labels = np.tile(np.repeat(np.arange(3, dtype=np.int32), 10), (height, width // 30 + 1))[:, :width]
        values = np.where(labels > 0, 60 * number + 20 * labels, 0)
        segments = [Segment(f"{60 * number + 20 * place}", thing=True) for place in (1, 2)]
        tiles.append(Layers(np.repeat(values[..., None], 3, axis=2).astype(np.uint8), labels, segments))
    made = mosaic(tiles, generator("mosaic"))
    assert made.labels.shape == made.pixels.shape[:2] == (WIDEST, WIDEST)
    assert len(made.segments) == 8
    half = WIDEST // 2
    for number in range(4):
        part = (
            slice(half * (number // 2), half * (number // 2 + 1)),
            slice(half * (number % 2), half * (number % 2 + 1)),
        )
        found = set(np.unique(made.labels[part]).tolist()) - {0}
        assert found == {2 * number + 1, 2 * number + 2}
    named = np.array([0, *(int(each.name) for each in made.segments)])[made.labels]
    shown = made.pixels[..., 0].astype(int)
    assert (np.abs(named - shown) < 2).mean() > 0.8  # but where shrinking mixes neighbours
    assert not made.labels[half + 90 :, :half].any()  # the smallest photo is not enlarged


def test_only_whole_things_are_cut_out() -> None:
    pixels, bits = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), bool)
    bits[20:70, 20:70] = True
    assert cut_out(pixels, bits, "whole") is not None
    split = bits.copy()
    split[40:50] = False
    assert cut_out(pixels, split, "two pieces") is None
    bits[20:, 20:30] = True
    assert cut_out(pixels, bits, "touches the border") is None
    bits[:] = False
    bits[40:60, 40:60] = True
    assert cut_out(pixels, bits, "tiny") is None


def test_a_folder_is_the_same_each_time_and_has_nothing_of_what_is_held_out(
    tree: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Things are named after their photo, and the photos to paste on are copies of all annotated ones."""
    out = tmp_path / "out"
    told = ["--panoptic", *map(str, tree), "--photos", str(tree[2]), "-o", str(out), "--count", "12"]
    monkeypatch.setattr(sys, "argv", ["compose", *told, "--held-out", "3", "--seed", "5"])
    compose.main()
    held_out = sorted((out / "held-out").glob("*.png"))
    assert len(held_out) == 3
    assert all(path.read_bytes() == (tree[2] / path.name).read_bytes() for path in held_out)
    own = {f"thing {path.stem}" for path in held_out}
    named = {path: {a["name"] for a in json.loads(path.read_text())["annotations"]} for path in out.rglob("*.json")}
    assert set.union(*(named[out / "held-out" / f"{path.stem}.json"] for path in held_out)) == own | {"sky"}
    train = sorted((out / "train").glob("*.json"))
    assert len(train) == 12
    assert not own & set.union(*(named[path] for path in train))
    listed = read_panoptic(*tree)
    trained, kept_out = compose.split(listed, 3, 5)
    plain = compose.others(tree[2], kept_out)
    assert plain == [each.photo for each in trained]
    again = Composer(trained, plain, [], 5)
    for number in (11, 4):
        assert (out / "train" / f"{number:06}.jpg").read_bytes() == jpeg(again.image(number).pixels)
        assert (out / "train" / f"{number:06}.json").read_text() == json.dumps(again.image(number).annotations())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["-o", "."], "-o .: is there already"),
        (["--held-out", "8"], "--held-out 8: there are 8 annotated photos"),
        (["--count", "0"], "--count 0: give a number above 0"),
        (["--panoptic", "{photos}/1.png", "{maps}", "{photos}"], "1.png: is not in COCO's panoptic format"),
        (["--panoptic", "{json}", "{json}", "{photos}"], "0.png: is not there, though panoptic.json lists it"),
    ],
)
def test_bad_orders_are_refused_in_one_line(
    tree: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    said: str,
) -> None:
    places = {"json": tree[0], "maps": tree[1], "photos": tree[2]}
    told = ["--panoptic", *map(str, tree), "-o", str(tmp_path / "out"), *(word.format(**places) for word in change)]
    monkeypatch.setattr(sys, "argv", ["compose", *told])
    with pytest.raises(SystemExit) as ended:
        compose.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()
