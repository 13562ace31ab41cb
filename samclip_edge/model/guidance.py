"""Guidance maps: the points and the box of a prompt, drawn into the cells of the embedding. SAM has none.

SAM's mask decoder has to learn from millions of masks which pixels lie within a box whose corners it is told as two
vectors. A model that sees a few hundred is told so here, cell by cell. Interactive segmentation calls such maps
guidance (Majumder and Yao, CVPR 2019); there they are more channels of the photo, here they are added to `dense`. Masks
begin as a linear map of that (`mask_decoder.MaskDecoder.prior`).
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


class Guidance(nn.Module):
    """Maps of a prompt, and what two 1 x 1 convolutions make of them.

    The maps are, for a prompt with a box, 1; how far each of its edges is from a cell's middle, inwards, cut off at
    each of `EDGES`; where in the box the middle is, across and down, from -1 to 1; the sides of the box, as shares of
    the square's; and how much of each of the cell's 4 x 4 low-res pixels it covers, row by row. Without a box these are
    0. Then come spots around foreground points, and around background points, which fall linearly on both axes.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Conv2d(MAPS, hidden, 1), nn.Conv2d(hidden, CHANNELS, 1)

    def forward(self, points: Tensor, labels: Tensor, height: int, width: int) -> Tensor:
        """points: (B,N,2) x, y in model pixels, labels: (B,N). Returns (B,256,h,w)."""
        out: Tensor = self.out(F.relu(self.hidden(self.maps(points, labels, height, width))))
        return out

    def maps(self, points: Tensor, labels: Tensor, height: int, width: int) -> Tensor:
        """The maps (B,MAPS,h,w) of prompts; see the class."""
        cells = points / CELL
        first, last = (self._sum(cells, labels == corner) for corner in (TOP_LEFT, BOTTOM_RIGHT))  # (B,2)
        boxed = (labels == TOP_LEFT).to(points.dtype).sum(dim=1)[:, None, None, None]
        middles = [torch.arange(side, device=points.device) + 0.5 for side in (width, height)]
        axes = [middles[0][None, None, None], middles[1][None, None, :, None]]  # (1,1,1,w) and (1,1,h,1)
        found, covered = [boxed], []
        for axis, middle in enumerate(axes):
            low, high = (corner[:, axis, None, None, None] for corner in (first, last))
            for far in EDGES:
                found += [boxed * (edge / far).clamp(-1, 1) for edge in (middle - low, high - middle)]
            found.append(boxed * ((2 * middle - low - high) / (high - low).clamp(min=0.25)).clamp(-2, 2))
            found.append((high - low) / max(height, width))
            parts = FINE * (middle - 0.5) + torch.arange(FINE, device=points.device)[:, None, None]  # where they begin
            covered.append((FINE * high - parts).clamp(0, 1) - (FINE * low - parts).clamp(0, 1))
        across, down = covered  # (B,4,1,w) and (B,4,h,1)
        found += [down[:, row : row + 1] * across for row in range(FINE)]
        for kind in (FOREGROUND, BACKGROUND):
            here = (labels == kind).to(points.dtype)[:, :, None]  # (B,N,1)
            for wide in WIDTHS:
                across, down = (
                    _tent((middle[None, None] - cells[:, :, axis, None]) / wide) for axis, middle in enumerate(middles)
                )
                found.append(((here * down).transpose(1, 2) @ across)[:, None])  # spots of all points, summed
        whole = torch.zeros(1, 1, height, width, device=points.device)  # broadcast by a sum, no graph computes a shape
        return torch.cat([each + whole for each in found], dim=1)

    @staticmethod
    def _sum(cells: Tensor, chosen: Tensor) -> Tensor:
        """The sum (B,2) of the chosen (B,N) of positions (B,N,2): of a box's corner there is one at most."""
        return (cells * chosen.to(cells.dtype)[..., None]).sum(dim=1)


def _tent(x: Tensor) -> Tensor:
    """1 at 0, from which it falls to 0 at -1 and 1."""
    return (1 - x).clamp(0, 1) * (1 + x).clamp(0, 1)
