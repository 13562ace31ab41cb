"""What people have in hand as a photo: every form of it, from Python and from files, read as Pillow reads it."""

from __future__ import annotations

import contextlib
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
from PIL import Image, ImageOps
from support import Ran

from samclip_edge import SamClip, data
from samclip_edge.errors import InputError
from samclip_edge.photo.read import read_photo

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400
RGB = np.asarray(Image.open(PHOTO))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


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
    with pytest.raises(InputError, match=r"^white 0"):
        read_photo(RGB, white=0)


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(Image.open(PHOTO).resize((60, 40)), kind, exif=exif)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
    assert wanted.size == ((60, 40) if orientation < 5 else (40, 60))
    assert np.array_equal(read_photo(file), np.asarray(wanted))


def test_a_heic_is_turned_upright_once() -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    small = Image.open(PHOTO).resize((64, 48))
    pillow_heif.from_pillow(small).save(file, exif=exif.tobytes(), quality=95)
    read = read_photo(file.getvalue())
    assert read.shape == (64, 48, 3)
    assert np.abs(read.astype(int) - np.asarray(small.transpose(Image.Transpose.ROTATE_270))).mean() < 8


def test_grey_of_sixteen_bits_is_turned_upright_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    samples = np.array([[0, 65535, 256]], np.uint16)
    assert read_photo(saved(Image.fromarray(samples), "PNG", exif=exif))[..., 0].tolist() == [[0], [255], [1]]


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


def test_bigtiff_and_os2_bitmaps_are_read() -> None:
    assert np.array_equal(read_photo(saved(Image.open(PHOTO), "TIFF", big_tiff=True)), RGB)
    # A bitmap of OS/2: a header of 12 bytes, then rows of blue, green, red from the bottom.
    head = (26 + 4 * 2 * 2).to_bytes(4, "little") + bytes(4) + (26).to_bytes(4, "little")
    core = (12).to_bytes(4, "little") + b"".join(each.to_bytes(2, "little") for each in (2, 2, 1, 24))
    rows = b"\x01\x02\x03\x04\x05\x06\0\0" + b"\x07\x08\x09\x0a\x0b\x0c\0\0"
    assert read_photo(b"BM" + head + core + rows).tolist() == [[[9, 8, 7], [12, 11, 10]], [[3, 2, 1], [6, 5, 4]]]


@pytest.mark.parametrize(
    ("samples", "wanted", "said"),
    [
        (np.array([[0, 65535], [256, 32768]], np.uint16), [[0, 255], [1, 128]], None),
        (np.array([[0, 4095], [16, 2048]], np.uint16), [[0, 255], [1, 128]], "read as 12 bits"),
        (np.array([[0, 1023], [4, 512]], np.uint16), [[0, 255], [1, 128]], "read as 10 bits"),
        (np.array([[-100, 100], [0, 50]], np.int16), [[0, 255], [128, 191]], "from -100 (black) to 100 (white)"),
        (np.array([[0.0, 1.0], [0.5, 0.25]], np.float32), [[0, 255], [128, 64]], "from 0 (black) to 1 (white)"),
    ],
    ids=["16 bits", "12 in 16", "10 in 16", "int16", "float"],
)
def test_tiffs_of_more_than_eight_bits_are_not_black(
    caplog: pytest.LogCaptureFixture, samples: np.ndarray, wanted: list[list[int]], said: str | None
) -> None:
    image = Image.fromarray(samples.astype(np.int32) if samples.dtype == np.int16 else samples)
    read = read_photo(saved(image, "TIFF"))
    np.testing.assert_allclose(read[..., 0], wanted, atol=0 if said is None else 1)
    assert (read[..., 0] == read[..., 2]).all()
    assert [said in record.message for record in caplog.records] == ([] if said is None else [True])


def test_a_png_of_sixteen_bits_keeps_its_upper_eight() -> None:
    samples = np.array([[0, 4095], [65535, 32768]], np.uint16)
    assert read_photo(saved(Image.fromarray(samples), "PNG"))[..., 1].tolist() == [[0, 15], [255, 128]]


def test_pillows_floats_and_ints_are_not_black() -> None:
    ramp = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    for image in (Image.fromarray(ramp), Image.fromarray((ramp * 4095).astype(np.uint16))):
        read = read_photo(image)[..., 0]
        np.testing.assert_allclose(read, 255 * ramp, atol=1)


def test_native_libraries_say_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    files = {kind: saved(Image.open(PHOTO), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")}
    files["LZW"] = saved(Image.open(PHOTO), "TIFF", compression="tiff_lzw")
    for file in files.values():
        broken = bytearray(file)
        broken[len(file) // 2 : len(file) // 2 + 2000] = bytes(2000)
        for damaged in (bytes(broken), file[: len(file) // 3]):
            with contextlib.suppress(InputError):
                read_photo(damaged)
    assert capfd.readouterr().err == ""


def test_a_damaged_tiff_gives_one_line(run: Callable[..., Ran], tmp_path: Path) -> None:
    file = saved(Image.open(PHOTO), "TIFF", compression="tiff_lzw")
    (tmp_path / "cut.tif").write_bytes(file[: len(file) // 3])
    ran = run("classify", tmp_path / "cut.tif", "--label", "cat")
    assert (ran.code, [line.startswith(("note: ", "error: ")) for line in ran.err.splitlines()]) == (2, [True] * 2)


def test_a_photo_comes_through_a_pipe(tiny_folder: Path) -> None:
    code = "from samclip_edge.cli import main; main()"
    ask = [sys.executable, "-c", code, "classify", "/dev/stdin", "--label", "cat", "--bundle", tiny_folder, "--json"]
    piped = subprocess.run(ask, input=PHOTO.read_bytes(), capture_output=True)
    assert (piped.returncode, b'"width": 600' in piped.stdout) == (0, True)


def test_a_file_that_needs_bytes_says_so(tmp_path: Path) -> None:
    with (tmp_path / "t.txt").open("w+") as file, pytest.raises(InputError, match="'rb'"):
        read_photo(file)
