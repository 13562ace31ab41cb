"""The bytes of a photo file to pixels, by Pillow. They come from anywhere, so little of Pillow is let near them.

Which plugin reads a file is chosen here, by its first bytes: Pillow's own search would run plugins that call other
programs, and its limit on pixels is one global for the whole app. (A few plugins hold to that limit all the same.)
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samclip_edge.errors import InputError, one_line
from samclip_edge.native import native_lines
from samclip_edge.photo.arrays import photo_of_array
from samclip_edge.photo.resize import Pixels

log = logging.getLogger(__name__)

_Fits = Callable[[bytes], bool]
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# The formats: the first bytes, and the plugin. Of HEIC and AVIF the brand follows the length of the first box.
_PLUGINS: tuple[tuple[_Fits, str, str], ...] = (
    (lambda data: data.startswith(b"\xff\xd8\xff"), "PIL.JpegImagePlugin", "JpegImageFile"),
    (lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), "PIL.PngImagePlugin", "PngImageFile"),
    (lambda data: data.startswith(b"GIF8"), "PIL.GifImagePlugin", "GifImageFile"),
    (lambda data: data.startswith(b"BM"), "PIL.BmpImagePlugin", "BmpImageFile"),
    (lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", "PIL.WebPImagePlugin", "WebPImageFile"),
    (lambda data: data[:2] in (b"II", b"MM") and 42 <= max(data[2:4]) <= 43, "PIL.TiffImagePlugin", "TiffImageFile"),
    (lambda data: data[4:12] in (b"ftypavif", b"ftypavis"), "PIL.AvifImagePlugin", "AvifImageFile"),
    (lambda data: data[4:8] == b"ftyp" and data[8:12] in _HEIC, "pillow_heif", "HeifImageFile"),
)
_MENDS = {
    "PIL.AvifImagePlugin": "AVIF needs Pillow 11.3 or newer: pip install --upgrade pillow",
    "pillow_heif": "HEIC needs a plugin: pip install 'samclip-edge[heic]'",
}
_END = b"\xff\xd9"  # of a JPEG
_ORIENTATION = 0x0112  # the tag of EXIF; what each value asks for
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF


def decode(data: bytes, name: str, max_pixels: int, white: float | None = None) -> Pixels:
    """A photo file as (H,W,3) uint8 RGB, turned upright by its EXIF orientation.

    name: the photo in messages. white: the value of white in a grey photo of more than 8 bits; None: see `_eight_bits`.
    Logs a warning where a JPEG breaks off, and where samples were scaled by a guess.
    Raises InputError for anything that is no whole photo or has more than `max_pixels` pixels.
    """
    return pixels_of(open_image(data, name, max_pixels)[0], name, white)


def open_image(data: bytes, name: str, max_pixels: int) -> tuple[Image.Image, bytes]:
    """A photo file whose header is read, and its bytes: of a JPEG that breaks off, with an end mark."""
    image = _open(data, name, max_pixels)
    if image.format != "JPEG" or has_end(data):
        return image, data
    log.warning("%s: the JPEG breaks off before its end mark; what is missing of it is grey", name)
    return _open(data + _END, name, max_pixels), data + _END  # what is missing stays grey, as in any viewer


def check_photo(data: bytes, name: str, max_pixels: int) -> None:
    """Raise InputError unless the bytes begin as a photo of a known format and an allowed size. Decodes nothing."""
    _open(data, name, max_pixels)


def _open(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """A photo whose header is read, and no more."""
    if not data:
        raise InputError(f"{name}: the file is empty; pass a photo")
    plugin = next(((module, opener) for fits, module, opener in _PLUGINS if fits(data)), None)
    if plugin is None:
        raise InputError(f"{name}: not a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF photo; convert it to one")
    try:
        opener: Callable[[Any], Image.Image] = getattr(import_module(plugin[0]), plugin[1])
    except ImportError:
        raise InputError(f"{name}: {_MENDS[plugin[0]]}") from None
    try:
        image = opener(io.BytesIO(data))
    except Exception as error:
        raise InputError(f"{name}: the photo is truncated or damaged ({one_line(error)}); fetch it again") from None
    check_size(image, name, max_pixels)
    return image


def check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    """Raise InputError where a photo has more than `max_pixels` pixels."""
    width, height = image.size
    if width * height > max_pixels:
        raise InputError(
            f" {max_pixels}: {name} is {width}x{height}, {width * height} pixels; raise it if you trust the file",
            "max_pixels",
        )


def has_end(jpeg: bytes) -> bool:
    """Whether a JPEG has an end mark after the header of its first scan; in a scan, these bytes can be nothing else."""
    at = 2
    while jpeg[at : at + 1] == b"\xff":
        marker = jpeg[at + 1 : at + 2]
        if marker == b"\xda":
            return jpeg.find(_END, at) >= 0
        at += 1 if marker == b"\xff" else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return False


def pixels_of(image: Image.Image, name: str, white: float | None = None) -> Pixels:
    """Pillow's image as (H,W,3) uint8 RGB, upright. Transparency is dropped. white: see `decode`.

    Raises InputError where its pixels cannot be had. Not for several threads at once, while Pillow has not loaded it.
    """
    if not all(image.size):
        raise InputError(f"{name}: has no pixels; pass at least one")
    try:
        with native_lines() if image.format == "TIFF" else nullcontext():  # libtiff says there what is raised too
            image.load()
        return _upright_rgb(image, name, white)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(
            f"{name}: Pillow's own limit on pixels is in the way; set PIL.Image.MAX_IMAGE_PIXELS = None if you trust it"
        ) from None
    except Exception as error:  # a plugin raises whatever its decoder says
        raise InputError(f"{name}: the photo is truncated or damaged ({one_line(error)}); fetch it again") from None


def _upright_rgb(image: Image.Image, name: str, white: float | None) -> Pixels:
    turn = _turn(image, name)
    if image.mode.startswith(("I", "F")):
        samples = _samples(image)
        grey = _eight_bits(samples, image.format, name) if white is None else photo_of_array(samples, white)
        image = Image.fromarray(255 - grey if _white_is_zero(image) else grey)
    elif image.mode in ("P", "PA", "LA", "La", "RGBa"):
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if turn is not None:
        image = image.transpose(turn)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _turn(image: Image.Image, name: str) -> Image.Transpose | None:
    """What brings a photo upright, by its EXIF; None where it is."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # EXIF is often broken, and the photo is not
        log.warning("%s: its EXIF cannot be read (%s); taken as upright", name, one_line(error))
        return None


