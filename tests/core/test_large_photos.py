"""Photos of many pixels: what is computed in fewer is held against SAM's own functions over all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from support import iou
from torchvision.ops import nms

from samclip_edge import SamClip
from samclip_edge.bundle.sizes import Size
from samclip_edge.data import TINY
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Bits
from samclip_edge.rendered import render
from samclip_edge.tasks.everything import Settings
from samclip_edge.tasks.prompts import prepare


@pytest.mark.parametrize("size", [1024, 256, "256x144"])
@pytest.mark.parametrize(("height", "width"), [(700, 1100), (1100, 700), (97, 33), (5, 900)])
def test_the_bits_of_a_mask_are_where_its_logits_are_above_0(height: int, width: int, size: Size) -> None:
    frame, random = Frame(height, width, size), np.random.default_rng(0)
    rows, columns = frame.low_res
    masks = [random.normal(-3, 1.5, (rows, columns)), np.full((rows, columns), -1.0), np.ones((rows, columns))]
    for y, x in ((0, 0), (rows // 3, columns // 4), (rows - 1, columns - 1)):  # the last lies in the padding
        masks.append(np.full((rows, columns), -0.01))
        masks[-1][y, x] = 9.0
    for each in masks:
        logits = each.astype(np.float32)
        bits, wanted = frame.bits(logits), frame.to_photo(logits)
        assert bits.shape == (height, width)
        assert not (bits != (wanted > 0))[np.abs(wanted) > 1e-5].any()


def by_sams_functions(model: SamClip, photo: np.ndarray, settings: Settings) -> list[Bits]:
    """Every mask of a photo, each candidate over all of its pixels, as SAM's generator has it with one crop."""
    scene, side = model.look(photo), settings.points_per_side
    middles = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 1, 2) * (photo.shape[1], photo.shape[0])
    low_res, ious = (each[:, 1:].reshape(-1, *each.shape[2:]) for each in scene.decode(prepare(scene.frame, grid)))
    kept = np.flatnonzero(ious > settings.predicted_iou)
    logits = [torch.from_numpy(scene.frame.to_photo(low_res[index])) for index in kept]
    stability = [float(calculate_stability_score(each[None], 0, settings.offset)) for each in logits]
    stable = np.flatnonzero(np.array(stability) >= settings.stability)
    masks = torch.stack([logits[index] > 0 for index in stable])
    boxes, quality = batched_mask_to_box(masks).float(), torch.from_numpy(ious[kept[stable]])
    return [masks[index].numpy() for index in nms(boxes, quality, settings.overlap)]


def test_everything_in_a_large_photo_is_what_sams_functions_make_of_all_its_pixels() -> None:
    model, settings = SamClip.load(TINY), Settings(12, predicted_iou=0.6, stability=0.9)
    count = matched = 0
    for seed in range(700_000, 700_006):
        photo = np.asarray(Image.fromarray(render(seed, 256, most=4).image).resize((1600, 1600)))
        wanted, got = by_sams_functions(model, photo, settings), model.look(photo).everything(settings=settings)
        count += len(wanted)
        matched += sum(any(iou(mask.bits, each) >= 0.99 for mask in got) for each in wanted)
        assert abs(len(got) - len(wanted)) <= 1
    assert count >= 12
    assert matched >= 0.98 * count
