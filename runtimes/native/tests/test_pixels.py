"""Pictures in memory against numpy and OpenCV, and how they are resized against Pillow."""

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL
import pytest
from PIL import Image

from samclip_edge.data import photos
from samclip_edge.photo.resize import Pixels, resize

BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", Path(__file__).parents[3] / "build" / "native"))
FORMATS = ("RGB", "BGR", "RGBA", "BGRA", "GREY", "NV12", "NV21", "I420", "YUYV", "PLANES")
YUV = FORMATS[5:]
FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Plane:
    """Rows of bytes (H,W): a plane, of which each row may have a gap behind it."""

    rows: Pixels
    pixel_stride: int = 0
    gap: int = 0

    def packed(self) -> bytes:
        """As in memory. The last row has no gap."""
        rows = np.pad(self.rows, ((0, 0), (0, self.gap)), constant_values=77)
        return rows.tobytes()[: rows.size - self.gap]


@dataclass(frozen=True)
class Question:
    """A picture, a region of it when upright (top, left, height, width), and the size it is resized to."""

    format: str
    width: int
    height: int
    planes: tuple[Plane, ...]
    bt709: bool = False
    full_range: bool = False
    turn: int = 0
    mirror: bool = False
    region: tuple[int, int, int, int] | None = None
    to: tuple[int, int] | None = None
    cubic: bool = False

    def part(self) -> tuple[int, int, int, int]:
        """The region, which is the whole picture by default."""
        upright = (self.height, self.width) if self.turn % 180 == 0 else (self.width, self.height)
        return self.region or (0, 0, *upright)

    def packed(self) -> bytes:
        """As the probe reads it."""
        planes = [plane.packed() for plane in self.planes] + [b""] * (3 - len(self.planes))
        words: list[object] = ["picture", FORMATS.index(self.format), self.width, self.height]
        words += [int(self.bt709), int(self.full_range), self.turn, int(self.mirror)]
        for at, data in enumerate(planes):
            plane = self.planes[at] if at < len(self.planes) else Plane(np.zeros((1, 0), np.uint8))
            words += [len(data), plane.rows.shape[1] + plane.gap if plane.gap else 0, plane.pixel_stride]
        words += [*self.part(), *(self.to or self.part()[2:]), int(self.cubic)]
        return " ".join(map(str, words)).encode() + b"\n" + b"".join(planes)


