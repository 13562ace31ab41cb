"""What each patch is of, taught one region at a time: the CLIP teacher is shown a region alone, and every patch of the
region learns the feature that it answers.

Not in the paper, whose Eq. 1 compares whole images and leaves patches to max-pooling. On rendered scenes that was not
enough: a thing's name stayed spread over its patches, and the background's patches said it too. Cf. CLIPSelf
(arXiv 2310.01403), which shows a CLIP its own crops; here D_SAM's masks say where the crops are.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.bundle.spec import PIXEL_MEAN
from samclip_edge.photo.masks import CUT_OUT
from samclip_edge.train.data.batches import Masks

WINDOWS = 3  # squares without a mask, of an image at the most
_LEAST = 3  # patches on a side of such a square


class Regions(NamedTuple):
    """Regions of a batch of images."""

    owner: Tensor  # (R,) which image a region is of
    patches: Tensor  # (R,h,w) the share of each patch that lies in the region
    pictures: Tensor  # (R,3,c,c) RGB, 0..255, the region alone


def regions(batch: Masks, grid: int, side: int) -> Regions:
    """Every mask, cut out and laid on the mean colour, and the widest squares that no mask touches.

    grid: patches h = w on a side of the patch map. side: c, of the pictures in pixels.
    """
    covered = F.adaptive_avg_pool2d(batch.masks[:, None].float(), grid)[:, 0]
    owner, patches, pictures = [batch.owner], [covered], [_cut_out(batch, side)]
    patch = batch.pixels.shape[-1] // grid
    for image in range(len(batch.pixels)):
        taken = (covered[batch.owner == image] > 0).any(dim=0).cpu().numpy()
        for row, column, length in free_squares(taken):
            inside = torch.zeros_like(covered[:1])
            inside[0, row : row + length, column : column + length] = 1
            y, x, width = row * patch, column * patch, length * patch
            window = batch.pixels[image : image + 1, :, y : y + width, x : x + width]
            owner.append(batch.owner.new_tensor([image]))
            patches.append(inside)
            pictures.append(F.interpolate(window, size=(side, side), mode="bilinear", align_corners=False))
    return Regions(torch.cat(owner), torch.cat(patches), torch.cat(pictures))


def _cut_out(batch: Masks, side: int) -> Tensor:
    """(M,3,side,side): each mask in the middle of a square, all around it the mean colour."""
    size = batch.pixels.shape[-1]
    mean = torch.tensor(PIXEL_MEAN, device=batch.pixels.device).view(1, 3, 1, 1)
    places = (torch.arange(size, device=batch.pixels.device) + 0.5) / size * 2 - 1  # as grid_sample counts

    def span(along: Tensor) -> tuple[Tensor, Tensor]:  # (M,S), whether a mask has a pixel in the column or row
        first = torch.where(along, places, 2.0).min(dim=1).values
        last = torch.where(along, places, -2.0).max(dim=1).values
        return (first + last) / 2, last - first + 2 / size

    (x, width), (y, height) = span(batch.masks.any(dim=1)), span(batch.masks.any(dim=2))
    scale = CUT_OUT * torch.maximum(width, height) / 2
    zero = torch.zeros_like(scale)
    theta = torch.stack([torch.stack([scale, zero, x], dim=1), torch.stack([zero, scale, y], dim=1)], dim=1)
    alone = (batch.pixels - mean)[batch.owner] * batch.masks[:, None]
    where = F.affine_grid(theta, [len(theta), 3, side, side], align_corners=False)
    return F.grid_sample(alone, where, align_corners=False) + mean


def free_squares(taken: np.ndarray) -> list[tuple[int, int, int]]:
    """Up to `WINDOWS` squares (row, column, length) of patches not `taken` (h,w), widest first, none overlapping."""
    free = np.pad(~taken, 1).astype(np.uint8)
    found: list[tuple[int, int, int]] = []
    while len(found) < WINDOWS:
        reach = np.rint(cv2.distanceTransform(free, cv2.DIST_C, 3)).astype(int)  # patches to the nearest one taken
        row, column = np.unravel_index(reach.argmax(), reach.shape)
        radius = int(reach[row, column]) - 1
        if 2 * radius + 1 < _LEAST:
            break
        top, left, length = int(row) - radius, int(column) - radius, 2 * radius + 1
        free[top : top + length, left : left + length] = 0
        found.append((top - 1, left - 1, length))
    return found
