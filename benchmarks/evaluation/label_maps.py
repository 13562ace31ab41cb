"""Maps of labels as data sets publish them: what each pixel holds, as the classes that are counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from samclip_edge.errors import InputError, one_line

IGNORED = 255  # the class of pixels that are not counted
_NONE = 254  # and of those whose label the data set does not have
MOST = 253  # classes, besides the background
IDS = 2**24  # of segments, which are colours
_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "RGB")  # of pictures whose pixels are whole numbers
Labels = npt.NDArray[np.uint8]


class LabelMap(NamedTuple):
    """A file that says of each pixel of a photo what it shows."""

    path: Path
    classes: Mapping[int, int]  # by what a pixel holds: 0 to K-1, K for the background, or IGNORED
    segments: bool = False  # whether pixels hold ids of segments, as colours (COCO's panoptic format)


def read_labels(labels: LabelMap) -> Labels:
    """The class of each pixel (H,W), or IGNORED.

    A picture of palette or grey holds labels, of 8 or 16 bits; so does one in colours whose three channels are the
    same. A file of Matlab holds `LabelMap`, as Pascal Context is published. Raises InputError for a file that is not
    there or damaged, and for a label that is not in the table.
    """
    try:
        held = _of_matlab(labels.path) if labels.path.suffix == ".mat" else _of_picture(labels)
    except FileNotFoundError:
        raise InputError(f"{labels.path}: no such map of labels; fetch the data set again") from None
    except InputError:
        raise
    except Exception as error:  # a decoder raises whatever it likes
        raise InputError(f"{labels.path}: no map of labels ({one_line(error)}); fetch it again") from None
    top = max(labels.classes, default=0) + 1  # stands for all that no class has
    table = np.full(top + 1, _NONE, np.uint8)
    for label, number in labels.classes.items():
        table[label] = number
    found = table[np.where((held < 0) | (held > top), top, held)]
    if (found == _NONE).any():
        wrong = int(held[found == _NONE][0])
        raise InputError(f"{labels.path}: holds label {wrong}, which the data set does not have; fetch it again")
    return found


def _of_picture(labels: LabelMap) -> npt.NDArray[np.int64]:
    with Image.open(labels.path) as image:
        if image.mode in ("RGBA", "LA"):
            image = image.convert(image.mode[:-1])
        if image.mode not in _MODES:
            raise InputError(f"{labels.path}: is a picture in {image.mode}; give the maps of labels as published")
        held: npt.NDArray[Any] = np.asarray(image).astype(np.int64)
    if labels.segments:
        if held.ndim != 3:
            raise InputError(f"{labels.path}: has one channel, and segments are told by colours; fetch panoptic maps")
        return held @ np.array([1, 256, 65536])
    if held.ndim == 3:
        if (held != held[..., :1]).any():
            raise InputError(f"{labels.path}: is a picture in colours; give the maps of labels as they are published")
        held = held[..., 0]
    return held


def _of_matlab(path: Path) -> npt.NDArray[np.int64]:
    from scipy.io import loadmat

    held = np.asarray(loadmat(path)["LabelMap"])
    if held.ndim != 2 or held.dtype.kind not in "iu":
        raise ValueError(f"its LabelMap is {held.ndim}-dimensional, of {held.dtype}")
    return held.astype(np.int64)
