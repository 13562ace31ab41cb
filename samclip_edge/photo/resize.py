"""Resizing: photos as Pillow does it, as SAM and CLIP are shown them, and maps as torch does it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def resize(pixels: Pixels, height: int, width: int, cubic: bool = False) -> Pixels:
    """Resize (H,W,3) with a filter that widens as it shrinks: Pillow's `BILINEAR` or `BICUBIC`."""
    filter_ = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((width, height), filter_))


def shares(mask: npt.NDArray[np.bool_], height: int, width: int) -> Floats:
    """How much of each cell of a (height,width) grid over a mask (H,W) it covers, 0..1."""
    floats = Image.fromarray(mask.astype(np.float32))
    return np.asarray(floats.resize((width, height), Image.Resampling.BOX))


@lru_cache(maxsize=16)
def between(old: int, new: int) -> Floats:
    """The matrix (new,old) that resizes one side of a map linearly, without a filter that widens.

    As torch's `interpolate(mode="bilinear", align_corners=False)`: a map (h,w) becomes `rows @ map @ columns.T`.
    """
    at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    low = np.floor(at).astype(int)
    matrix = np.zeros((new, old), np.float32)
    matrix[np.arange(new), low] = 1 - (at - low)
    matrix[np.arange(new), np.minimum(low + 1, old - 1)] += (at - low).astype(np.float32)
    return matrix


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