def ask(questions: bytes) -> bytes:
    """What the probe answers."""
    done = subprocess.run([BUILD / "probe_pixels"], input=questions, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def read(*questions: Question) -> list[Pixels]:
    """The pixels (H,W,3) that each question asks for."""
    answer = np.frombuffer(ask(b"".join(question.packed() for question in questions)), np.uint8)
    shapes = [(*(question.to or question.part()[2:]), 3) for question in questions]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    assert len(answer) == ends[-1]
    return [part.reshape(shape) for part, shape in zip(np.split(answer, ends[:-1]), shapes, strict=True)]


def rgb(pixels: Pixels, to: tuple[int, int], cubic: bool, region: tuple[int, int, int, int] | None = None) -> Question:
    """How an array (H,W,3) is resized."""
    height, width, _ = pixels.shape
    return Question("RGB", width, height, (Plane(pixels.reshape(height, -1)),), region=region, to=to, cubic=cubic)


def noise(*shape: int) -> Pixels:
    """Random bytes, of which a quarter are 0 or 255: weighted sums of them overshoot."""
    made = np.random.default_rng(sum(shape)).integers(-64, 320, shape)
    return np.clip(made, 0, 255).astype(np.uint8)


# ---- Resizing ----


def pillow(pixels: Pixels, height: int, width: int, cubic: bool) -> Pixels:
    """As Pillow does it from 13.0 on: where the height shrinks by far more than the width, the height goes first."""
    shrinks = pixels.shape[0] - height
    if int(PIL.__version__.split(".")[0]) < 13 and shrinks > max(2 * (pixels.shape[1] - width), 0):
        pixels = resize(pixels, height, pixels.shape[1], cubic)
    return resize(pixels, height, width, cubic)


@pytest.mark.parametrize("cubic", [False, True])
def test_resize_is_pillows(cubic: bool) -> None:
    sides = (1, 2, 3, 17, 33, 64, 101)
    sources = [noise(height, width, 3) for height in sides for width in sides]
    to = [(height, width) for height in (1, 2, 5, 16, 64, 150) for width in (1, 3, 5, 17, 33, 150)]
    cases = [(source, size) for source in sources for size in to]
    answers = read(*(rgb(source, size, cubic) for source, size in cases))
    wrong = [
        (source.shape, size)
        for (source, size), answer in zip(cases, answers, strict=True)
        if not np.array_equal(answer, pillow(source, *size, cubic))
    ]
    assert not wrong


@pytest.mark.parametrize("shape", [(3000, 2, 3), (2, 3000, 3), (1500, 700, 3), (1, 5000, 3), (5000, 1, 3)])
def test_long_sides_are_resized_as_pillow_does(shape: tuple[int, int, int]) -> None:
    source = noise(*shape)
    cases = [(size, cubic) for size in ((1, 1), (7, 9), (1024, 3), (3, 1024), (333, 256)) for cubic in (False, True)]
    for (size, cubic), answer in zip(cases, read(*(rgb(source, *case) for case in cases)), strict=True):
        np.testing.assert_array_equal(answer, pillow(source, *size, cubic), f"{size} {cubic}")


@pytest.mark.parametrize("path", photos(), ids=lambda path: path.stem)
def test_photos_and_parts_of_them_are_resized_as_pillow_does(path: Path) -> None:
    with Image.open(path) as file:
        photo = np.asarray(file.convert("RGB"))
    height, width, _ = photo.shape
    regions = [
        None,
        (0, 0, height, 1),
        (height - 1, 0, 1, width),
        (31, 17, 200, 133),
        (height - 64, width - 50, 64, 50),
    ]
    sizes = [(224, 224), (1024 * height // max(height, width), 1024 * width // max(height, width)), (48, 64)]
    cases = [(size, cubic, region) for region in regions for size in sizes for cubic in (False, True)]
    for (size, cubic, region), answer in zip(cases, read(*(rgb(photo, *case) for case in cases)), strict=True):
        top, left, rows, columns = region or (0, 0, height, width)
        part = np.ascontiguousarray(photo[top : top + rows, left : left + columns])
        np.testing.assert_array_equal(answer, pillow(part, *size, cubic), f"{region} {size} {cubic}")


@pytest.mark.parametrize("filter_", FILTERS)
def test_taps_are_pillows(filter_: Image.Resampling) -> None:
    """Pillow resizes a row of floats, a single 1 among them, to the weights of that pixel."""
    sides = [(old, new) for old in (1, 2, 3, 7, 48, 100) for new in (1, 2, 3, 5, 31, 48, 64, 300)]
    answer = ask("".join(f"taps {old} {new} {FILTERS.index(filter_)}\n" for old, new in sides).encode())
    found = np.frombuffer(answer, np.float64)
    for old, new in sides:
        expected = np.asarray(Image.fromarray(np.eye(old, dtype=np.float32)).resize((new, old), filter_))
        np.testing.assert_allclose(found[: old * new].reshape(old, new), expected, atol=1e-7, err_msg=f"{old} {new}")
        found = found[old * new :]
    assert not found.size


# ---- Pictures ----


def picture(format_: str, width: int, height: int, gap: int = 0, least: int = 0) -> Question:
    """A picture of random bytes from `least` on."""
    across, down = (width + 1) // 2, (height + 1) // 2
    shapes = {
        **{"RGB": [(height, 3 * width)], "BGR": [(height, 3 * width)]},
        **{"RGBA": [(height, 4 * width)], "BGRA": [(height, 4 * width)], "GREY": [(height, width)]},
        **{"NV12": [(height, width), (down, 2 * across)], "NV21": [(height, width), (down, 2 * across)]},
        **{"I420": [(height, width), (down, across), (down, across)], "YUYV": [(height, 4 * across)]},
        "PLANES": [(height, 2 * width - 1), (down, 3 * across - 2), (down, 2 * across - 1)],
    }[format_]
    strides = (2, 3, 2) if format_ == "PLANES" else (0, 0, 0)
    planes = (
        Plane(np.maximum(noise(*shape), least), stride, gap) for shape, stride in zip(shapes, strides, strict=False)
    )
    return Question(format_, width, height, tuple(planes))


def channels(question: Question) -> npt.NDArray[np.float64]:
    """R, G, B or Y, U, V of each pixel (H,W,3), as the picture lies in memory."""
    format_, height, width = question.format, question.height, question.width
    rows = [plane.rows.astype(np.float64) for plane in question.planes]
    if format_ in ("RGB", "BGR", "RGBA", "BGRA"):
        pixels = rows[0].reshape(height, width, -1)[..., :3]
        return pixels if format_.startswith("RGB") else pixels[..., ::-1]
    if format_ == "GREY":
        return np.repeat(rows[0][..., None], 3, axis=2)
    if format_ == "YUYV":
        y, u, v = rows[0][:, ::2], rows[0][:, 1::4].repeat(2, axis=1), rows[0][:, 3::4].repeat(2, axis=1)
    else:
        if format_ in ("NV12", "NV21"):
            u, v = rows[1][:, ::2], rows[1][:, 1::2]
            y, u, v = (rows[0], u, v) if format_ == "NV12" else (rows[0], v, u)
        else:
            y, u, v = (row[:, :: max(plane.pixel_stride, 1)] for row, plane in zip(rows, question.planes, strict=True))
        u, v = (chroma.repeat(2, axis=0).repeat(2, axis=1)[:height] for chroma in (u, v))
    return np.stack([y[:, :width], u[:, :width], v[:, :width]], axis=2)


def exact(question: Question) -> npt.NDArray[np.float64]:
    """The RGB values of a picture as it lies in memory, not rounded. YUV by ITU-R BT.601 or BT.709."""
    if question.format not in YUV:
        return channels(question)
    y, cb, cr = np.moveaxis(channels(question), 2, 0)
    kr, kb = (0.2126, 0.0722) if question.bt709 else (0.299, 0.114)
    black, luma, chroma = (0, 255, 255) if question.full_range else (16, 219, 224)
    y, cb, cr = (y - black) / luma, (cb - 128) / chroma, (cr - 128) / chroma
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(255 * np.stack([red, green, blue], axis=2), 0, 255)


SIDES = [(1, 1), (2, 2), (5, 3), (33, 1), (1, 66), (64, 64), (101, 67)]  # width, height


@pytest.mark.parametrize("format_", FORMATS)
def test_formats_are_read_exactly(format_: str) -> None:
    plain = [picture(format_, *sides, gap) for sides in SIDES for gap in (0, 13)]
    kinds = [(bt709, full) for bt709 in (False, True) for full in (False, True)]
    asked = [replace(one, bt709=bt709, full_range=full) for one in plain for bt709, full in kinds]
    for question, answer in zip(asked, read(*asked), strict=True):
        off = np.abs(answer - exact(question)).max()
        assert off <= (0.51 if format_ in YUV else 0), f"{question.width}x{question.height}: {off}"


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_turns_then_mirrors(format_: str, turn: int, mirror: bool) -> None:
    plain = [picture(format_, *sides, gap=3) for sides in SIDES]
    turned = [replace(one, turn=turn, mirror=mirror) for one in plain]
    inner = [replace(one, region=(20, 11, 40, 37)) for one in turned[-2:]]
    answers = read(*plain, *turned, *inner)
    lying, upright, parts = answers[: len(SIDES)], answers[len(SIDES) : 2 * len(SIDES)], answers[2 * len(SIDES) :]
    for before, after in zip(lying, upright, strict=True):
        expected = np.rot90(before, -turn // 90)  # numpy turns the other way
        np.testing.assert_array_equal(after, expected[:, ::-1] if mirror else expected)
    for whole, part in zip(upright[-2:], parts, strict=True):
        np.testing.assert_array_equal(part, whole[20:60, 11:48])


@pytest.mark.parametrize("format_", ["NV12", "NV21", "I420"])
def test_planes_may_stand_one_after_another(format_: str) -> None:
    apart = [picture(format_, *sides) for sides in SIDES]
    together = [
        replace(one, planes=(Plane(np.frombuffer(b"".join(plane.packed() for plane in one.planes), np.uint8)[None]),))
        for one in apart
    ]
    for before, after in zip(read(*apart), read(*together), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("format_", ["NV12", "NV21", "I420", "YUYV"])
def test_yuv_is_read_as_opencv_does(format_: str) -> None:
    """OpenCV takes Y below black, 16, for black: there is none in these pictures."""
    code = cv2.COLOR_YUV2RGB_YUY2 if format_ == "YUYV" else getattr(cv2, f"COLOR_YUV2RGB_{format_}")
    question = picture(format_, 102, 68, least=16)
    data: Pixels
    if format_ == "YUYV":
        data = question.planes[0].rows.reshape(68, 102, 2)
    else:
        data = np.concatenate([plane.rows.ravel() for plane in question.planes]).reshape(102, 102)
    (answer,) = read(question)
    assert np.abs(answer.astype(int) - cv2.cvtColor(data, code)).max() <= 2


def test_a_turned_picture_is_resized_as_it_stands_upright() -> None:
    for turn in (90, 180, 270):
        whole, small = (
            replace(picture("NV12", 203, 151), turn=turn, mirror=True, to=to, cubic=True) for to in (None, (70, 90))
        )
        upright, resized = read(whole, small)
        np.testing.assert_array_equal(resized, pillow(upright, 70, 90, True))
