"""Photos in and masks out, against Pillow and segment_anything."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from cv2 import resize as resize_floats
from PIL import Image
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from support import TOLERANCE, off

from samclip_edge.bundle.spec import PIXEL_MEAN
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import resize


@pytest.mark.parametrize("name", ["landscape", "portrait", "tiny", "very wide"])
@pytest.mark.parametrize("size", [128, 224, 448, 1024])
def test_resize_is_that_of_pillow_bit_for_bit(photos: dict[str, np.ndarray], name: str, size: int) -> None:
    pixels = photos[name]
    height, width = Frame.of(pixels, size).scaled
    theirs = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    assert np.array_equal(resize(pixels, height, width), theirs)


def test_resize_of_noise_in_odd_shapes_is_that_of_pillow() -> None:
    """Up to twice as high as wide: of higher ones Pillow 13, unlike those before, shrinks the height first."""
    random = np.random.RandomState(1)
    for _ in range(40):
        height = random.randint(30, 400)
        width = random.randint(height // 1.8, 700)
        new_height, new_width = Frame(height, width, 16 * random.randint(1, 40)).scaled
        pixels = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
        theirs = np.asarray(Image.fromarray(pixels).resize((new_width, new_height), Image.Resampling.BILINEAR))
        assert np.array_equal(resize(pixels, new_height, new_width), theirs)


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (1, 1), (3, 900), (1024, 1024), (33, 47)])
def test_frame_is_that_of_segment_anything(shape: tuple[int, int]) -> None:
    frame, reference = Frame(*shape, 1024), ResizeLongestSide(1024)
    assert frame.scaled == reference.get_preprocess_shape(*shape, 1024)
    points = np.random.RandomState(2).uniform(0, min(shape), (5, 2))
    np.testing.assert_allclose(frame.to_model(points), reference.apply_coords(points, shape), rtol=1e-6)


def test_a_sliver_of_a_photo_keeps_a_row() -> None:
    """`segment_anything` rounds this photo away to a height of 0 and fails; it is worth a row."""
    assert Frame(1, 5000, 1024).scaled == (1, 1024)
    square = Frame(1, 5000, 1024).image(np.full((1, 5000, 3), 7, np.uint8))
    assert (square[0, :, 0] == 7).all()


def test_padding_is_nothing_once_normalised(photos: dict[str, np.ndarray]) -> None:
    square = Frame.of(photos["landscape"], 224).image(photos["landscape"])
    assert square.shape == (1, 3, 224, 224)
    assert square.dtype == np.float32
    assert (square[0, :, 150:] == np.array(PIXEL_MEAN, np.float32)[:, None, None]).all()
    sam: Sam = sam_model_registry["vit_b"]()
    scaled = torch.from_numpy(resize(photos["landscape"], 149, 224)).permute(2, 0, 1)
    theirs = torch.nn.functional.pad((scaled - sam.pixel_mean) / sam.pixel_std, (0, 0, 0, 75)).numpy()
    ours = (square[0] - sam.pixel_mean.numpy()) / sam.pixel_std.numpy()
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(480, 640), (640, 200), (17, 24), (12, 600), (2000, 1500)])
def test_masks_come_back_as_in_segment_anything(shape: tuple[int, int], sam: Sam) -> None:
    noise = np.random.RandomState(3).normal(0, 5, (64, 64)).astype(np.float32)
    low_res = resize_floats(noise, (256, 256))
    frame = Frame(*shape, 1024)
    theirs = sam.postprocess_masks(torch.from_numpy(low_res)[None, None], frame.scaled, shape)[0, 0].numpy()
    assert off(theirs, frame.to_photo(low_res)) < TOLERANCE


def test_coverage_is_a_share_of_each_cell() -> None:
    mask = np.zeros((64, 128), bool)
    mask[:, :64] = True
    cells = Frame(64, 128, 128).coverage(mask, (8, 8))
    wanted = np.zeros((8, 8))
    wanted[:4, :4] = 1
    np.testing.assert_allclose(cells, wanted)
    speck = np.zeros((640, 1280), bool)
    speck[630, 10] = True
    assert Frame(640, 1280, 128).coverage(speck, (8, 8)).tolist() == [
        [float((y, x) == (3, 0)) for x in range(8)] for y in range(8)
    ]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def upright(data: bytes) -> np.ndarray:
    from PIL import ImageOps

    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG"])
def test_formats_are_read_as_pillow_reads_them(photos: dict[str, np.ndarray], kind: str) -> None:
    data = encoded(Image.fromarray(photos["portrait"]), kind, **({"lossless": True} if kind == "WEBP" else {}))
    difference = np.abs(read_photo(data).astype(int) - upright(data)).max()
    assert difference <= (3 if kind == "JPEG" else 0)  # two JPEG decoders round differently


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_modes_are_read_as_pillow_reads_them(photos: dict[str, np.ndarray], mode: str) -> None:
    image = Image.fromarray(photos["portrait"]).convert(mode)
    data = encoded(image, "PNG")
    np.testing.assert_array_equal(read_photo(data), upright(data))


def test_sixteen_bits_become_eight(photos: dict[str, np.ndarray]) -> None:
    grey = photos["portrait"][..., 0]
    data = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    np.testing.assert_array_equal(read_photo(data), np.repeat(grey[..., None], 3, axis=2))


def test_cmyk_is_read_as_pillow_reads_it(photos: dict[str, np.ndarray]) -> None:
    data = encoded(Image.fromarray(photos["portrait"]).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(read_photo(data).astype(int) - upright(data)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_seen_as_a_person_sees_it(photos: dict[str, np.ndarray], orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(photos["landscape"]), "JPEG", exif=exif, quality=95)
    theirs = upright(data)
    assert read_photo(data).shape == theirs.shape
    assert np.abs(read_photo(data).astype(int) - theirs).max() <= 3
