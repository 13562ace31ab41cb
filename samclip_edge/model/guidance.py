"""Guidance maps: the points and the box of a prompt, drawn into the cells of the embedding. SAM has none.

SAM's mask decoder has to learn from millions of masks which pixels lie within a box whose corners it is told as two
vectors. A model that sees a few hundred is told so here, cell by cell. Interactive segmentation calls such maps
guidance (Majumder and Yao, CVPR 2019); there they are more channels of the photo, here they are added to `dense`. Masks
begin as a linear map of that, and keep to the box (`Prior`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.contract import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, TOP_LEFT
from samclip_edge.bundle.spec import CHANNELS

CELL = 16  # model pixels a side
EDGES = (1.0, 4.0)  # how far an edge of the box is told from a cell's middle, in cells
FINE = 4  # pixels of the low-res masks along a cell
WIDTHS = (1.0, 3.0, 8.0)  # how far the spots of a point reach, in cells
MAPS = 1 + 4 * len(EDGES) + 4 + FINE**2 + 2 * len(WIDTHS)
BOUNDS = FINE**2  # the last channels of `dense`: how far within the box each of a cell's 4 x 4 low-res pixels lies
REACH = 8.0  # low-res pixels to the edge of the box, up to which that is told
THIN = 1.5  # low-res pixels: a box that is thinner is its own mask, for low-res masks show nothing finer
LEAST = 0.6  # low-res pixels from the middle to the edge of the thinnest box, so that it holds a pixel's middle
OWN = 3.0  # what is added to the bounds of a box that is its own mask
STEEP = 8.0  # how much a mask's logits may rise a low-res pixel, from 0 at the edge of the box


class Guidance(nn.Module):
    """Maps of a prompt, what two 1 x 1 convolutions make of them, and the bounds of the box.

    The maps are, for a prompt with a box, 1; how far each of its edges is from a cell's middle, inwards, cut off at
    each of `EDGES`; where in the box the middle is, across and down, from -1 to 1; the sides of the box, as shares of
    the square's; and how much of each of the cell's 4 x 4 low-res pixels it covers, row by row. Without a box these are
    0. Then come spots around foreground points, and around background points, which fall linearly on both axes.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Conv2d(MAPS, hidden, 1), nn.Conv2d(hidden, CHANNELS - BOUNDS, 1)

    def forward(self, dense: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """dense: (M,256,h,w), one for each prompt or one for all; points: (B,N,2) x, y in model pixels, labels: (B,N).

        Returns (B,256,h,w): all but the last 16 channels with the maps added, then the bounds.
        """
        height, width = dense.shape[2:]
        told = self.out(F.relu(self.hidden(self.maps(points, labels, height, width))))
        return torch.cat([dense[:, :-BOUNDS] + told, self.bounds(points, labels, height, width)], dim=1)

    def bounds(self, points: Tensor, labels: Tensor, height: int, width: int) -> Tensor:
        """How far within the box the middles of low-res pixels lie, in `REACH`, from -1 to 1: (B,16,h,w), those of a
        cell row by row. `OWN` more where the box is `THIN`; 1 where there is no box."""
        boxed, axes, corners = self._box(points, labels, height, width)
        inside, sides = [], []
        for middle, (low, high) in zip(axes, corners, strict=True):
            low, high = FINE * low, FINE * high
            places = FINE * (middle - 0.5) + 0.5 + torch.arange(FINE, device=points.device)[:, None, None]
            inside.append(((high - low) / 2).clamp(min=LEAST) - (places - (low + high) / 2).abs())
            sides.append(high - low)
        across, down = (self.spread(each, height, width) for each in inside)  # (B,4,1,w) and (B,4,h,1)
        rows = [torch.minimum(down[:, row : row + 1], across) for row in range(FINE)]
        own = OWN * (torch.minimum(*sides) < THIN).to(points.dtype)
        return 1 + boxed * ((torch.cat(rows, dim=1) / REACH).clamp(-1, 1) + own - 1)

    def maps(self, points: Tensor, labels: Tensor, height: int, width: int) -> Tensor:
        """The maps (B,MAPS,h,w) of prompts; see the class."""
        cells = points / CELL
        boxed, axes, corners = self._box(points, labels, height, width)
        found, covered = [boxed], []
        for middle, (low, high) in zip(axes, corners, strict=True):
            for far in EDGES:
                found += [boxed * (edge / far).clamp(-1, 1) for edge in (middle - low, high - middle)]
            found.append(boxed * ((2 * middle - low - high) / (high - low).clamp(min=0.25)).clamp(-2, 2))
            found.append((high - low) / max(height, width))
            parts = FINE * (middle - 0.5) + torch.arange(FINE, device=points.device)[:, None, None]  # where they begin
            covered.append(self.share(FINE * high - parts) - self.share(FINE * low - parts))
        across, down = (self.spread(each, height, width) for each in covered)  # (B,4,1,w) and (B,4,h,1)
        found += [down[:, row : row + 1] * across for row in range(FINE)]
        for kind in (FOREGROUND, BACKGROUND):
            here = (labels == kind).to(points.dtype)[:, :, None]  # (B,N,1)
            for wide in WIDTHS:
                across, down = (
                    self._tent((middle.reshape(1, 1, -1) - cells[:, :, axis, None]) / wide)
                    for axis, middle in enumerate(axes)
                )
                found.append(((here * down).transpose(1, 2) @ across)[:, None])  # spots of all points, summed
        return torch.cat([self.whole(each, height, width) for each in found], dim=1)

    # How some steps are computed: what an engine lacks, its form of this class does in another way.

    def whole(self, x: Tensor, height: int, width: int) -> Tensor:
        """A map whose sides are h or 1, and w or 1, as (B,C,h,w)."""
        return x + torch.zeros(1, 1, height, width, device=x.device)  # by a sum, so that no graph computes a shape

    def spread(self, x: Tensor, height: int, width: int) -> Tensor:
        """A map (B,C,h,1) or (B,C,1,w) that is put together with one of the other kind."""
        return x

    def share(self, x: Tensor) -> Tensor:
        """What of x lies in 0 to 1."""
        return x.clamp(0, 1)

    def _tent(self, x: Tensor) -> Tensor:
        """1 at 0, from which it falls to 0 at -1 and 1."""
        return self.share(1 - x) * self.share(1 + x)

    def _box(
        self, points: Tensor, labels: Tensor, height: int, width: int
    ) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Whether prompts have a box (B,1,1,1); the middles of cells across (1,1,1,w) and down (1,1,h,1); and where
        boxes begin and end on these two axes, (B,1,1,1) each, in cells, 0 without a box."""
        first, last = (self._sum(points / CELL, labels == corner) for corner in (TOP_LEFT, BOTTOM_RIGHT))  # (B,2)
        boxed = (labels == TOP_LEFT).to(points.dtype).sum(dim=1)[:, None, None, None]
        across, down = (torch.arange(side, device=points.device) + 0.5 for side in (width, height))
        corners = [(first[:, axis, None, None, None], last[:, axis, None, None, None]) for axis in range(2)]
        return boxed, [across[None, None, None], down[None, None, :, None]], corners

    @staticmethod
    def _sum(cells: Tensor, chosen: Tensor) -> Tensor:
        """The sum (B,2) of the chosen (B,N) of positions (B,N,2): of a box's corner there is one at most."""
        return (cells * chosen.to(cells.dtype)[..., None]).sum(dim=1)


class Prior(nn.Module):
    """What masks begin as, and the box that they keep to; both are read off `dense`, as `Guidance` leaves it."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.ConvTranspose2d(CHANNELS, 1, kernel_size=FINE, stride=FINE)

    def forward(self, masks: Tensor, dense: Tensor) -> Tensor:
        """Low-res masks (B,4,4h,4w), logits, of prompts with `dense` (B,256,h,w), to such masks.

        They are at most `STEEP` times how many low-res pixels they are within the box. Bilinear enlargement keeps where
        that is 0, but within half a low-res pixel of the input's border, where it repeats the last one. A box that is
        its own mask is widened to 1.2 low-res pixels.
        """
        bounds = F.pixel_shuffle(dense[:, -BOUNDS:], FINE)  # (B,1,4h,4w)
        least = REACH * STEEP
        kept = torch.minimum(masks + self.map(dense), least * bounds)
        return torch.where(bounds > OWN / 2, least * (bounds - OWN), kept)