def _samples(image: Image.Image) -> npt.NDArray[Any]:
    """The samples (H,W) of a grey photo with more than eight bits. Pillow takes 32 unsigned ones for signed."""
    samples, tags = np.asarray(image), getattr(image, "tag_v2", {})
    unsigned = tags.get(_SAMPLE_FORMAT, (1,))[0] == 1 and tags.get(_BITS, (0,))[0] == 32
    return samples.view(np.uint32) if unsigned and samples.dtype == np.int32 else samples


def _white_is_zero(image: Image.Image) -> bool:
    return bool(getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0)


def _eight_bits(samples: npt.NDArray[Any], format_: str | None, name: str) -> npt.NDArray[np.uint8]:
    """Samples (H,W) of more than eight bits, as eight.

    Of a PNG the upper eight of 16 are taken. Others, TIFF first, may hold fewer bits than they say, or signed or
    floating numbers without a white: then their own values say what is white, and a warning says so.
    """
    if format_ == "PNG":  # of which some versions of Pillow call 16 bits "I"
        return np.clip(samples.astype(np.int64) >> 8, 0, 255).astype(np.uint8)
    least, most = samples.min(), samples.max()
    if samples.dtype.kind == "u" and samples.dtype.itemsize == 2:
        bits = next(bits for bits in (8, 10, 12, 14, 16) if most < 1 << bits)
        if bits < 16:
            log.warning("%s: no sample of 16 bits is above %d; read as %d bits", name, most, bits)
        return (samples >> (bits - 8)).astype(np.uint8)
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: its samples are NaN or infinite; save it as 8 bits")
    log.warning(
        "%s: samples from %g (black) to %g (white); pass the value of white to choose others", name, least, most
    )
    spread = float(most) - float(least) or 1.0
    return np.round((samples.astype(np.float64) - float(least)) * (255 / spread)).astype(np.uint8)
