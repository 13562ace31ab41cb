"""Photos in: read, upright, checked; resized and padded to the model's square; and back to the photo's own pixels.

Two frames of coordinates: *photo* pixels, of the photo as a person sees it, and *model* pixels, of the S x S square
whose top-left corner the resized photo fills. The resize is that of `SamPredictor` (Pillow's antialiased bilinear), bit
for bit, so masks can be compared with SAM's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError, one_line
from samclip_edge.formats import read_header
from samclip_edge.spec import MASK_STRIDE, PIXEL_MEAN

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Photo = str | os.PathLike[str] | bytes | Pixels

MAX_PIXELS = 178_956_970  # Pillow's own limit: a 512 MiB photo of three bytes a pixel
_BITS = 22  # of the integer weights in Pillow's resize


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


def resize(pixels: Pixels, height: int, width: int, cubic: bool = False) -> Pixels:
    """Resize (H,W,3) uint8 with a filter that widens as it shrinks: Pillow's `BILINEAR` or `BICUBIC`, bit for bit.

    Source: Pillow's `src/libImaging/Resample.c` (weights in 22-bit integers, columns first, rounded between passes).
    """
    if pixels.shape[1] != width:
        pixels = np.ascontiguousarray(
            _resize_rows(np.ascontiguousarray(pixels.swapaxes(0, 1)), width, cubic).swapaxes(0, 1)
        )
    if pixels.shape[0] != height:
        pixels = _resize_rows(pixels, height, cubic)
    return pixels


def _resize_rows(pixels: Pixels, rows: int, cubic: bool) -> Pixels:
    count = pixels.shape[0]
    scale = count / rows
    stretch = max(scale, 1.0)
    support = 2 * stretch if cubic else stretch
    centers = (np.arange(rows) + 0.5) * scale
    first = np.maximum((centers - support + 0.5).astype(int), 0)
    last = np.minimum((centers + support + 0.5).astype(int), count)
    taps = int(np.max(last - first))
    sources = first[:, None] + np.arange(taps)
    away = np.abs((sources - centers[:, None] + 0.5) / stretch)
    weights = _cubic(away) if cubic else np.maximum(1.0 - away, 0.0)
    weights[sources >= last[:, None]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    whole = np.floor(weights * (1 << _BITS) + 0.5).astype(np.int32)
    sources = np.minimum(sources, count - 1)

    shape = (rows, *(1 for _ in pixels.shape[1:]))
    total = np.full((rows, *pixels.shape[1:]), 1 << (_BITS - 1), np.int32)
    for tap in range(taps):
        total += pixels[sources[:, tap]] * whole[:, tap].reshape(shape)
    return np.clip(total >> _BITS, 0, 255).astype(np.uint8)


def _cubic(away: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The cubic filter with a = -0.5, by the distance from its middle."""
    near = (1.5 * away - 2.5) * away * away + 1
    far = ((away - 5) * away + 8) * away * -0.5 + 2
    return np.where(away < 1, near, np.where(away < 2, far, 0.0))


def clip_square(pixels: Pixels, size: int) -> Floats:
    """A photo as CLIP sees it: (3,size,size) RGB, 0..255, its shorter side resized to `size` and its middle cut out.

    Source: open_clip's `image_transform` (torchvision's Resize with BICUBIC, then CenterCrop).
    """
    height, width, _ = pixels.shape
    if height < width:
        height, width = size, int(size * width / height)
    else:
        height, width = int(size * height / width), size
    resized = resize(pixels, height, width, cubic=True)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return resized[top : top + size, left : left + size].transpose(2, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Frame:
    """How one photo lies in the model's square. Sides in pixels."""

    height: int  # of the photo
    width: int
    size: int  # S

    @classmethod
    def of(cls, pixels: Pixels, size: int) -> Frame:
        """The frame of a photo (H,W,3) in a square of side `size`."""
        height, width, _ = pixels.shape
        return cls(height, width, size)

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the photo inside the square: its longest side becomes S (SAM's `ResizeLongestSide`)."""
        scale = self.size / max(self.height, self.width)
        return max(int(self.height * scale + 0.5), 1), max(int(self.width * scale + 0.5), 1)

    def square(self, pixels: Pixels) -> Floats:
        """The photo as the `image` input: (1,3,S,S) RGB, 0..255, padded with the pixel mean at the right and bottom."""
        height, width = self.scaled
        image = np.empty((1, 3, self.size, self.size), np.float32)
        image[:] = np.array(PIXEL_MEAN, np.float32)[:, None, None]
        image[0, :, :height, :width] = resize(pixels, height, width).transpose(2, 0, 1)
        return image

    def to_model(self, points: npt.ArrayLike) -> Floats:
        """Photo coordinates (..., 2) x, y to model coordinates."""
        height, width = self.scaled
        scale = np.array([width / self.width, height / self.height])
        return (np.asarray(points, np.float64) * scale).astype(np.float32)

    def to_photo(self, low_res: Floats) -> Floats:
        """Low-res mask logits (S/4,S/4) to logits over the photo's own pixels (H,W) (SAM's `postprocess_masks`)."""
        height, width = self.scaled
        square = cv2.resize(low_res, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        inside = np.ascontiguousarray(square[:height, :width])
        return np.asarray(cv2.resize(inside, (self.width, self.height), interpolation=cv2.INTER_LINEAR), np.float32)

    def cells(self, grid: int) -> tuple[int, int]:
        """Rows and columns of a grid x grid map over the square whose centres the photo covers (at least one each)."""
        height, width = self.scaled
        return max(round(height * grid / self.size), 1), max(round(width * grid / self.size), 1)

    def coverage(self, mask: npt.NDArray[np.bool_], grid: int) -> Floats:
        """How much of each cell of a grid x grid map over the square a photo-sized mask covers: (grid,grid), 0..1.

        A mask too small to cover a hundredth of any cell falls wholly on the cell of its centre.
        """
        fine = 8 * grid
        height, width = (max(round(side * fine / self.size), 1) for side in self.scaled)
        cover = np.zeros((fine, fine), np.float32)
        cover[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        cells = cover.reshape(grid, 8, grid, 8).mean(axis=(1, 3))
        if mask.any() and cells.max() < 0.01:
            y, x = (int(axis.mean()) for axis in np.nonzero(mask))
            column, row = (self.to_model([x, y]) * grid / self.size).astype(int)
            cells[min(row, grid - 1), min(column, grid - 1)] = 1.0
        return cells

    @property
    def low_res(self) -> int:
        """Side of a low-res mask."""
        return self.size // MASK_STRIDE
