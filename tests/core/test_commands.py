"""What the commands print and draw when all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco
from support import Ran

import samclip_edge
from samclip_edge import SamClip, data
from samclip_edge.photo.masks import Mask, encode_rle
from samclip_edge.photo.pictures import color, draw_masks

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400


def test_segment_prints_coco_masks_and_draws_them(run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    arguments = ("--point", "300,200", "--point", "10,10,0", "--bundle", tiny_folder, "--json", "-o", out)
    ran = run("segment", PHOTO, *arguments)
    assert ran.code == 0
    assert ran.err.startswith("note: untrained weights")
    (mask,) = ran.json["masks"]
    (wanted,) = SamClip.load(tiny_folder).look(PHOTO).segment(points=[[300, 200], [10, 10]], labels=[1, 0])
    assert np.array_equal(coco.decode(mask["segmentation"]).astype(bool), wanted.bits)
    assert mask["area"] == wanted.area
    assert mask["box"] == list(wanted.box)
    assert mask["predicted_iou"] == wanted.predicted_iou
    assert "score" not in mask, "nothing was named"
    assert cv2.imread(str(out)).shape == (640, 960, 3)


def test_every_mode_of_segment_runs(run: Callable[..., Ran], tiny_folder: Path) -> None:
    def masks(*arguments: object) -> list[dict]:
        ran = run("segment", PHOTO, *arguments, "--bundle", tiny_folder, "--json")
        assert ran.code == 0, ran.err
        return ran.json["masks"]

    assert len(masks("--point", "300,200", "--all")) == 3
    assert len(masks("--box", "10,10,200,200", "--box", "5,5,90,90")) == 2
    assert len(masks("--box", "10,10,200,200", "--point", "50,50", "--size", 128)) == 1
    assert {mask["label"] for mask in masks("--text", "cup", "--text", "table")} <= {"cup", "table"}
    assert {mask["label"] for mask in masks("--text", "cup", "--no-refine")} <= {"cup"}
    every = masks(
        "--everything", "--grid", 2, "--min-iou", -9, "--min-stability", 0, "--label", "cup", "--label", "table"
    )
    assert every
    assert every == masks(
        "--everything", "--grid", 2, "--min-iou", -9, "--min-stability", 0, "--label", "cup", "--label", "table"
    )
    assert all(mask.get("label", "cup") in ("cup", "table") and 0 <= mask.get("score", 0) <= 1 for mask in every)
    assert masks("--everything", "--grid", 2, "--min-iou", 9, "--label", "cup", "--min-score", 0.7) == []
    options = ("--find-points", 1, "--find-threshold", 0.9, "--min-score", 0, "--background", "wall")
    (cup,) = masks("--text", "cup", *options)
    assert cup["label"] == "cup"
    assert {mask["label"] for mask in masks("--text", "cup", "--text", "table", "--as-published")} <= {"cup", "table"}


def test_classify_names_each_photo(run: Callable[..., Ran], tiny_folder: Path, tmp_path: Path) -> None:
    photos = data.photos()
    ran = run("classify", *photos, "--label", "cat", "--label", "cup", "--bundle", tiny_folder, "--json")
    assert ran.code == 0
    assert [photo["photo"] for photo in ran.json["photos"]] == [str(photo) for photo in photos]
    assert ran.json["size"] == 128
    for photo, path in zip(ran.json["photos"], photos, strict=True):
        wanted = SamClip.load(tiny_folder).look(path, 128).classify(["cat", "cup"])
        for found, guess in zip(photo["labels"], wanted, strict=True):  # several photos in a call, to rounding
            assert found == pytest.approx(guess._asdict(), abs=1e-5)
        assert photo["any_fits"] == wanted.any_fits
    assert run("classify", photos[0], "--label", "x", "--bundle", tiny_folder, "-o", tmp_path / "n.jpg").code == 0
    assert (tmp_path / "n.jpg").exists()


def test_verify_and_doctor_say_that_all_is_well(run: Callable[..., Ran], tiny_folder: Path) -> None:
    ran = run("verify", tiny_folder, "--json")
    assert ran.code == 0
    assert ran.json["ok"]
    assert {check["what"] for check in ran.json["checks"]} >= {"image_encoder.weights", "clip_head 256: patch_features"}
    assert "FAILED" not in run("verify", tiny_folder).out
    ran = run("doctor", "--json")
    assert ran.code == 0
    assert ran.json["abilities"] == dict.fromkeys(
        ("run", "export", "coreml", "litert", "tensorrt", "train", "bench"), "ready"
    )
    assert run("doctor").code == 0


def test_help_and_version(run: Callable[..., Ran]) -> None:
    assert run("--version").out == f"{samclip_edge.__version__}\n"
    for verb in ("init", "export", "classify", "segment", "info", "verify", "doctor"):
        ran = run(verb, "--help")
        assert ran.code == 0
        assert "--json" in ran.out
    told = run("export", "--help").out
    assert told.index("--size") < told.index("Of --target coreml:") < told.index("--points")
    assert told.index("--points") < told.index("Of --target tensorrt:") < told.index("--onnx-only")
    ran = run("no-such-verb")
    assert (ran.code, ran.err.count("\n")) == (2, 1)


def test_names_and_outlines_show_on_black_and_on_white() -> None:
    bits = np.zeros((300, 400), bool)
    bits[80:220, 100:300] = True
    for ground in (0, 255):
        pixels = np.full((300, 400, 3), ground, np.uint8)
        picture = draw_masks(pixels, [Mask(encode_rle(bits), 0.9, label="犬 é")])
        row = picture[picture.shape[0] // 3, :, :].astype(int)
        edge = row[200:280]  # across the outline, left of the name
        assert edge.max() - edge.min() > 150
        plate = picture[picture.shape[0] // 2 - 12 : picture.shape[0] // 2 + 12, 400:560].astype(int)
        assert plate.min() < 40
        assert plate.max() > 240


def test_colours_differ() -> None:
    colours = np.array([color(index) for index in range(24)], int)
    gaps = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1000 * np.eye(24, dtype=int)
    assert gaps.min() > 40
