"""What comes out: masks in the forms of others, several photos at once, pictures of any size."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support import Ran

from samclip_edge import SamClip, data
from samclip_edge.photo import pictures
from samclip_edge.photo.masks import Mask, encode_rle
from samclip_edge.photo.pictures import draw_masks, draw_names
from samclip_edge.photo.polygons import polygons_of

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400


def of_coco(polygons: list[list[int]], shape: tuple[int, int]) -> np.ndarray:
    encoded = coco_mask.frPyObjects([list(map(float, each)) for each in polygons], *shape)
    return coco_mask.decode(coco_mask.merge(encoded)).astype(bool)


def test_polygons_lose_no_pixel() -> None:
    random = np.random.RandomState(0)
    for _ in range(200):
        height, width = random.randint(1, 14, 2)
        bits = random.rand(height, width) < random.rand()
        if bits.any():
            assert np.array_equal(of_coco(polygons_of(bits), (height, width)), bits)
    assert polygons_of(np.zeros((3, 3), bool)) == []


def test_the_polygon_of_a_rectangle_is_its_corners() -> None:
    bits = np.zeros((5, 7), bool)
    bits[1:3, 2:6] = True
    assert polygons_of(bits) == [[2, 1, 6, 1, 6, 3, 2, 3]]
    bits[1, 3] = False  # a notch in its upper side
    assert polygons_of(bits) == [[2, 1, 3, 1, 3, 2, 4, 2, 4, 1, 6, 1, 6, 3, 2, 3]]


@pytest.fixture
def asked(run: Callable[..., Ran], tiny_folder: Path) -> Callable[..., Ran]:
    return lambda *arguments: run("segment", *arguments, "--bundle", tiny_folder, "--size", 128)


def test_polygons_and_rle_are_the_same_masks(asked: Callable[..., Ran]) -> None:
    prompts = (PHOTO, "--box", "10,10,300,300", "--box", "200,100,500,350")
    rle, polygons = asked(*prompts, "--json").json, asked(*prompts, "--format", "polygons").json
    for one, other in zip(rle["masks"], polygons["masks"], strict=True):
        same = of_coco(other["segmentation"], (400, 600))
        assert np.array_equal(same, coco_mask.decode(one["segmentation"]).astype(bool))


def test_a_data_set_of_coco_is_read_by_coco(asked: Callable[..., Ran], tmp_path: Path) -> None:
    ran = asked(PHOTO, PHOTO, "--everything", "--grid", 3, "--min-iou", -9, "--min-stability", 0, "--format", "coco")
    (tmp_path / "coco.json").write_text(ran.out)
    found = COCO(tmp_path / "coco.json")
    assert len(found.imgs) == 2
    assert found.anns
    for annotation in found.anns.values():
        encoded = found.annToRLE(annotation)
        assert annotation["bbox"] == coco_mask.toBbox(encoded).tolist()
        assert annotation["area"] == coco_mask.area(encoded)
        assert annotation["category_id"] in found.cats


def test_masks_are_written_as_png(asked: Callable[..., Ran], tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    ran = asked(PHOTO, PHOTO, "--click", "300,200", "--click", "90,90", "--format", "png", "-o", folder, "--json")
    files = [mask["png"] for photo in ran.json["photos"] for mask in photo["masks"]]
    names = ["coffee.001.png", "coffee.002.png", "coffee-2.001.png", "coffee-2.002.png"]
    assert files == [str(folder / name) for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for photo in ran.json["photos"]:
        for mask in photo["masks"]:
            image = Image.open(mask["png"])
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), 255 * coco_mask.decode(mask["segmentation"]))


def test_a_click_is_a_prompt_of_its_own_and_points_are_one(asked: Callable[..., Ran], tiny: SamClip) -> None:
    scene = tiny.look(PHOTO, size=128)
    clicks = asked(PHOTO, "--click", "300,200", "--click", "90,90", "--json").json["masks"]
    wanted = scene.segment(points=[[[300, 200]], [[90, 90]]])
    assert [mask["segmentation"] for mask in clicks] == [mask.rle for mask in wanted]
    assert len(asked(PHOTO, "--point", "300,200", "--point", "90,90", "--json").json["masks"]) == 1


def test_several_photos_have_a_picture_each(
    asked: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PHOTO.parent)
    ran = asked("coffee.jpg", "coffee.jpg", "--point", "9,9", "-o", tmp_path / "drawn")
    assert ran.code == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["coffee-2.png", "coffee.png"]
    assert ran.out.count("coffee.jpg") == 2
    refused = asked(PHOTO, PHOTO, "--point", "9,9", "-o", tmp_path / "one.png")
    assert (refused.code, "one picture for 2 photos; name a folder" in refused.err) == (2, True)
    refused = asked(PHOTO, "--point", "9,9", "--format", "png")
    assert (refused.code, "name a folder with -o" in refused.err) == (2, True)


def test_no_picture_is_written_over_a_photo(asked: Callable[..., Ran], tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.open(PHOTO).save(tmp_path / name)
    (tmp_path / "link.png").symlink_to("a.png")
    a, b, before = tmp_path / "a.png", tmp_path / "b.png", (tmp_path / "a.png").read_bytes()
    for arguments in ((a, "-o", a), (a, "-o", tmp_path / "link.png"), (a, b, "-o", tmp_path), (a, "-o", tmp_path)):
        ran = asked(*arguments, "--point", "9,9")
        assert (ran.code, "is the photo itself" in ran.err) == (2, True)
    assert a.read_bytes() == before


def test_a_full_disk_loses_no_answer(
    asked: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pictures, "write_whole", full)
    ran = asked(PHOTO, PHOTO, "--point", "9,9", "-o", tmp_path / "drawn", "--json")
    assert (ran.code, len(ran.json["failed"])) == (2, 2)
    assert "No space left on device" in ran.json["failed"][0]["error"]


def test_where_pictures_cannot_go_is_said_before_the_work(
    asked: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere" / "x.png")
    ran = asked(PHOTO, "--point", "9,9", "-o", tmp_path / "dangling.png")
    assert (ran.code, ran.out, "name a file in a folder that exists" in ran.err) == (2, "", True)
    (tmp_path / "open").mkdir()  # in a folder that is closed
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK or Path(path).name == "open")
    assert asked(PHOTO, PHOTO, "--point", "9,9", "-o", tmp_path / "open").code == 0


def test_a_long_name_stays_in_the_picture() -> None:
    pixels = np.full((300, 960, 3), 200, np.uint8)
    picture = draw_names(pixels, [("name " * 60, 0.5)])
    assert (picture[:, -3:] == 200).all()


def test_a_picture_replaces_what_a_link_points_to(asked: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "old.png").touch()
    (tmp_path / "link.png").symlink_to("old.png")
    assert asked(PHOTO, "--point", "9,9", "-o", tmp_path / "link.png").code == 0
    assert (tmp_path / "link.png").is_symlink()
    assert Image.open(tmp_path / "old.png").size == (960, 640)


@pytest.mark.parametrize(
    ("shape", "drawn"), [((40, 9000), (18, 4096)), ((600, 1200), (600, 1200)), ((3, 4), (720, 960))]
)
def test_a_picture_is_drawn_at_the_size_that_is_written(shape: tuple[int, int], drawn: tuple[int, int]) -> None:
    bits = np.zeros(shape, bool)
    bits[:, : shape[1] // 2] = True
    pixels = np.full((*shape, 3), 200, np.uint8)
    picture = draw_masks(pixels, [Mask(encode_rle(bits), 0.9, None, label="кошка", score=0.5)])
    assert picture.shape == (*drawn, 3)
    right = picture[:, -drawn[1] // 4 :]
    assert (right == 200).all()  # nothing is drawn off the mask, but for its outline and its name
    assert (picture[:, : drawn[1] // 4] != 200).any()


def test_json_of_one_photo_is_flat_and_of_several_a_list(asked: Callable[..., Ran]) -> None:
    one = asked(PHOTO, "--point", "9,9", "--json").json
    several = asked(PHOTO, PHOTO, "--point", "9,9", "--json").json
    assert [json.dumps(each["masks"]) for each in several["photos"]] == [json.dumps(one["masks"])] * 2
    assert several["failed"] == []
