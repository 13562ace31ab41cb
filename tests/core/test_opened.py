"""Large JPEGs of which only reduced pixels are decoded, against all of their pixels."""

from __future__ import annotations

import io
import logging
import pickle

import numpy as np
import pytest
from PIL import Image, ImageOps
from support import iou, saved

from samclip_edge import InputError, SamClip, data
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.read import open_photo, read_photo

LARGE = Image.open(data.FOLDER / "photos" / "coffee.jpg").resize((1600, 1072))


def taken(side: int) -> Image.Image:
    """A photo whose longer side is so long."""
    return LARGE.resize((side, round(side * 0.67 / 8) * 8))


@pytest.mark.parametrize(
    ("side", "size", "by"),
    [
        (1600, 224, 4),
        (1600, 112, 8),
        (1600, 128, 4),
        (1600, 448, 2),
        (1560, 448, 1),
        (1604, 64, 4),
        (1602, 64, 2),
        (1601, 64, 1),
    ],
)
def test_as_few_pixels_are_decoded_as_are_enough(side: int, size: int, by: int) -> None:
    photo = taken(side)
    opened = open_photo(saved(photo, "JPEG"), size)
    assert (opened.width, opened.height) == photo.size
    assert opened.reduced(size / side).shape == (photo.height // by, photo.width // by, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_reduced_pixels_make_nearly_the_same_input(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(LARGE.convert(mode), "JPEG", exif=exif, quality=92)
    whole = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB"))
    opened, frame = open_photo(file, 192), Frame.of(whole, 192)
    few = opened.reduced(frame.scale)
    assert few.size * 15 < whole.size
    assert np.abs(frame.image(few) - frame.image(whole)).mean() < 1
    assert np.array_equal(opened.pixels, whole)
    with pytest.raises(ValueError, match="read-only"):
        opened.pixels[:] = 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "CMYK"])
def test_only_plain_jpegs_are_reduced(kind: str) -> None:
    file = saved(LARGE.convert("CMYK"), "JPEG") if kind == "CMYK" else saved(LARGE, kind)
    assert np.array_equal(open_photo(file, 128).reduced(0.08), read_photo(file))


def test_what_wants_more_pixels_gets_all() -> None:
    file = saved(LARGE, "JPEG")
    opened = open_photo(file, 128)
    assert opened.reduced(128 / 1600).shape == (268, 400, 3)
    assert np.array_equal(opened.reduced(0.2), read_photo(file))


def test_a_jpeg_cut_in_its_header_is_refused_when_it_is_opened() -> None:
    cut = saved(LARGE, "JPEG")[:300]
    with pytest.raises(InputError, match="truncated or damaged"):
        open_photo(cut, 128)


def test_a_jpeg_that_breaks_off_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    file = saved(LARGE, "JPEG")
    with caplog.at_level(logging.WARNING):
        opened = open_photo(file[: len(file) // 2], 128)
        assert "breaks off" in caplog.text
        caplog.clear()
        few, whole = opened.reduced(0.08), opened.pixels
    assert not caplog.records
    assert (few.shape, whole.shape) == ((268, 400, 3), (1072, 1600, 3))
    for pixels in (few, whole):  # grey below
        assert np.ptp(pixels[: len(pixels) // 4]) > 100
        assert np.ptp(pixels[-len(pixels) // 4 :].astype(int), axis=(0, 1)).max() <= 2


def test_answers_are_in_pixels_of_the_whole_photo(tiny: SamClip) -> None:
    file = saved(LARGE, "JPEG", quality=92)
    scene, whole = tiny.look(file, 128), tiny.look(read_photo(file), 128)
    assert (scene.frame.height, scene.frame.width) == (1072, 1600)
    (mask,), (wanted,) = (each.segment(points=[[800, 500]]) for each in (scene, whole))
    assert mask.rle["size"] == [1072, 1600]
    assert iou(mask.bits, wanted.bits) > 0.95
    copied = pickle.loads(pickle.dumps(scene))
    assert np.array_equal(copied.pixels, whole.pixels)
    assert np.array_equal(copied.embedding, scene.embedding)
