"""Finds the regions of images from which patch features learn. The CLIP teacher sees each region alone, and every patch
of the region learns the teacher's feature of it.

This is not in the paper, whose Eq. 1 trains only the pooled feature of the whole image. On rendered scenes that was not
enough: the name of a thing stayed spread over its patches, and patches of the background matched it too. CLIPSelf
(arXiv 2310.01403) teaches CLIP from its own crops in a similar way; here the masks of D_SAM say where the regions are.
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

WINDOWS = 3  # squares without a mask, per image, at most
_LEAST = 3  # patches on a side of such a square, at least


class Regions(NamedTuple):
    """The R regions of a batch of images."""

    owner: Tensor  # (R,) the index of the image that a region belongs to
    patches: Tensor  # (R,h,w) the share of each patch that lies in the region
    pictures: Tensor  # (R,3,c,c) RGB, 0..255, the region alone


def regions(batch: Masks, grid: int, side: int) -> Regions:
    """The regions of a batch: every mask, cut out on SAM's mean colour, and the widest squares that no mask touches.

    grid: patches on a side of the patch map (h = w). side: pixels on a side of the pictures (c).
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
    """(M,3,side,side): each mask in the middle of a square that is otherwise filled with SAM's mean colour.

    The square is `CUT_OUT` times as wide as the mask's box, as in `photo.masks.cut_out`.
    """
    size = batch.pixels.shape[-1]
    mean = torch.tensor(PIXEL_MEAN, device=batch.pixels.device).view(1, 3, 1, 1)
    places = (torch.arange(size, device=batch.pixels.device) + 0.5) / size * 2 - 1  # centres in grid_sample's -1..1

    def span(along: Tensor) -> tuple[Tensor, Tensor]:  # (M,S) bool -> centre and width (M,) of the true entries
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
    """Up to `WINDOWS` squares of patches that are not `taken` (h,w): row, column, length in patches.

    The widest comes first, and none overlap.
    """
    free = np.pad(~taken, 1).astype(np.uint8)
    found: list[tuple[int, int, int]] = []
    while len(found) < WINDOWS:
        reach = np.rint(cv2.distanceTransform(free, cv2.DIST_C, 3)).astype(int)  # to the nearest not free
        row, column = np.unravel_index(reach.argmax(), reach.shape)
        radius = int(reach[row, column]) - 1
        if 2 * radius + 1 < _LEAST:
            break
        top, left, length = int(row) - radius, int(column) - radius, 2 * radius + 1
        free[top : top + length, left : left + length] = 0
        found.append((top - 1, left - 1, length))
    return found
