"""Resizing as Pillow does it, bit for bit, so that answers can be compared with those of SAM and of CLIP."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_BITS = 22  # of the integer weights in Pillow's resize


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
