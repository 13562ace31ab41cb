"""Pictures of answers: masks in distinct colours with outlines and names that read on light and on dark."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.masks import Mask
from samclip_edge.photo.resize import Pixels

_SIDE = 960  # a smaller photo is enlarged to this before anything is written on it
_INK, _PLATE = (255, 255, 255), (20, 20, 24)
_FORMATS = (".png", ".jpg", ".jpeg", ".webp")


def check_output(path: Path) -> None:
    """Raise InputError unless a picture can be written to `path`; called before the work whose result it will show."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"-o {path}: not a picture's name; end it in {', '.join(_FORMATS)}")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"-o {path}: cannot be written; name a file in a folder that exists")


def save_picture(picture: Pixels, path: Path) -> None:
    """Write (H,W,3) RGB, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(cv2.imencode(path.suffix.lower(), picture[..., ::-1])[1].tobytes())
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"-o {path}: cannot be written ({one_line(error)})") from None
    finally:
        partial.unlink(missing_ok=True)


def color(index: int, lightness: float | None = None) -> tuple[int, int, int]:
    """The RGB colour of the index-th mask: hues a golden angle apart, in five lightnesses where none is asked for."""
    lightness = (0.5, 0.35, 0.7, 0.42, 0.6)[index % 5] if lightness is None else lightness
    red, green, blue = colorsys.hls_to_rgb((0.02 + index * 0.618034) % 1, lightness, 0.85)
    return int(red * 255), int(green * 255), int(blue * 255)


def draw_masks(pixels: Pixels, masks: Sequence[Mask]) -> Pixels:
    """Masks over their photo (H,W,3): tinted, outlined, and named where they have a label; the biggest lie lowest."""
    picture = _enlarged(pixels)
    order = sorted(range(len(masks)), key=lambda index: -masks[index].area)
    shapes = {index: _scaled(masks[index], picture.shape) for index in order}
    tinted = picture.astype(np.float32)
    for index, bits in shapes.items():
        tinted[bits] = 0.5 * tinted[bits] + 0.5 * np.array(color(index), np.float32)
    picture = tinted.astype(np.uint8)
    thin = max(round(max(picture.shape) / 700), 1)
    for index, bits in shapes.items():
        outline, _ = cv2.findContours(bits.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, _PLATE, 4 * thin, cv2.LINE_AA)  # shows on light, what follows on dark
        cv2.drawContours(picture, outline, -1, color(index, 0.85), 2 * thin, cv2.LINE_AA)
    for index, bits in shapes.items():
        label = masks[index].label
        if label is not None and bits.any():
            _write_name(picture, f"{label} {_percent(masks[index])}", _middle(bits), color(index))
    return picture


def draw_names(pixels: Pixels, names: Sequence[tuple[str, float]]) -> Pixels:
    """A photo (H,W,3) with its best names listed in the corner."""
    picture = _enlarged(pixels)
    for line, (name, score) in enumerate(names):
        _write_name(picture, f"{name} {score:.0%}", (0, round((1.2 + 1.9 * line) * _letters(picture))), color(line))
    return picture


def _percent(mask: Mask) -> str:
    return f"{mask.score or 0:.0%}"


def _enlarged(pixels: Pixels) -> Pixels:
    scale = max(_SIDE / max(pixels.shape[:2]), 1.0)
    if scale == 1.0:
        return pixels.copy()
    height, width = (max(round(side * scale), 1) for side in pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _scaled(mask: Mask, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    bits = mask.bits
    if bits.shape == shape[:2]:
        return bits
    return cv2.resize(bits.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR) > 0.5


def _middle(bits: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[int, int]:
    """x, y of the pixel of a mask that is farthest from its edge."""
    depth = cv2.distanceTransform(np.pad(bits, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def _letters(picture: Pixels) -> int:
    """Height of letters in pixels."""
    return max(round(max(picture.shape[:2]) / 42), 14)


def _write_name(picture: Pixels, text: str, middle: tuple[int, int], accent: tuple[int, int, int]) -> None:
    """White letters on a dark plate with the mask's colour at its side, kept inside the picture."""
    letters = _letters(picture)
    font = cv2.FontFace("sans")  # of OpenCV 5: any language's letters, not only ASCII
    width = cv2.getTextSize((0, 0), text, (0, 0), font, letters, 500)[2]
    pad = letters // 3
    full_width, full_height = width + 4 * pad, letters + 2 * pad
    x = min(max(middle[0] - full_width // 2, 0), max(picture.shape[1] - full_width, 0))
    y = min(max(middle[1] - full_height // 2, 0), max(picture.shape[0] - full_height, 0))
    cv2.rectangle(picture, (x, y), (x + full_width - 1, y + full_height - 1), _PLATE, cv2.FILLED)
    cv2.rectangle(picture, (x, y), (x + pad - 1, y + full_height - 1), accent, cv2.FILLED)
    cv2.putText(picture, text, (x + 2 * pad, y + full_height - pad - letters // 6), _INK, font, letters, 500)
