"""One bad training file never stops a run: it is skipped and named, whatever is wrong with it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch._utils import ExceptionWrapper

from samclip_edge.errors import InputError
from samclip_edge.photo.masks import encode_rle
from samclip_edge.train.data import files as files_module
from samclip_edge.train.data.batches import ClipSteps, SamSteps, collected
from samclip_edge.train.data.files import BrokenSample, Files
from samclip_edge.train.data.loading import Loader
from samclip_edge.train.data.sources import Sample, Source
from samclip_edge.train.recipe import Batch, Data

SHAPE = Batch(size=128, images=8)
MASKS = {"annotations": [{"segmentation": {"size": [20, 30], "counts": "b1T3R>"}}]}  # runs of 50, 100, 450


def image_of(seed: int, ending: str = "jpeg", size: tuple[int, int] = (30, 20)) -> bytes:
    file = io.BytesIO()
    width, height = size
    Image.fromarray(np.random.RandomState(seed).randint(0, 255, (height, width, 3), np.uint8)).save(file, ending)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five samples, of which tests spoil the one that is named bad."""
    made = tmp_path / "data"
    made.mkdir()
    for number, name in enumerate(("a", "bad", "c", "d", "e")):
        (made / f"{name}.jpg").write_bytes(image_of(number))
        (made / f"{name}.json").write_text(json.dumps(MASKS))
    return made


def source(folder: Path, annotated: bool = True) -> Source:
    return Source(Data(files=(str(folder),)), 0, annotated, folder.parent)


def sam_steps(images: Source, shape: Batch = SHAPE) -> SamSteps:
    return SamSteps(4, images, [shape], range(1), (0, 1), 1, None)


def skipped_once(folder: Path) -> str:
    """What a batch tells of the sample that is named bad; the batch is whole all the same."""
    (batch,) = sam_steps(source(folder))[0]
    assert batch.pixels.shape == (8, 3, 128, 128)
    told = set(batch.skipped)
    assert len(told) == 1
    (line,) = told
    assert line.startswith(str(folder / "bad.jpg"))
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"not a photo", "not a JPEG"),
        (image_of(1)[:-2], "no end mark"),
        (image_of(1)[:-200], "no end mark"),
        (image_of(1)[:200], "no end mark"),
        (b"\xff\xd8", "no end mark"),
        (b"\xff\xd8\xff\xd9", "no end mark"),
        (image_of(1, "png")[:-30], ""),
        (image_of(1, "webp")[:-30], ""),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\x7f\xff\xff\xff" * 2 + image_of(1, "png")[24:], ""),
        (image_of(1, size=(31, 20)), "size"),
    ],
)
def test_a_bad_image_is_skipped_and_named(folder: Path, data: bytes, said: str) -> None:
    (folder / "bad.jpg").write_bytes(data)
    assert said in skipped_once(folder)


def test_bytes_after_the_end_of_a_jpeg_are_no_fault(folder: Path) -> None:
    """As phones write them: a film, with bytes that look like a scan without an end; or zeros, or a new line."""
    for after in (b"ftyp\xff\xda\x00\x01", b"\0" * 100, b"\r\n"):
        (folder / "bad.jpg").write_bytes(image_of(1) + after)
        assert Files([str(folder / "bad.jpg")], annotated=False, cache=folder.parent)[0].pixels().shape == (20, 30, 3)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b'{"annotations": {}}',
        b'{"annotations": []}',
        b'{"annotations": [{"id": 1}]}',
        b"[" * 100_000,
        b'{"annotations": "caf\xe9"}',
        json.dumps({"annotations": [{"segmentation": {"size": [20, 30], "counts": [10**15]}}]}).encode(),
        json.dumps(
            {"annotations": [{"segmentation": {"size": [20, 30], "counts": "PPP]\\bj_]l0"}}]}
        ).encode(),  # the same
        json.dumps({"annotations": [{"segmentation": {"size": [20.0, 30.0], "counts": "\u00e9"}}]}).encode(),
        json.dumps({"annotations": [{"segmentation": {"size": [20, 30], "counts": [700, -100]}}]}).encode(),
        json.dumps({"annotations": [{"segmentation": {"size": [20, 30], "counts": [600]}}]}).encode(),  # empty
        json.dumps({"annotations": [{"segmentation": [[1e300] * 8]}]}).encode(),
    ],
    ids=lambda text: text[:70],
)
def test_a_bad_json_is_skipped_and_named(folder: Path, text: bytes) -> None:
    (folder / "bad.json").write_bytes(text)
    skipped_once(folder)


@pytest.mark.parametrize("name", ["bad.jpg", "bad.json"])
def test_a_file_that_is_gone_is_skipped_and_named(folder: Path, name: str) -> None:
    images = source(folder)
    (folder / name).unlink()
    (batch,) = sam_steps(images)[0]
    assert len(batch.pixels) == 8
    assert {line.split(": ")[0] for line in batch.skipped} == {str(folder / "bad.jpg")}


