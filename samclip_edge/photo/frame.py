"""The frame: how one photo lies in the model's square, and how points, maps and masks go from one to the other.

There are two systems of coordinates: *photo* pixels, of the photo as a person sees it, and *model* pixels, of the S x S
square whose top-left corner the resized photo fills. The resize is `SamPredictor`'s (Pillow's antialiased bilinear).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.spec import MASK_STRIDE, PIXEL_MEAN
from samclip_edge.photo.resize import Floats, Pixels, between, resize, shares


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
        (height, width), side = self.scaled, low_res.shape[0]
        rows = _way_back(side, self.size, height, self.height)
        columns = _way_back(side, self.size, width, self.width)
        # Both products shrink with the smaller side first.
        return (rows @ low_res) @ columns.T if self.height <= self.width else rows @ (low_res @ columns.T)

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
        cover[:height, :width] = shares(mask, height, width)
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


@lru_cache(maxsize=8)
def _way_back(low_res: int, size: int, scaled: int, photo: int) -> Floats:
    """The matrix (photo,low_res) from one side of a low-res mask to that of the photo, by way of the model's square."""
    return between(scaled, photo) @ between(low_res, size)[:scaled]
