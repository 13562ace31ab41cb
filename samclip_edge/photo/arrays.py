"""Arrays of others: whatever numpy can make an array of, torch's tensors among them, as numbers or as a photo."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.resize import Pixels

_SLACK = 0.05  # how far, over `white`, a resize that overshoots may take the values of a photo


def as_array(what: str, values: Any, dtype: Any = None) -> npt.NDArray[Any]:
    """An array of `values`, wherever they lie: of a torch tensor that is on a GPU or requires a gradient, too.

    what: its name in messages. dtype: what to make of it; None keeps its own. Raises InputError where there is none.
    """
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
        if str(getattr(values, "dtype", "")) == "torch.bfloat16":  # which numpy does not have
            values = values.float()
        return np.asarray(values, dtype)
    except Exception as error:  # an `__array__` may raise anything
        raise InputError(f"{what}: not an array of numbers of one shape ({one_line(error)})") from None


def value_of_white(white: Any) -> float:
    """The value of white as a number. Raises InputError for what is none, or not above 0."""
    try:
        value = float(white)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 1e-9 <= value <= 1e30:
        raise InputError(f" {white!r:.40}: give the value of white in the photo, a number above 0", "white")
    return value


def photo_of_array(values: Any, white: float | None) -> Pixels:
    """A photo (H,W,3) uint8 RGB, with memory of its own.

    values: (H,W) or (H,W,1) grey, (H,W,2) grey with alpha, (H,W,3) RGB or (H,W,4) RGB with alpha; the channels may
    come first, as torch has them. Alpha is dropped. white: the value of white, which values of another type than uint8
    need: 1 or 255 for floats, 65535 for uint16. Raises InputError for any other array.
    """
    array = as_array("photo", values)
    shape = array.shape
    if array.ndim == 3 and shape[2] not in (1, 2, 3, 4) and shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise InputError(
            f"photo: an array of {shape} is no photo; pass (H,W) grey, (H,W,3) RGB, (H,W,4) RGBA, or channels first"
        )
    if array.dtype.kind not in "uif":
        raise InputError(f"photo: an array of {array.dtype} is no photo; pass uint8, or other numbers with their white")
    if not array.size:
        raise InputError("photo: the array is empty; pass at least one pixel")
    colours = array[..., : 1 if array.shape[2] <= 2 else 3]
    if array.dtype != np.uint8 or white is not None:
        colours = _scaled(colours, white)
    return np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else np.array(colours, order="C")


def _scaled(colours: npt.NDArray[Any], white: float | None) -> Pixels:
    """Colours of any type of number as 0..255."""
    if white is None:
        raise InputError(
            f"photo: an array of {colours.dtype}; say which value is white (white=1, white=255), or pass uint8"
        )
    least, most = float(colours.min()), float(colours.max())
    if not (-_SLACK * white <= least and most <= (1 + _SLACK) * white):  # NaN too
        raise InputError(
            f"photo: has values from {least:g} to {most:g} where black is 0 and white {white:g}; undo a normalisation "
            "before, or pass another white"
        )
    scaled = colours.astype(np.float32) * np.float32(255 / white)
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)
