"""Regions: what the CLIP teacher is shown of a mask and of a square without one, against arrays cut by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from samclip_edge.bundle.spec import PIXEL_MEAN
from samclip_edge.photo.masks import CUT_OUT
from samclip_edge.train.data.batches import Masks
from samclip_edge.train.data.regions import free_squares, regions
from samclip_edge.train.losses import patch_distillation


def batch(pixels: torch.Tensor, owner: list[int], masks: torch.Tensor) -> Masks:
    nothing = torch.zeros(0)
    return Masks(pixels, torch.tensor(owner), masks, nothing, nothing, None, None, [], [])


def test_a_mask_is_cut_out_in_the_middle_on_the_mean_colour() -> None:
    """A box of 64 x 32 pixels with a margin of 1.5 fills 2/3 and 1/3 of the picture: at 96 pixels, one to one."""
    pixels = torch.randint(0, 256, (1, 3, 128, 128), generator=torch.Generator().manual_seed(3)).float()
    mask = torch.zeros(1, 128, 128, dtype=torch.bool)
    mask[0, 48:80, 16:80] = True
    found = regions(batch(pixels, [0], mask), grid=8, side=round(64 * CUT_OUT))
    picture = found.pictures[0]
    torch.testing.assert_close(picture[:, 32:64, 16:80], pixels[0, :, 48:80, 16:80], atol=1e-2, rtol=0)
    around = torch.ones(96, 96, dtype=torch.bool)
    around[32:64, 16:80] = False
    mean = torch.tensor(PIXEL_MEAN)[:, None].expand(3, int(around.sum()))
    torch.testing.assert_close(picture[:, around], mean, atol=1e-2, rtol=0)
    patches = torch.zeros(8, 8)
    patches[3:5, 1:5] = 1
    assert torch.equal(found.patches[0], patches)


def test_squares_without_a_mask_are_the_photo_itself() -> None:
    pixels = torch.randint(0, 256, (2, 3, 128, 128), generator=torch.Generator().manual_seed(4)).float()
    masks = torch.ones(2, 128, 128, dtype=torch.bool)
    masks[1, 16:96, 32:112] = False  # of the second image, five patches by five are free
    found = regions(batch(pixels, [0, 1], masks), grid=8, side=80)
    assert found.owner.tolist() == [0, 1, 1]
    torch.testing.assert_close(found.pictures[2], pixels[1, :, 16:96, 32:112])
    assert found.patches[2].sum() == 25
    assert found.patches[2, 1:6, 2:7].all()


def test_free_squares_are_wide_apart_and_free() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        taken = random.random((16, 16)) < 0.04
        seen = taken.astype(int)
        sides = []
        for row, column, length in free_squares(taken):
            seen[row : row + length, column : column + length] += 1
            sides.append(length)
        assert seen.max() <= 1
        assert sides == sorted(sides, reverse=True)
    assert free_squares(np.ones((8, 8), bool)) == []
    assert free_squares(np.zeros((7, 7), bool)) == [(0, 0, 7)]


def test_each_patch_counts_by_its_share() -> None:
    """By hand: a patch that agrees, one at right angles that counts half, and one that is not of the region."""
    patches = torch.tensor([[[[1.0, 0.0, -1.0]], [[0.0, 1.0, 0.0]]]])
    shares = torch.tensor([[[1.0, 0.5, 0.0]]])
    teacher = F.normalize(torch.tensor([[1.0, 0.0]])) * 7
    torch.testing.assert_close(patch_distillation(patches, shares, teacher), torch.tensor([1 - 1 / 1.5]))
