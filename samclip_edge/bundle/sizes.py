"""The input size of a graph: S for a square of S x S model pixels, or "WxH" for a rectangle of W x H."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

PATCH = 16  # pixels along the side of a token
MASK_STRIDE = 4  # model pixels along the side of a low-res mask pixel
LARGEST = 1024  # the longest side of any input
PHOTOS = 8  # the most photos in one call of a graph that takes several


def _validated(size: int | str) -> int | str:
    return of_sides(*sides(size))


# In a manifest and in Python: an int, or a text such as "1024x576".
Size = Annotated[int | str, AfterValidator(_validated)]


def sides(size: int | str) -> tuple[int, int]:
    """Height and width in pixels. Raises ValueError for what is no size, or no positive multiple of 16.

    size: also a number of another type, such as numpy's, if it is whole.
    """
    text = size if isinstance(size, str) else f"{float(size):g}"
    found = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", text)
    if not found:
        raise ValueError(f"{size} is neither a number nor WxH, such as 1024x576")
    width, height = int(found[1]), int(found[2] or found[1])
    for side in (height, width):
        if side <= 0 or side % PATCH:
            raise ValueError(f"size {size} is not a positive multiple of {PATCH}")
    return height, width


def of_sides(height: int, width: int) -> Size:
    """The size of an input of that height and width."""
    return width if height == width else f"{width}x{height}"


def in_order(size: Size) -> tuple[int, int, int]:
    """By which sizes are sorted: the number of pixels first, then height and width."""
    height, width = sides(size)
    return height * width, height, width


def grid(size: Size) -> tuple[int, int]:
    """Rows and columns of tokens (h,w)."""
    height, width = sides(size)
    return height // PATCH, width // PATCH


def low_res(size: Size) -> tuple[int, int]:
    """Rows and columns of a low-res mask."""
    height, width = sides(size)
    return height // MASK_STRIDE, width // MASK_STRIDE


def photos_in_a_call(height: int, width: int) -> int:
    """How many photos of so many pixels are encoded in one call: of large ones a single one keeps all cores busy."""
    return min(max(PHOTOS * 224 * 224 // (height * width), 1), PHOTOS)
