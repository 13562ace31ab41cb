"""The frame: how one photo lies in the model's input, and how points, maps and masks go from one to the other.

There are two systems of coordinates: *photo* pixels, of the photo as a person sees it, and *model* pixels, of the
input, a square of S x S or a rectangle, whose top-left corner the resized photo fills. The resize is `SamPredictor`'s
(Pillow's antialiased bilinear).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.sizes import MASK_STRIDE, PATCH, Size, grid, low_res, sides
from samclip_edge.bundle.spec import PIXEL_MEAN
from samclip_edge.photo.resize import Floats, Pixels, between, resize, shares

_TILE = 128  # rows of a photo that are computed together: their floats stay in the processor's cache


@dataclass(frozen=True)
class Frame:
    """How one photo lies in the model's input. Sides in pixels."""

    height: int  # of the photo
    width: int
    size: Size  # of the input

    @classmethod
    def of(cls, pixels: Pixels, size: Size) -> Frame:
        """The frame of a photo (H,W,3) in an input of a size."""
        height, width, _ = pixels.shape
        return cls(height, width, size)

    @property
    def scale(self) -> float:
        """How large the photo lies in the input: in a square its longest side is S (SAM's `ResizeLongestSide`)."""
        height, width = sides(self.size)
        return min(height / self.height, width / self.width)

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the photo inside the input, which it fills as far as its shape allows."""
        return max(int(self.height * self.scale + 0.5), 1), max(int(self.width * self.scale + 0.5), 1)

    def image(self, pixels: Pixels) -> Floats:
        """The photo as the `image` input: (1,3,H,W) RGB, 0..255, padded with the pixel mean at the right and bottom.

        pixels: (h,w,3) RGB, all those of the photo or reduced ones.
        """
        height, width = self.scaled
        image = np.empty((1, 3, *sides(self.size)), np.float32)
        image[:] = np.array(PIXEL_MEAN, np.float32)[:, None, None]
        image[0, :, :height, :width] = resize(pixels, height, width).transpose(2, 0, 1)
        return image

    def to_model(self, points: npt.ArrayLike) -> Floats:
        """Photo coordinates (..., 2) x, y to model coordinates."""
        height, width = self.scaled
        scale = np.array([width / self.width, height / self.height])
        return (np.asarray(points, np.float64) * scale).astype(np.float32)

    @property
    def reduced(self) -> Frame:
        """The frame of the same photo made no larger than it lies in the input."""
        height, width = self.scaled
        return self if height >= self.height else Frame(height, width, self.size)

    def to_photo(self, logits: Floats) -> Floats:
        """Low-res mask logits (H/4,W/4) to logits over the photo's own pixels (SAM's `postprocess_masks`)."""
        rows, columns = self._ways_back(logits.shape)
        # Both products shrink with the smaller side first.
        return (rows @ logits) @ columns.T if self.height <= self.width else rows @ (logits @ columns.T)

    def bits(self, logits: Floats) -> npt.NDArray[np.bool_]:
        """Where `to_photo` of low-res logits is above 0: (H,W), in memory column after column, as COCO's runs go."""
        (top, left), part = self.part(logits)
        found = np.zeros((self.height, self.width), bool, order="F")
        found[top : top + part.shape[0], left : left + part.shape[1]] = part
        return found

    def part(self, logits: Floats) -> tuple[tuple[int, int], npt.NDArray[np.bool_]]:
        """The part of `bits` that is computed, and the row and column where it begins. Around it there is no mask.

        Each pixel is a weighted mean of logits near it. So only pixels are computed which a logit above 0 reaches.
        """
        above = (logits > 0).astype(np.float32)
        rows, columns = self._ways_back(logits.shape)
        y, down, rows = _reached(rows, above.max(axis=1))
        x, across, columns = _reached(columns, above.max(axis=0))
        wide = columns @ logits[down, across].T
        part = np.empty((len(columns), len(rows)), bool)
        for start in range(0, len(rows), _TILE):  # whose rows are made of few low-res ones each
            tile = slice(start, start + _TILE)
            used = _used(rows[tile])
            np.greater(wide[:, used] @ rows[tile, used].T, 0, out=part[:, tile])
        return (y.start, x.start), part.T

    def _ways_back(self, low_res: tuple[int, ...]) -> tuple[Floats, Floats]:
        """The matrices from rows and columns of a low-res mask to those of the photo."""
        (height, width), (down, across) = self.scaled, sides(self.size)
        rows = _way_back(low_res[0], down, height, self.height)
        return rows, _way_back(low_res[1], across, width, self.width)

    def cell(self, shape: tuple[int, ...]) -> int:
        """Model pixels along the side of a cell of a map (h',w') over the input. The last cells may reach over it."""
        return PATCH * -(-grid(self.size)[0] // shape[0])

    def cells(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of a map (h',w') over the input whose centres the photo reaches (at least one each)."""
        (height, width), side = self.scaled, self.cell(shape)
        return max(int(height / side + 0.5), 1), max(int(width / side + 0.5), 1)

    def coverage(self, mask: npt.NDArray[np.bool_], shape: tuple[int, int]) -> Floats:
        """How much of each cell of a map (h',w') over the input a photo-sized mask covers: (h',w'), 0..1.

        A mask too small to cover a hundredth of any cell falls wholly on the cell of its centre.
        """
        rows, columns = shape
        side = self.cell(shape)
        height, width = (max(round(each * 8 / side), 1) for each in self.scaled)
        cover = np.zeros((8 * rows, 8 * columns), np.float32)
        cover[:height, :width] = shares(mask, height, width)
        cells = cover.reshape(rows, 8, columns, 8).mean(axis=(1, 3))
        if mask.any() and cells.max() < 0.01:
            y, x = (int(axis.mean()) for axis in np.nonzero(mask))
            column, row = (self.to_model([x, y]) / side).astype(int)
            cells[min(row, rows - 1), min(column, columns - 1)] = 1.0
        return cells

    def enlarge(self, values: Floats) -> Floats:
        """A map (h',w') over the input as low-res logits (H/4,W/4), linearly."""
        side = self.cell(values.shape) // MASK_STRIDE
        rows, columns = (
            between(count, count * side)[:low] for count, low in zip(values.shape, self.low_res, strict=True)
        )
        return rows @ values @ columns.T

    @property
    def low_res(self) -> tuple[int, int]:
        """Rows and columns of a low-res mask."""
        return low_res(self.size)


@lru_cache(maxsize=8)
def _way_back(low: int, side: int, scaled: int, photo: int) -> Floats:
    """The matrix (photo,low_res) from one side of a low-res mask to that of the photo, by way of the input."""
    return between(scaled, photo) @ between(low, side)[:scaled]


def _reached(way_back: Floats, marked: Floats) -> tuple[slice, slice, Floats]:
    """The photo's rows that the marked rows of a low-res mask reach, the low-res rows that these are made of, and the
    part of the matrix from the latter to the former. marked: 1 or 0 for each low-res row. The same for columns."""
    reached = np.flatnonzero(way_back @ marked)
    photo = slice(int(reached[0]), int(reached[-1]) + 1) if reached.size else slice(0, 0)
    low = _used(way_back[photo])
    return photo, low, way_back[photo, low]


def _used(way_back: Floats) -> slice:
    """The low-res rows of which some of the photo's rows, one after another, are made."""
    used = np.flatnonzero(way_back[[0, -1]].any(axis=0)) if len(way_back) else np.zeros(0, int)
    return slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
