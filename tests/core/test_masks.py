"""Run-length encoding, boxes and suppression against pycocotools and torchvision."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from segment_anything.utils.amg import calculate_stability_score
from torchvision.ops import nms

from samclip_edge.errors import InputError
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


@pytest.mark.parametrize("bits", masks(), ids=lambda m: f"{m.shape} {m.mean():.2f}")
def test_rle_of_a_part_is_that_of_the_whole(bits: np.ndarray) -> None:
    height, width = bits.shape
    for top, left, below, right in ((0, 0, 0, 0), (3, 2, 1, 4), (0, 5, 0, 0), (2, 0, 0, 1)):
        whole = np.pad(bits, ((top, below), (left, right)))
        assert encode_rle(bits, (top, left), (height + top + below, width + left + right)) == encode_rle(whole)
    assert encode_rle(bits[:0, :0], (0, 0), (4, 3)) == encode_rle(np.zeros((4, 3), bool))


@pytest.mark.parametrize("bits", masks()[3:6], ids=lambda m: f"{m.shape} {m.mean():.2f}")
def test_counts_may_be_bytes_or_a_list(bits: np.ndarray) -> None:
    """As `pycocotools` has them, and as it reads them in `frPyObjects`; a run of 0 leads to a mask's first pixel."""
    flat = bits.ravel(order="F")
    runs = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
    listed = {"size": list(bits.shape), "counts": [0, *runs] if flat[0] else runs}
    theirs = coco.frPyObjects(listed, *bits.shape)
    assert isinstance(theirs["counts"], bytes)
    for rle in (theirs, listed, {"size": np.array(bits.shape), "counts": np.array(listed["counts"])}):
        assert np.array_equal(decode_rle(rle), coco.decode(theirs))
        assert Mask(rle, 1.0).area == coco.area(theirs)


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ([2, 3], [5]),
        ([2, 3], [7]),
        ([2, 3], [8, -2]),
        ([2, 3], [-1, 7]),
        ([2, 3], []),
        ([2, 3], ""),
        ([2, 3], [6.0]),
        ([2, 3], ["6"]),
        ([2, 3], [[6]]),
        ([2, 3], [10**400]),
        ([2, 3], None),
        ([2, 3], 6),
        ([2, 3], "é"),
        ([2, 3], "6 "),  # a space lies below the digits
        ([2, 3], "6\x7f"),
        ([2, 3], "V"),  # a digit that says that another one follows
        ([2, 3], "o" * 100_000),  # which all make one number
        ([2, 3], b"\xff"),
        ([10**8, 10**8], [10**16]),  # ten petabytes
        ([10**8, 10**8], [6]),
        ([2, 3], [10**16, 10**16]),
        ([-2, -3], [6]),
        ([0, 3], [0]),
        ([0, 3], []),
        ([2.0, 3], [6]),
        (["2", "3"], [6]),
        ([2, 3, 1], [6]),
        ([6], [6]),
        (6, [6]),
        (None, [6]),
    ],
)
def test_an_rle_that_is_none_is_refused_in_one_line(size: Any, counts: Any) -> None:
    assert decode_rle({"size": [2, 3], "counts": "6"}).shape == (2, 3)
    with pytest.raises(InputError, match=r"^rle: .*pass the RLE as it was encoded$"):
        decode_rle({"size": size, "counts": counts})


@pytest.mark.parametrize("rle", [{}, {"size": [2, 3]}, {"counts": [6]}, None, [], "6"])
def test_what_is_no_object_with_size_and_counts_is_refused(rle: Any) -> None:
    with pytest.raises(InputError, match=r"^rle: "):
        decode_rle(rle)


def test_masks_are_equal_when_all_that_they_hold_is() -> None:
    def made(**changes: Any) -> Mask:
        bits, logits = np.eye(4, 6, dtype=bool), np.arange(16, dtype=np.float32).reshape(4, 4)
        fields = {"logits": logits, "label": "cup", "score": 0.5, "point": (1.0, 2.0), "similarity": 0.2}
        return Mask(encode_rle(bits), 0.9, **(fields | changes))

    mask = made()
    assert mask == made()
    assert hash(mask) == hash(made())
    assert {mask, made(), made(label="cat")} == {mask, made(label="cat")}
    for key, other in {"label": "cat", "score": 0.4, "point": None, "similarity": 0.1}.items():
        assert mask != made(**{key: other}), key
    assert mask != replace(made(), predicted_iou=0.8)
    assert mask != replace(made(), rle=encode_rle(np.zeros((4, 6), bool)))
    assert mask != made(logits=None)
    assert mask != made(logits=np.zeros((4, 4), np.float32))
    assert mask != made(logits=np.zeros((2, 2), np.float32))
    assert made(logits=None) == made(logits=None)
    assert mask != "mask"


def test_a_mask_survives_pickle_and_deepcopy() -> None:
    mask = Mask(encode_rle(np.eye(5, dtype=bool)), 0.7, np.ones((2, 2), np.float32), "dog")
    for again in (pickle.loads(pickle.dumps(mask)), copy.deepcopy(mask)):
        assert again == mask
        assert np.array_equal(again.bits, np.eye(5, dtype=bool))


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


def test_a_mask_prints_in_one_short_line() -> None:
    bits = np.random.RandomState(1).rand(300, 400) < 0.5
    shown = repr(Mask(encode_rle(bits), 0.5, label="cat"))
    assert "cat" in shown
    assert len(shown) < 200
