"""Photos in, whatever form they have: a path, the bytes of a file, an open file, Pillow's image, an array."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt
from PIL import Image

from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.arrays import photo_of_array, value_of_white
from samclip_edge.photo.decode import check_photo, check_size, decode, pixels_of
from samclip_edge.photo.opened import OpenPhoto, open_file
from samclip_edge.photo.resize import Pixels

# And anything with `__array__`, torch's tensors among it.
Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.ArrayLike

MAX_PIXELS = 178_956_970  # Pillow's own limit: a 512 MiB photo of three bytes a pixel


def read_photo(photo: Photo, max_pixels: int = MAX_PIXELS, white: float | None = None) -> Pixels:
    """A photo as (H,W,3) uint8 RGB, in memory of its own, turned upright by its EXIF orientation.

    photo: a path; the bytes of a file; a file that is open for reading bytes; Pillow's image; or an array (see
    `photo_of_array`), which is taken as upright. Grey, palette, 16-bit, CMYK and transparent photos become 8-bit RGB;
    transparency is dropped. white: the value of white in an array that is not uint8, or in a grey photo of more than 8
    bits (see `decode`). Raises InputError for anything that is no photo or is not whole, and for a file or Pillow's
    image of more than `max_pixels` pixels. A JPEG that breaks off is decoded as far as it goes, and a warning logged.
    """
    if white is not None:
        white = value_of_white(white)
    if isinstance(photo, Image.Image):
        check_size(photo, "photo", max_pixels)
        return pixels_of(photo, "photo", white)
    data = _bytes_of(photo)
    if data is None:
        return photo_of_array(photo, white)
    return decode(data, _name_of(photo), max_pixels, white)


def open_photo(photo: Photo, size: Size, max_pixels: int = MAX_PIXELS, white: float | None = None) -> OpenPhoto:
    """Open a photo to be looked at in an input of `size`. Takes and raises what `read_photo` does.

    Of a JPEG with far more pixels than the input, fewer are decoded now (see `opened`), and all when asked for.
    """
    data = None if isinstance(photo, Image.Image) else _bytes_of(photo)
    if data is None:
        return OpenPhoto(read_photo(photo, max_pixels, white))
    return open_file(data, _name_of(photo), size, max_pixels, None if white is None else value_of_white(white))


def check_photo_file(path: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise InputError unless the file begins as a photo of a known format and an allowed size. Decodes nothing."""
    check_photo(_read_file(Path(path)), path, max_pixels)


def is_file(photo: Any) -> bool:
    """Whether a photo is a path, or the bytes of a file: what any thread may read, and several at once."""
    kinds = (str, os.PathLike, bytes, bytearray)
    return isinstance(photo, kinds) or (isinstance(photo, memoryview) and photo.ndim == 1)


def _bytes_of(photo: Any) -> bytes | None:
    """The bytes of a file, from its path, from itself, or as they are; None for an array."""
    if is_file(photo):
        return _read_file(Path(photo)) if isinstance(photo, str | os.PathLike) else bytes(photo)
    if not hasattr(photo, "read"):
        return None
    try:
        data = photo.read()
    except Exception as error:  # a file object of others may raise anything
        raise InputError(f"photo: the file cannot be read ({one_line(error)}); pass one that is open") from None
    if not isinstance(data, bytes | bytearray):
        raise InputError("photo: the file gives text; open it for reading bytes (mode 'rb')")
    return bytes(data)


def _name_of(photo: Any) -> str:
    return os.fspath(photo) if isinstance(photo, str | os.PathLike) else "photo"


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; pass a photo in it") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such photo; check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); check its name and who may read it") from None
