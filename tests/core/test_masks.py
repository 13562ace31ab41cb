"""Run-length encoding, boxes and suppression against pycocotools and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from segment_anything.utils.amg import calculate_stability_score
from torchvision.ops import nms

from samclip_edge.photo.masks import Mask, decode_rle, encode_rle, mask_box, stability, suppress


def masks() -> list[np.ndarray]:
    random = np.random.RandomState(0)
    noise = [
        random.rand(*shape) < share for shape in ((1, 1), (7, 3), (64, 80), (301, 33)) for share in (0.02, 0.5, 0.98)
    ]
    big = np.zeros((900, 1400), bool)
    big[100:850, 20:1300] = True
    full, empty = np.ones((40, 31), bool), np.zeros((40, 31), bool)
    return [*noise, big, full, empty, full[:, :1], empty[:1]]


@pytest.mark.parametrize("bits", masks(), ids=lambda m: f"{m.shape} {m.mean():.2f}")
def test_rle_is_that_of_pycocotools(bits: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(bits.astype(np.uint8)))
    ours = encode_rle(bits)
    assert ours == {"size": list(bits.shape), "counts": theirs["counts"].decode()}
    assert np.array_equal(decode_rle(ours), bits)
    mask = Mask(ours, 1.0)
    assert mask.area == coco.area(theirs)
    x, y, width, height = coco.toBbox(theirs)
    assert mask.box == mask_box(bits) == (x, y, x + width, y + height)


def test_stability_is_that_of_segment_anything() -> None:
    for seed in range(4):
        logits = np.random.RandomState(seed).normal(0, 3, (50, 70)).astype(np.float32)
        theirs = calculate_stability_score(torch.from_numpy(logits)[None], 0.0, 1.0)
        assert stability(logits, 1.0) == pytest.approx(float(theirs), abs=1e-6)
    assert stability(np.full((3, 3), -9.0, np.float32), 1.0) == 0


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 0.95])
def test_suppression_is_that_of_torchvision(threshold: float) -> None:
    for seed in range(5):
        random = np.random.RandomState(seed)
        corner = random.randint(0, 60, (80, 2))
        boxes = np.concatenate([corner, corner + random.randint(0, 50, (80, 2))], axis=1).astype(np.float64)
        scores = np.round(random.rand(80), 1)  # with ties
        theirs = nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold).tolist()
        assert suppress(boxes, scores, threshold) == theirs
