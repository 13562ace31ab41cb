"""Batches: a function of the seed and the step, shared out without gap or overlap, prompts on their masks."""

from __future__ import annotations

import numpy as np
import torch
from samclip_edge.train.data import ClipSteps, Images, Masks, SamSteps, draw, steps
from samclip_edge.train.prompts import inner_point, sample_prompt, shaken_box
from samclip_edge.train.recipe import Batch, Scenes

from samclip_edge.masks import mask_box

SCENES = Scenes(first=500, count=60)


def test_an_epoch_draws_every_scene_once_in_an_order_of_its_own() -> None:
    for count in (1, 7, 60, 64):
        scenes = Scenes(first=500, count=count)
        first, second = ([draw(scenes, 3, epoch * count + i) for i in range(count)] for epoch in (0, 1))
        assert sorted(first) == sorted(second) == list(range(500, 500 + count))
        assert count < 8 or first != second


def test_a_step_is_the_same_however_it_is_reached() -> None:
    shape = Batch(size=128, images=4)
    whole = list(steps(SamSteps(shape, 4, SCENES, 1, 0, 5, 0, 1), 0))
    late = list(steps(SamSteps(shape, 4, SCENES, 1, 3, 5, 0, 1), 1))
    for a, b in zip(whole[3:], late, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_processes_share_out_the_batch_of_one() -> None:
    shapes = [Batch(size=128, images=4), Batch(size=256, images=2)]
    for step in range(6):
        (alone,) = [ClipSteps(shapes, SCENES, 1, step, step + 1, 0, 1)[0]]
        parts = [ClipSteps(shapes, SCENES, 1, step, step + 1, rank, 2)[0] for rank in (0, 1)]
        assert isinstance(alone, Images)
        assert torch.equal(alone.pixels, torch.cat([part.pixels for part in parts]))
        assert alone.captions == parts[0].captions + parts[1].captions
    sizes = {ClipSteps(shapes, SCENES, 1, step, step + 1, 0, 1)[0].pixels.shape for step in range(20)}
    assert sizes == {(4, 3, 128, 128), (2, 3, 256, 256)}


def test_masks_belong_to_their_images_and_prompts_to_their_masks() -> None:
    batch = SamSteps(Batch(size=128, images=6), 2, SCENES, 1, 0, 1, 0, 1)[0]
    assert isinstance(batch, Masks)
    assert batch.pixels.shape == (6, 3, 128, 128)
    assert torch.bincount(batch.owner, minlength=6).max() <= 2
    assert set(batch.labels.flatten().tolist()) <= {-1.0, 1.0, 2.0, 3.0}
    for mask, points, labels in zip(batch.masks, batch.points, batch.labels, strict=True):
        if labels.tolist() == [1, -1]:
            x, y = points[0].int().tolist()
            assert mask[y, x] == 1
        else:
            assert labels.tolist() == [2, 3]


def test_a_shaken_box_is_near_its_mask_and_in_the_picture() -> None:
    bits = np.zeros((200, 300), bool)
    bits[40:140, 5:205] = True
    random = np.random.default_rng(0)
    boxes = np.stack([shaken_box(bits, random) for _ in range(500)])
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 300
    moved = boxes - np.array(mask_box(bits))
    assert np.abs(moved).max() <= 20
    assert 8 < moved[:, 3].std() < 11  # a tenth of the 100 pixels of its height
    assert all(bits[int(y), int(x)] for x, y in (inner_point(bits, random) for _ in range(50)))
    kinds = [sample_prompt(bits, random)[1].tolist() for _ in range(200)]
    assert 60 < kinds.count([2, 3]) < 140
