"""Folders and tar shards: the same samples from either, broken ones skipped and named."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from samclip_edge.errors import InputError
from samclip_edge.rendered import RenderedScene, render
from samclip_edge.train.data.batches import ClipSteps, SamSteps
from samclip_edge.train.data.files import Files
from samclip_edge.train.data.sources import Source
from samclip_edge.train.recipe import Batch, Data


def write_sample(folder: Path, name: str, scene: RenderedScene) -> None:
    """A sample as SA-1B publishes it; its masks encoded by pycocotools."""
    cv2.imwrite(str(folder / f"{name}.jpg"), scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    height, width = scene.image.shape[:2]
    annotations = []
    for number, thing in enumerate(scene.things):
        rle = coco.encode(np.asfortranarray(thing.mask.astype(np.uint8)))
        segmentation = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
        annotations.append({"id": number, "segmentation": segmentation, "area": int(thing.mask.sum())})
    image = {"image_id": 1, "file_name": f"{name}.jpg", "width": width, "height": height}
    (folder / f"{name}.json").write_text(json.dumps({"image": image, "annotations": annotations}))


@pytest.fixture
def sa_1b(tmp_path: Path) -> Path:
    """A folder of six samples, 200 x 160 pixels."""
    folder = tmp_path / "sa"
    folder.mkdir()
    for number in range(6):
        scene = render(900 + number, size=200, fewest=2)
        cut = [type(t)(t.shape, t.colour, t.surface, t.mask[:160]) for t in scene.things if t.mask[:160].any()]
        write_sample(folder, f"sa_{number}", RenderedScene(scene.image[:160], tuple(cut), scene.ground))
    return folder


def tar_of(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, arcname=f"./{file.name}")
    return path


def test_a_tar_shard_holds_what_its_folder_holds(sa_1b: Path, tmp_path: Path) -> None:
    tar = tar_of(sa_1b, tmp_path / "sa_000000.tar")
    folder, shard = (Files([str(place)], annotated=True, cache=tmp_path) for place in (sa_1b, tmp_path / "*.tar"))
    assert len(folder) == len(shard) == 6
    for index in range(6):
        assert np.array_equal(folder[index].pixels(), shard[index].pixels())
        assert folder[index].masks() == shard[index].masks()
        for rle in (each.segmentation for each in folder[index].masks()):
            wanted = coco.decode({"size": rle["size"], "counts": rle["counts"].encode()}).astype(bool)
            assert np.array_equal(folder[index].bits(rle, (160, 200)), wanted)
    assert str(tar) in shard[0].name
    assert len(Files([str(sa_1b)], annotated=False, cache=tmp_path)) == 6


def test_masks_lie_in_the_models_square_as_in_the_image(sa_1b: Path, tmp_path: Path) -> None:
    """160 x 200 pixels at S = 400: every mask in the upper 320 rows, twice as wide and high."""
    source = Source(Data(files=(str(sa_1b),)), 0, annotated=True, cache=tmp_path)
    files = Files([str(sa_1b)], annotated=True, cache=tmp_path)
    for index in range(6):
        shape = Batch.model_construct(size=400, images=1, things=4)
        picture, masks, *_ = source.masked(source.draw(index), shape, most=32)
        assert picture.shape == (400, 400, 3)
        assert not np.any(np.array(masks)[:, 320:])
        raw = files[source.draw(index).image]
        full = [raw.bits(each.segmentation, (160, 200)) for each in raw.masks()]
        areas = sorted(mask.sum() / 4 for mask in masks)
        assert areas == pytest.approx(sorted(bits.sum() for bits in full), rel=0.1, abs=40)


def test_broken_samples_are_skipped_and_named(sa_1b: Path, tmp_path: Path) -> None:
    (sa_1b / "sa_0.jpg").write_bytes((sa_1b / "sa_0.jpg").read_bytes()[:500])
    (sa_1b / "sa_1.json").write_text('{"annotations": [')
    (sa_1b / "sa_2.json").write_text('{"annotations": [{"segmentation": {"size": [9, 9], "counts": "Q1"}}]}')
    source = Source(Data(files=(str(sa_1b),)), 0, annotated=True, cache=tmp_path)
    shape = Batch(size=128, images=6)
    (batch,) = SamSteps(32, source, [shape], range(1), (0, 1), 1, None)[0]
    assert batch.pixels.shape[0] == 6
    for name, why in (("sa_0.jpg", "truncated"), ("sa_1.jpg", "annotations"), ("sa_2.jpg", "9")):
        assert any(name in told and why in told for told in batch.skipped), name
    plain = Source(Data(files=(str(sa_1b),)), 0, annotated=False, cache=tmp_path)
    (images,) = ClipSteps(plain, [shape], range(1), (0, 1), 1, None)[0]
    assert images.pixels.shape == (6, 3, 128, 128)
    assert [told.split(":")[0].rsplit("/", 1)[1] for told in images.skipped] == ["sa_0.jpg"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "nothing there"),
        (lambda folder: [file.unlink() for file in folder.glob("*.json")], "hold no images with a json"),
    ],
)
def test_places_without_samples_are_named(
    sa_1b: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(sa_1b)
    with pytest.raises(InputError, match=said):
        Files([str(sa_1b)], annotated=True, cache=tmp_path)
