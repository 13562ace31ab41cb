"""Batches: a function of the seed and the step, shared out without gap or overlap, prompts on their masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from samclip_edge.photo.masks import mask_box
from samclip_edge.train.data.batches import ClipSteps, Images, Masks, SamSteps
from samclip_edge.train.data.loading import Loader
from samclip_edge.train.data.prompts import point_among, sample_prompts, shaken_box
from samclip_edge.train.data.sources import Source, crop
from samclip_edge.train.recipe import Batch, Data, Scenes

ALONE = (0, 1)


def source(count: int = 60, variants: int = 0) -> Source:
    """Rendered scenes, which need no folder for an index."""
    data = Data(scenes=Scenes(first=500, count=count), variants=variants)
    return Source(data, seed=3, annotated=True, cache=Path("/nowhere"))


def clip_batch(shapes: list[Batch], step: int, share: tuple[int, int] = ALONE, parts: int = 1) -> list[Images]:
    return ClipSteps(source(), shapes, range(step, step + 1), share, parts, None)[0]


def sam_steps(shape: Batch, which: range, most: int = 4) -> SamSteps:
    return SamSteps(most, source(), [shape], which, ALONE, 1, None)


def test_an_epoch_draws_every_image_once_in_an_order_of_its_own() -> None:
    for count in (1, 7, 60, 64):
        images = source(count)
        first, second = ([images.draw(epoch * count + i) for i in range(count)] for epoch in (0, 1))
        assert sorted(s.image for s in first) == sorted(s.image for s in second) == list(range(count))
        assert count < 8 or [s.image for s in first] != [s.image for s in second]
        assert {s.variant for s in first} == {0}
        assert {s.variant for s in second} == {1}


def test_variants_come_round_again() -> None:
    images = source(10, variants=3)
    assert [images.draw(epoch * 10).variant for epoch in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_a_stage_of_mixed_sizes_draws_every_image_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [Batch(size=128, images=4), Batch(size=256, images=2)]
    seen: list[int] = []
    drawn = ClipSteps(source(30), shapes, range(12), ALONE, 1, None)
    monkeypatch.setattr(drawn, "usable", seen.append)
    monkeypatch.setattr(drawn, "batch", lambda shape, draws: list(draws))
    for item in range(len(drawn)):
        drawn[item]
    assert seen == list(range(len(seen)))
    assert 24 < len(seen) < 48


def test_a_step_is_the_same_however_it_is_reached() -> None:
    shape = Batch(size=128, images=4)
    whole = list(Loader(sam_steps(shape, range(5)), 0))
    late = list(Loader(sam_steps(shape, range(3, 5)), 1))
    for a, b in zip(whole[3:], late, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a[0], b[0], strict=True) if isinstance(x, torch.Tensor))


@pytest.mark.parametrize(("processes", "parts"), [(2, 1), (1, 2), (2, 2)])
def test_processes_and_parts_share_out_the_batch_of_one(processes: int, parts: int) -> None:
    shapes = [Batch(size=128, images=8), Batch(size=256, images=4)]
    for step in range(4):
        (alone,) = clip_batch(shapes, step)
        shares = [part for rank in range(processes) for part in clip_batch(shapes, step, (rank, processes), parts)]
        assert len(shares) == processes * parts
        assert torch.equal(alone.pixels, torch.cat([part.pixels for part in shares]))
        assert alone.captions == [caption for part in shares for caption in part.captions]
    sizes = {clip_batch(shapes, step)[0].pixels.shape for step in range(20)}
    assert sizes == {(8, 3, 128, 128), (4, 3, 256, 256)}


def test_a_caption_and_the_contents_of_a_scene_agree() -> None:
    (batch,) = clip_batch([Batch(size=128, images=60, things=2)], 0)
    assert len(set(batch.captions)) > 40
    for caption, content in zip(batch.captions, batch.contents, strict=True):
        words = set(content.replace(",", "").split()) - {"a", "an", "and"}
        assert words <= set(caption.strip(".").replace(",", "").split())
    assert any("background" in content for content in batch.contents)


def test_masks_belong_to_their_images_and_prompts_to_their_masks() -> None:
    (batch,) = sam_steps(Batch(size=128, images=12), range(1), most=2)[0]
    assert isinstance(batch, Masks)
    assert batch.pixels.shape == (12, 3, 128, 128)
    assert torch.bincount(batch.owner, minlength=12).max() <= 2
    assert set(batch.labels[:, 2].tolist()) == {0.0, 1.0}
    for mask, points, labels in zip(batch.masks, batch.points, batch.labels, strict=True):
        x, y = points[2].int().tolist()
        assert mask[y, x] == (labels[2] == 1)
        if labels[1] == -1:
            x, y = points[0].int().tolist()
            assert labels[0] == 1
            assert mask[y, x]
        else:
            assert labels[:2].tolist() == [2, 3]


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
    assert np.array_equal(shaken_box(bits, random, shake=0), mask_box(bits))
    assert all(bits[int(y), int(x)] for x, y in (point_among(bits, random) for _ in range(50)))
    kinds = [sample_prompts(bits, random)[1].tolist() for _ in range(200)]
    assert 60 < sum(kind[:2] == [2, 3] for kind in kinds) < 140
    assert all(kind[2] == 1 for kind in kinds)  # a box is all that this mask is, so there is nothing beside it


def test_a_crop_is_most_of_the_image() -> None:
    """A picture whose red says x and whose green says y tells which part of it a crop shows, and whether mirrored."""
    y, x = np.mgrid[:200, :250]
    picture = np.stack([x, y, 0 * x], axis=2).astype(np.uint8)
    mirrored = 0
    for seed in range(40):
        part = crop(picture, 64, np.random.default_rng(seed)).astype(int)
        width, height = np.ptp(part[..., 0]), np.ptp(part[..., 1])
        assert 0.66 < width * height / (200 * 250) <= 1
        mirrored += part[0, 0, 0] > part[0, -1, 0]
    assert 10 < mirrored < 30
