"""Photos in: read, checked before anything decodes them, and turned upright."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.formats import read_header
from samclip_edge.photo.resize import Pixels

Photo = str | os.PathLike[str] | bytes | Pixels

MAX_PIXELS = 178_956_970  # Pillow's own limit: a 512 MiB photo of three bytes a pixel


def read_photo(photo: Photo, max_pixels: int = MAX_PIXELS) -> Pixels:
    """A photo as (H,W,3) uint8 RGB, turned upright by its EXIF orientation.

    photo: a path, the bytes of a file, or an array: (H,W,3) RGB or (H,W) grey, uint8, taken as it is.
    Grey, palette, 16-bit, CMYK and transparent photos become 8-bit RGB; transparency is dropped.
    Raises InputError for anything that is no whole photo or has more than `max_pixels` pixels.
    """
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or (photo.ndim == 3 and photo.shape[2] != 3):
            raise InputError(
                f"photo: an array of {photo.dtype} {photo.shape} is neither (H,W,3) RGB nor (H,W) grey in uint8"
            )
        if photo.size == 0:
            raise InputError("photo: the array is empty; pass at least one pixel")
        return np.repeat(photo[..., None], 3, axis=2) if photo.ndim == 2 else photo
    name = "photo" if isinstance(photo, bytes) else os.fspath(photo)
    data = photo if isinstance(photo, bytes) else _read_file(Path(photo))
    check_photo(data, name, max_pixels)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{name}: cannot be decoded ({one_line(error)}); save it again as JPEG or PNG") from None
    if decoded is None:
        raise InputError(f"{name}: cannot be decoded; save it again as JPEG or PNG")
    return np.ascontiguousarray(decoded[..., ::-1])


def check_photo(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise InputError unless the bytes are one whole photo of a known format and an allowed size."""
    if not data:
        raise InputError(f"{name}: the file is empty; pass a photo")
    header = read_header(data)
    if header is None:
        raise InputError(f"{name}: not a JPEG, PNG, WebP, GIF, BMP or TIFF photo; convert it to one")
    if header.width * header.height > max_pixels:
        raise InputError(
            f"{name}: {header.width}x{header.height} is {header.width * header.height} pixels, over the limit of "
            f"{max_pixels}; raise it with --max-pixels if you trust the file"
        )
    if not header.whole or header.width <= 0 or header.height <= 0:
        raise InputError(f"{name}: the photo is truncated or damaged; fetch it again")


def check_photo_file(path: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise InputError unless the file is one whole photo, without decoding it."""
    check_photo(_read_file(Path(path)), path, max_pixels)


def _read_file(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; pass a photo in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such photo; check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)})") from None
