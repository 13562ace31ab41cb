"""Photo files of every depth, orientation and state, and what native libraries say of them."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps
from support import Ran, saved

from samclip_edge import data
from samclip_edge.errors import InputError
from samclip_edge.native import native_lines
from samclip_edge.photo.read import read_photo

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400
RGB = np.asarray(Image.open(PHOTO))


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


def tiff(samples: np.ndarray) -> bytes:
    return saved(Image.fromarray(samples), "TIFF")


def tagged(file: bytes, tag: int, value: int) -> bytes:
    """A TIFF with another value of a tag of 16 bits."""
    at = file.index(tag.to_bytes(2, "little") + (3).to_bytes(2, "little"))
    return file[: at + 8] + value.to_bytes(2, "little") + file[at + 10 :]


def test_a_tiff_in_which_white_is_zero_is_not_inverted() -> None:
    file = tagged(tiff(np.array([[0, 65535, 256]], np.uint16)), 262, 0)
    assert read_photo(file)[0, :, 0].tolist() == [255, 0, 254]
    assert read_photo(file, white=65535)[0, :, 0].tolist() == [255, 0, 254]


def test_a_tiff_of_32_unsigned_bits_does_not_wrap() -> None:
    samples = np.array([[0, 3 * 2**30, 2**32 - 1]], np.uint32)
    file = tagged(tiff(samples.view(np.int32)), 339, 1)
    assert read_photo(file)[0, :, 0].tolist() == [0, 191, 255]
    assert read_photo(file, white=2**32 - 1)[0, :, 0].tolist() == [0, 191, 255]


def test_pillows_limit_is_named_and_the_user_may_raise_both(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "a.tif").write_bytes(saved(Image.open(PHOTO), "TIFF"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"PIL\.Image\.MAX_IMAGE_PIXELS"):
        read_photo(tmp_path / "a.tif")
    ask = ("classify", tmp_path / "a.tif", "--label", "cat", "--json")
    assert run(*ask, "--max-pixels", 300_000).code == 0
    with pytest.raises(InputError, match=r"^max_pixels 9"):
        read_photo(Image.open(PHOTO), max_pixels=9)


def test_photos_are_decoded_from_many_threads() -> None:
    files = [saved(Image.open(PHOTO), "TIFF", compression="tiff_lzw"), PHOTO.read_bytes()] * 8
    before = os.fstat(2)
    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(pixels, RGB) for pixels in pool.map(read_photo, files))
    assert os.path.samestat(before, os.fstat(2))


def test_stderr_comes_back_whichever_thread_is_first() -> None:
    """What is kept from stderr by one thread must not be taken for stderr by another."""
    before, inside, go = os.fstat(2), threading.Event(), threading.Event()

    def first() -> None:
        with native_lines():
            inside.set()
            go.wait()

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    threading.Timer(0.05, go.set).start()
    with native_lines() as lines:
        os.write(2, b"a native line\n")
    thread.join()
    assert lines == ["a native line"]
    assert os.path.samestat(before, os.fstat(2))


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
            with contextlib.suppress(InputError, OSError, SyntaxError):
                read_photo(Image.open(io.BytesIO(damaged)))
    assert capfd.readouterr().err == ""


def test_a_damaged_tiff_gives_one_line(run: Callable[..., Ran], tmp_path: Path) -> None:
    file = saved(Image.open(PHOTO), "TIFF", compression="tiff_lzw")
    (tmp_path / "cut.tif").write_bytes(file[: len(file) // 3])
    ran = run("classify", tmp_path / "cut.tif", "--label", "cat")
    assert (ran.code, [line.startswith(("note: ", "error: ")) for line in ran.err.splitlines()]) == (2, [True] * 2)
