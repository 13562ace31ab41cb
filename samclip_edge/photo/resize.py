"""Resizing: photos as Pillow does it, as SAM and CLIP are shown them, and maps as torch does it."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
ClipResize = Literal["shortest", "longest", "squash"]


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


def clip_square(pixels: Pixels, size: int, mode: ClipResize = "shortest", cubic: bool = True) -> Floats:
    """A photo as CLIP sees it: (3,size,size) RGB, 0..255.

    mode: "shortest" resizes the shorter side to `size` and cuts out the middle, "longest" resizes the longer side and
    puts the photo into the middle of a black square, and "squash" resizes both. cubic: see `resize`. Source:
    open_clip's `image_transform` (torchvision's Resize and CenterCrop; its own ResizeKeepRatio and CenterCropOrPad).
    """
    height, width, _ = pixels.shape
    if mode == "squash":
        height, width = size, size
    elif mode == "longest":
        longer = max(height, width)
        height, width = (max(round(each * size / longer), 1) for each in (height, width))
    elif height < width:
        height, width = size, int(size * width / height)
    else:
        height, width = int(size * height / width), size
    resized = resize(pixels, height, width, cubic)
    if mode == "longest":
        square = np.zeros((size, size, 3), np.uint8)
        top, left = (size - height) // 2, (size - width) // 2
        square[top : top + height, left : left + width] = resized
    else:
        top, left = round((height - size) / 2), round((width - size) / 2)
        square = resized[top : top + size, left : left + size]
    return square.transpose(2, 0, 1).astype(np.float32)
