"""What people have in hand as a photo: every form of it, from Python and from files, read as Pillow reads it."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image
from support import saved

from samclip_edge import SamClip, data
from samclip_edge.errors import InputError
from samclip_edge.photo.read import read_photo

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400
RGB = np.asarray(Image.open(PHOTO))


class Foreign:
    """An array of another library."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return RGB


FORMS: dict[str, Callable[[], object]] = {
    "path": lambda: PHOTO,
    "text": lambda: str(PHOTO),
    "bytes": PHOTO.read_bytes,
    "bytearray": lambda: bytearray(PHOTO.read_bytes()),
    "memoryview": lambda: memoryview(PHOTO.read_bytes()),
    "open file": lambda: io.BytesIO(PHOTO.read_bytes()),
    "Pillow": lambda: Image.open(PHOTO),
    "array": lambda: RGB,
    "rows backwards": lambda: RGB[::-1][::-1],
    "__array__": Foreign,
    "memoryview of an array": lambda: memoryview(np.array(RGB)),
    "torch": lambda: torch.tensor(RGB),
    "torch, channels first": lambda: torch.tensor(RGB).permute(2, 0, 1),
    "RGBA": lambda: np.dstack([RGB, np.full(RGB.shape[:2], 7, np.uint8)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_photo_is_the_same_photo(form: str) -> None:
    assert np.array_equal(read_photo(FORMS[form]()), RGB)


def test_floats_need_their_white_and_are_then_the_same_photo() -> None:
    for values, white in ((RGB / 255, 1), (RGB.astype(np.float16), 255), (RGB.astype(np.uint16) * 257, 65535)):
        assert np.array_equal(read_photo(values, white=white), RGB)
        with pytest.raises(InputError, match="which value is white"):
            read_photo(values)
    gradient = torch.tensor(RGB / 255, requires_grad=True)
    assert np.array_equal(read_photo(gradient, white=1), RGB)
    half = torch.tensor(RGB / 255, dtype=torch.bfloat16)
    assert np.abs(read_photo(half, white=1).astype(int) - RGB).max() <= 1
    deep = Image.fromarray((RGB[..., 0] / 255).astype(np.float32))
    assert np.array_equal(read_photo(deep, white=1)[..., 0], RGB[..., 0])
    assert np.array_equal(read_photo(saved(deep, "TIFF"), white=1)[..., 0], RGB[..., 0])
    with pytest.raises(InputError, match="undo a normalisation"):
        read_photo((RGB / 255 - 0.45) / 0.22, white=1)
    with pytest.raises(InputError, match="undo a normalisation"):
        read_photo(RGB / 255 * np.nan, white=1)
    for white in (0, -1, np.inf, np.nan, 5e-324, 10**400, "white", [1, 2]):
        for photo in (RGB, PHOTO, Image.open(PHOTO)):
            with pytest.raises(InputError, match=r"^white "):
                read_photo(photo, white=white)


def test_grey_has_alpha_or_not() -> None:
    grey = RGB[..., 0]
    wanted = np.repeat(grey[..., None], 3, axis=2)
    for array in (grey, grey[..., None], np.dstack([grey, grey // 2]), torch.tensor(grey)[None]):
        assert np.array_equal(read_photo(array), wanted)


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 3), bool),
        np.zeros((4, 4, 3), complex),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((9, 9, 9), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.array([["a"]]),
        [[1, 2], [3]],
        object(),
        None,
        3,
        io.StringIO("text"),
        b"",
        b"\xff\xd8\xff",
        Image.new("RGB", (0, 4)),
    ],
    ids=lambda photo: f"{type(photo).__name__} {getattr(photo, 'shape', '')}",
)
def test_what_is_no_photo_is_an_input_error(photo: object) -> None:
    with pytest.raises(InputError):
        read_photo(photo)


def test_a_camera_may_reuse_its_buffer(tiny: SamClip) -> None:
    buffer = np.array(RGB)
    scene = tiny.look(buffer, size=128)
    buffer[:] = 0
    assert np.array_equal(scene.pixels, RGB)
    with pytest.raises(ValueError, match="read-only"):
        scene.pixels[:] = 0


def test_pillows_image_is_turned_upright_as_its_file_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(Image.open(PHOTO), "JPEG", exif=exif)
    assert read_photo(turned).shape == (600, 400, 3)
    assert np.array_equal(read_photo(Image.open(io.BytesIO(turned))), read_photo(turned))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_files_are_decoded_as_pillow_does(kind: str) -> None:
    file = saved(Image.open(PHOTO), kind)
    assert np.array_equal(read_photo(file), np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


def test_a_photo_of_an_iphone_is_read() -> None:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.open(PHOTO)).save(file, quality=95)
    assert np.abs(read_photo(file.getvalue()).astype(int) - RGB).mean() < 4


@pytest.mark.parametrize(
    ("file", "missing", "mend"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "pillow_heif", "samclip-edge[heic]"),
        (b"\0\0\0\x18ftypavif" + bytes(40), "PIL.AvifImagePlugin", "Pillow 11.3"),
    ],
)
def test_a_format_whose_plugin_is_missing_says_which(
    monkeypatch: pytest.MonkeyPatch, file: bytes, missing: str, mend: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError) as error:
        read_photo(file)
    assert mend in str(error.value)


def test_a_jpeg_without_its_end_is_decoded_as_far_as_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    whole = PHOTO.read_bytes()
    assert whole.endswith(b"\xff\xd9")
    assert np.array_equal(read_photo(whole + b"appended by a camera"), RGB)
    assert not caplog.records
    assert np.array_equal(read_photo(whole[:-2]), RGB)
    half = read_photo(whole[: len(whole) // 2])
    assert np.array_equal(half[:100], RGB[:100])
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert all("breaks off" in record.message for record in caplog.records)


def test_a_gif_without_its_trailer_or_with_more_behind_it_is_whole() -> None:
    whole = saved(Image.open(PHOTO), "GIF")
    wanted = read_photo(whole)
    assert whole.endswith(b";")
    for file in (whole[:-1], whole + b"\n", whole + bytes(9)):
        assert np.array_equal(read_photo(file), wanted)


def test_a_photo_comes_through_a_pipe(tiny_folder: Path) -> None:
    code = "from samclip_edge.cli import main; main()"
    ask = [sys.executable, "-c", code, "classify", "/dev/stdin", "--label", "cat", "--bundle", tiny_folder, "--json"]
    piped = subprocess.run(ask, input=PHOTO.read_bytes(), capture_output=True)
    assert (piped.returncode, b'"width": 600' in piped.stdout) == (0, True)


def test_a_file_that_needs_bytes_says_so(tmp_path: Path) -> None:
    with (tmp_path / "t.txt").open("w+") as file, pytest.raises(InputError, match="'rb'"):
        read_photo(file)
