"""Draws prompts for a mask as SAM's training does: its box with noise, or a point inside it (SAM, Sec. A)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.contract import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, NOTHING, TOP_LEFT
from samclip_edge.photo.masks import mask_box

Random = np.random.Generator
Floats = npt.NDArray[np.float32]
SHAKE, MOST = 0.1, 20  # noise of a box corner: standard deviation as a share of the box's side, and most pixels


def shaken_box(bits: npt.NDArray[np.bool_], random: Random, shake: float = SHAKE) -> Floats:
    """The box of a mask (H,W) with noise on each corner, clipped to the image: (4,) x0, y0, x1, y1 in its pixels.

    shake: the standard deviation of the noise, as a share of the box's side.
    """
    height, width = bits.shape
    x0, y0, x1, y1 = mask_box(bits)
    sides = np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
    noise = np.clip(random.normal(0, shake * sides), -MOST, MOST)
    x0, y0, x1, y1 = np.clip(np.array([x0, y0, x1, y1]) + noise, 0, [width, height, width, height])
    return np.array([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)], np.float32)


def middle(bits: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """x, y of the pixel of a mask (H,W) that is farthest from all that is not the mask."""
    inside = np.pad(bits, 1).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def point_among(bits: npt.NDArray[np.bool_], random: Random) -> Floats:
    """A true pixel of `bits` (H,W), all equally likely: (2,) x, y."""
    rows, columns = np.nonzero(bits)
    at = random.integers(len(rows))
    return np.array([columns[at], rows[at]], np.float32)


def sample_prompts(bits: npt.NDArray[np.bool_], random: Random, shake: float = SHAKE) -> tuple[Floats, Floats]:
    """Draw the prompts of a mask for two rounds: points (3,2), and labels (3,) as `bundle/contract.py` numbers them.

    The first round uses the first two points. Half the time they are the corners of a box, else a point on the mask and
    one labelled `NOTHING`. The second round uses all three, together with the mask of the first round. The third point
    lies on the mask, or one time in four off the mask but in its box. shake: see `shaken_box`.
    """
    if random.random() < 0.5:
        first, labels = shaken_box(bits, random, shake).reshape(2, 2), [TOP_LEFT, BOTTOM_RIGHT]
    else:
        first, labels = np.stack([point_among(bits, random), np.zeros(2, np.float32)]), [FOREGROUND, NOTHING]
    x0, y0, x1, y1 = mask_box(bits)
    beside = np.zeros_like(bits)
    beside[y0:y1, x0:x1] = ~bits[y0:y1, x0:x1]
    on = random.random() < 0.75 or not beside.any()
    second = point_among(bits if on else beside, random)
    return np.concatenate([first, second[None]]), np.array([*labels, FOREGROUND if on else BACKGROUND], np.float32)
