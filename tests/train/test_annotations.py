"""Masks in every form that COCO stores them in, against pycocotools."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO

from samclip_edge.train.data.annotations import annotations_of, bits_of

SHAPE = (40, 60)
TRIANGLE = [2, 2, 50.5, 4, 30, 38.25]
SQUARE = [40.0, 20.0, 55.0, 20.0, 55.0, 35.0, 40.0, 35.0]


def theirs(segmentation: Any) -> np.ndarray:
    """What `COCO.annToMask` makes of it."""
    data = COCO()
    data.imgs = {1: {"height": SHAPE[0], "width": SHAPE[1]}}
    return np.asarray(data.annToMask({"image_id": 1, "segmentation": segmentation})).astype(bool)


@pytest.mark.parametrize(
    "segmentation",
    [
        [TRIANGLE],
        [TRIANGLE, SQUARE],
        [[-5, -5, 70, -3, 65, 45, -2, 41]],  # reaches over every border
        [[59.5, 39.5, 80, 39.5, 80, 60]],
        {"size": [40, 60], "counts": [100, 60, 2240]},
        {"size": [40, 60], "counts": [0, 2400]},
        {"counts": coco.encode(np.asfortranarray(np.eye(40, 60, dtype=np.uint8)))["counts"].decode(), "size": [40, 60]},
    ],
)
def test_a_segmentation_is_the_mask_that_pycocotools_makes(segmentation: Any) -> None:
    (found,) = annotations_of(json.dumps({"annotations": [{"segmentation": segmentation}]}).encode())
    bits = bits_of(found.segmentation, SHAPE)
    assert bits.dtype == bool
    assert np.array_equal(bits, theirs(segmentation))


def test_a_polygon_may_stand_alone_and_one_without_area_is_left_out() -> None:
    wanted = theirs([TRIANGLE])
    for segmentation in (TRIANGLE, [TRIANGLE, [1, 1, 9, 9]], [[3.0, 3.0], TRIANGLE]):
        assert np.array_equal(bits_of(segmentation, SHAPE), wanted)


def test_annotations_without_a_segmentation_are_left_out() -> None:
    """COCO has boxes and keypoints without one; NaN in a field that is not read is nobody's fault."""
    text = b'{"annotations": [{"bbox": [1, 2, 3, 4]}, {"segmentation": []}, {"segmentation": null, "area": NaN}]}'
    assert annotations_of(text) == []
    text = text.replace(b"[]", json.dumps([TRIANGLE]).encode())
    assert [each.segmentation for each in annotations_of(b"\xef\xbb\xbf" + text)] == [[TRIANGLE]]


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3]],
        [[1, 2, 3, 4]],
        [["1"] * 6],
        [[None] * 6],
        [[True] * 6],
        [[1, 2, 3, 4, 5, 6, 7]],
        [TRIANGLE, {}],
        [TRIANGLE, 1],
        [[TRIANGLE]],
        [[float("nan")] * 6],
        [[float("inf")] * 6],
        [[0, 0, 1e9, 0, 1e9, 1e9]],  # an edge of gigabytes
        [[10**400] * 6],
        {"size": [9, 9], "counts": [81]},
        {"size": [10**8, 10**8], "counts": [10**16]},
        {"size": [40, 60], "counts": [10**16]},
        {"size": [40, 60], "counts": "é"},
        {"size": [40.5, 60], "counts": [2400]},
        {"size": "40x60", "counts": [2400]},
        {"size": None, "counts": None},
        {"size": 40, "counts": 1},
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(segmentation: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        bits_of(segmentation, SHAPE)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"annotations": {}}',
        b'{"annotations": "x"}',
        b'{"annotations": null}',
        b'{"annotations": [1]}',
        b'{"annotations": [null]}',
        b'{"annotations": [{"segmentation": 1}]}',
        b'{"annotations": [{"segmentation": "x"}]}',
        b'{"annotations": [{"segmentation": {"size": [40, 60]}}]}',
        b'{"annotations": [{"segmentation": {"counts": [1]}}]}',
        b'{"annotations": [{"area": "caf\xe9"}]}',
        b'{"annotations": ' + b"[" * 100_000,
        b'{"annotations": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda text: text[:60],
)
def test_a_json_that_is_no_list_of_annotations_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        annotations_of(text)


def test_a_mask_may_have_a_name_and_be_stuff_or_a_crowd() -> None:
    fields = [
        {},
        {"name": " red star "},
        {"name": None},
        {"name": "sky", "thing": False},
        {"name": "cow", "iscrowd": 1},
    ]
    text = json.dumps({"annotations": [{"segmentation": [TRIANGLE], **each} for each in fields]}).encode()
    assert [each[1:] for each in annotations_of(text)] == [
        ("", True, False),
        ("red star", True, False),
        ("", True, False),
        ("sky", False, False),
        ("cow", True, True),
    ]


@pytest.mark.parametrize(
    "field", ['"name": 7', '"name": "a\\u0000"', '"name": ["cow"]', '"thing": "x"', '"iscrowd": []']
)
def test_a_name_that_is_none_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="of a mask"):
        annotations_of(b'{"annotations": [{"segmentation": [[1, 2, 3]], %s}]}' % field.encode())