def test_a_link_to_nowhere_is_skipped_and_named(folder: Path) -> None:
    (folder / "bad.jpg").unlink()
    (folder / "bad.jpg").symlink_to(folder / "nowhere.jpg")
    assert "No such file" in skipped_once(folder)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError(), RecursionError("deep")])
def test_whatever_reading_raises_the_sample_is_skipped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    decode = files_module.read_photo

    def spoilt(data: bytes) -> np.ndarray:
        if data == (folder / "bad.jpg").read_bytes():
            raise error
        return decode(data)

    monkeypatch.setattr(files_module, "read_photo", spoilt)
    skipped_once(folder)


def test_a_pipe_or_a_folder_with_the_name_of_an_image_is_no_image(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    assert len(source(folder, annotated=False)) == 5


def test_an_image_of_one_pixel_is_used(tmp_path: Path) -> None:
    for name, size in {"one": (1, 1), "wide": (3000, 1), "high": (1, 3000)}.items():
        (tmp_path / f"{name}.png").write_bytes(image_of(1, "png", size))
        rle = encode_rle(np.ones(size[::-1], bool))
        (tmp_path / f"{name}.json").write_text(json.dumps({"annotations": [{"segmentation": rle}]}))
    images = source(tmp_path)
    for index in range(3):
        batch = collected([images.masked(Sample(index, 0), SHAPE, 4)])
        assert batch.masks.any()
    (crops,) = ClipSteps(source(tmp_path, annotated=False), [SHAPE], range(1), (0, 1), 1, None)[0]
    assert (len(crops.pixels), crops.skipped) == (8, [])


def test_a_shard_that_is_gone_leaves_the_others(tmp_path: Path) -> None:
    """150 samples in a row are broken, more than a run tries: so it does not try them in a row."""
    for shard, count in {"a": 150, "b": 50}.items():
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as file:
            for number in range(count):
                for ending, data in {"jpg": image_of(number), "json": json.dumps(MASKS).encode()}.items():
                    entry = tarfile.TarInfo(f"{number}.{ending}")
                    entry.size = len(data)
                    file.addfile(entry, io.BytesIO(data))
    images = source(tmp_path)
    (tmp_path / "a.tar").unlink()
    (batch,) = sam_steps(images, Batch(size=128, images=40))[0]
    assert len(batch.pixels) == 40
    assert batch.skipped
    assert all(line.startswith(f"{tmp_path}/a.tar (bytes ") for line in batch.skipped)


@pytest.mark.parametrize("in_worker", [False, True])
def test_data_of_which_nothing_can_be_used_ends_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, in_worker: bool
) -> None:
    for path in folder.glob("*.jpg"):
        path.write_bytes(b"")
    spoilt = sam_steps(source(folder))

    def worker(*_: object, **__: object) -> Iterator[None]:
        """What a loader does in this process over an error of another; a real one then takes five seconds to end."""
        try:
            yield spoilt[0]
        except BrokenSample:
            ExceptionWrapper(where="in DataLoader worker process 0").reraise()

    if in_worker:
        monkeypatch.setattr("samclip_edge.train.data.loader_processes.DataLoader", worker)
    with pytest.raises(InputError) as error:
        next(iter(Loader(spoilt, 0)))
    assert str(error.value).startswith("recipe: 100 broken samples in a row; the last: ")
    assert "\n" not in str(error.value)


def test_a_missing_package_is_no_broken_sample(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bad.json").write_text(json.dumps({"annotations": [{"segmentation": [[1, 1, 9, 1, 9, 9]]}]}))
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ImportError):
        sam_steps(source(folder))[0]


@pytest.mark.parametrize("ending", ["jpeg", "png", "webp"])
def test_random_damage_ends_in_a_broken_sample_or_an_image(
    tmp_path: Path, ending: str, spoil: Callable[[bytes, random.Random], bytes]
) -> None:
    random_bytes = random.Random(0)
    for _ in range(60):
        (tmp_path / f"x.{ending}").write_bytes(spoil(image_of(0, ending), random_bytes))
        (tmp_path / "x.json").write_bytes(spoil(json.dumps(MASKS).encode(), random_bytes))
        with contextlib.suppress(BrokenSample):
            batch = collected([source(tmp_path).masked(Sample(0, 0), SHAPE, 4)])
            assert batch.masks.flatten(1).any(dim=1).all()
            assert 0 <= batch.pixels.min() <= batch.pixels.max() <= 255


@pytest.fixture
def spoil() -> Callable[[bytes, random.Random], bytes]:
    """A few bytes changed, half of the time near the beginning, and one time in four cut off."""

    def changed(data: bytes, chance: random.Random) -> bytes:
        made = bytearray(data)
        for _ in range(chance.randint(0, 3)):
            made[chance.randrange(len(made) if chance.random() < 0.5 else 60)] = chance.randrange(256)
        return bytes(made[: chance.randrange(len(made))] if chance.random() < 0.25 else made)

    return changed
