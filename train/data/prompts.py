"""Prompts for a mask as SAM's training samples them: its box, shaken, or a point inside it (SAM, Sec. A)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.contract import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, NOTHING, TOP_LEFT
from samclip_edge.photo.masks import mask_box

Random = np.random.Generator
Floats = npt.NDArray[np.float32]
SHAKE, MOST = 0.1, 20  # a corner moves by a tenth of the box's side (standard deviation), at most 20 pixels


def shaken_box(bits: npt.NDArray[np.bool_], random: Random) -> Floats:
    """The box of a mask (H,W) with noise on each corner, inside the picture: (4,) x0, y0, x1, y1."""
    height, width = bits.shape
    x0, y0, x1, y1 = mask_box(bits)
    sides = np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
    noise = np.clip(random.normal(0, SHAKE * sides), -MOST, MOST)
    x0, y0, x1, y1 = np.clip(np.array([x0, y0, x1, y1]) + noise, 0, [width, height, width, height])
    return np.array([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)], np.float32)


def point_among(bits: npt.NDArray[np.bool_], random: Random) -> Floats:
    """A true pixel of (H,W), drawn evenly: (2,) x, y."""
    rows, columns = np.nonzero(bits)
    at = random.integers(len(rows))
    return np.array([columns[at], rows[at]], np.float32)


def sample_prompts(bits: npt.NDArray[np.bool_], random: Random) -> tuple[Floats, Floats]:
    """What a mask is asked for with, in two rounds: points (3,2) and labels (3,) of the contract.

    The first two are the first round: a box or, as often, a point followed by nothing. The third joins them in the
    second round, beside the mask of the first: a point on the mask, or one time in four beside it, within its box.
    """
    if random.random() < 0.5:
        first, labels = shaken_box(bits, random).reshape(2, 2), [TOP_LEFT, BOTTOM_RIGHT]
    else:
        first, labels = np.stack([point_among(bits, random), np.zeros(2, np.float32)]), [FOREGROUND, NOTHING]
    x0, y0, x1, y1 = mask_box(bits)
    beside = np.zeros_like(bits)
    beside[y0:y1, x0:x1] = ~bits[y0:y1, x0:x1]
    on = random.random() < 0.75 or not beside.any()
    second = point_among(bits if on else beside, random)
    return np.concatenate([first, second[None]]), np.array([*labels, FOREGROUND if on else BACKGROUND], np.float32)
