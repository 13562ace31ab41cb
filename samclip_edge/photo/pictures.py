"""Pictures of answers: masks in distinct colours with outlines and names that read on light and on dark."""

from __future__ import annotations

import colorsys
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from samclip_edge.errors import InputError, one_line
from samclip_edge.files import write_whole
from samclip_edge.photo.fonts import font_for
from samclip_edge.photo.masks import Bits, Mask, mask_box
from samclip_edge.photo.resize import Pixels

_LEAST, _MOST = 960, 4096  # of a picture's longer side: a smaller photo is enlarged, a bigger one reduced
_INK, _PLATE = (255, 255, 255), (20, 20, 24)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_COARSE = 64  # cells along the longer side of a mask, in which the place of its name is looked for


class _Part(NamedTuple):
    """A mask where it lies in the picture."""

    left: int
    top: int
    bits: Bits  # with a margin around it


def check_output(path: Path) -> None:
    """Raise InputError unless a picture can be written to `path`; called before the work whose result it will show."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f" {path}: not a picture's name; end it in {', '.join(FORMATS)}", "path")
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise InputError(f" {path}: cannot be written; name a file in a folder that exists", "path")


def save_picture(picture: Pixels, path: Path) -> None:
    """Write (H,W,3) RGB, whole or not at all. Raises InputError where that fails."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, FORMATS[path.suffix.lower()], quality=95)
    try:
        write_whole(path, file.getvalue())
    except OSError as error:
        raise InputError(f" {path}: cannot be written ({one_line(error)})", "path") from None


def color(index: int, lightness: float | None = None) -> tuple[int, int, int]:
    """The RGB colour of the index-th mask: hues a golden angle apart, in five lightnesses where none is asked for."""
    lightness = (0.5, 0.35, 0.7, 0.42, 0.6)[index % 5] if lightness is None else lightness
    red, green, blue = colorsys.hls_to_rgb((0.02 + index * 0.618034) % 1, lightness, 0.85)
    return int(red * 255), int(green * 255), int(blue * 255)


def draw_masks(pixels: Pixels, masks: Sequence[Mask]) -> Pixels:
    """Masks over their photo (H,W,3): tinted, outlined, and named where they have a label; the biggest lie lowest.

    The picture is as big as the photo, within limits: its longer side has 960 to 4096 pixels.
    """
    picture = _fitted(pixels)
    thin = max(round(max(picture.size) / 700), 1)
    order = sorted(range(len(masks)), key=lambda index: -masks[index].area)
    parts = {index: part for index in order if (part := _part(masks[index], picture.size, 2 * thin)) is not None}
    for index, part in parts.items():
        picture.paste(color(index), (part.left, part.top), Image.fromarray(part.bits.view(np.uint8) * 128))
    for index, part in parts.items():  # the plate shows on light, the colour on dark
        for half, ink in ((2 * thin, _PLATE), (thin, color(index, 0.85))):
            edge = Image.fromarray((_grown(part.bits, half) & _grown(~part.bits, half)).view(np.uint8) * 255)
            picture.paste(ink, (part.left, part.top), edge.filter(ImageFilter.GaussianBlur(0.5 * thin)))
    for index, part in parts.items():
        label = masks[index].label
        if label is not None:
            x, y = _middle(part.bits)
            score = masks[index].score
            name = label if score is None else f"{label} {score:.0%}"
            _write_name(picture, name, (part.left + x, part.top + y), color(index))
    return np.asarray(picture)


def draw_names(pixels: Pixels, names: Sequence[tuple[str, float | None]]) -> Pixels:
    """A photo (H,W,3) with its best names and their scores, if any, in the corner; as big as `draw_masks` makes it."""
    picture = _fitted(pixels)
    for line, (name, score) in enumerate(names):
        text = name if score is None else f"{name} {score:.0%}"
        _write_name(picture, text, (0, round((1.2 + 1.9 * line) * _letters(picture))), color(line))
    return np.asarray(picture)


def _fitted(pixels: Pixels) -> Image.Image:
    picture = Image.fromarray(pixels)
    longer = max(picture.size)
    scale = min(max(longer, _LEAST), _MOST) / longer
    if scale == 1.0:
        return picture.copy()
    width, height = (max(round(side * scale), 1) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _part(mask: Mask, size: tuple[int, int], margin: int) -> _Part | None:
    """A mask in a picture of `size` (width, height), as far as it reaches; None where nothing of it is seen."""
    image = Image.fromarray(mask.bits.view(np.uint8) * 255)
    bits = np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)) > 127
    if not bits.any():
        return None
    x0, y0, x1, y1 = mask_box(bits)
    left, top = max(x0 - margin, 0), max(y0 - margin, 0)
    return _Part(left, top, np.ascontiguousarray(bits[top : y1 + margin, left : x1 + margin]))


def _grown(bits: Bits, by: int) -> Bits:
    """A mask (H,W) with all pixels that are at most `by` rows and columns away from it."""
    for axis in (0, 1):
        width = [(0, 0), (0, 0)]
        width[axis] = (by + 1, by)
        before = np.cumsum(np.pad(bits, width), axis=axis, dtype=np.int32)
        last = before.shape[axis] - 2 * by - 1
        bits = np.take(before, range(2 * by + 1, last + 2 * by + 1), axis) > np.take(before, range(last), axis)
    return bits


def _middle(bits: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """x, y of a pixel of a mask (H,W) that is far from its edge: the last one left when it is worn away, coarsely."""
    height, width = bits.shape
    scale = min(_COARSE / max(height, width), 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    left = np.asarray(Image.fromarray(bits.view(np.uint8) * 255).resize(size, Image.Resampling.BOX)) > 127
    if not left.any():
        y, x = np.argwhere(bits)[0]
        return int(x), int(y)
    while (worn := ~_grown(~np.pad(left, 1), 1)[1:-1, 1:-1]).any():
        left = worn
    y, x = np.argwhere(left)[len(np.argwhere(left)) // 2]
    return int((x + 0.5) * width / size[0]), int((y + 0.5) * height / size[1])


def _letters(picture: Image.Image) -> int:
    """Height of letters in pixels."""
    return max(round(max(picture.size) / 42), 14)


def _write_name(picture: Image.Image, text: str, middle: tuple[int, int], accent: tuple[int, int, int]) -> None:
    """White letters on a dark plate with the mask's colour at its side, kept inside the picture."""
    letters = _letters(picture)
    font, pad = font_for(text, letters), letters // 3
    while font.getlength(text) > picture.width - 4 * pad and len(text) > 2:
        text = text[:-2] + "…"
    width = round(font.getlength(text))
    full_width, full_height = width + 4 * pad, letters + 2 * pad
    x = min(max(middle[0] - full_width // 2, 0), max(picture.width - full_width, 0))
    y = min(max(middle[1] - full_height // 2, 0), max(picture.height - full_height, 0))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + full_width - 1, y + full_height - 1), _PLATE)
    draw.rectangle((x, y, x + pad - 1, y + full_height - 1), accent)
    draw.text((x + 2 * pad, y + full_height - pad - letters // 6), text, _INK, font, anchor="ls")
