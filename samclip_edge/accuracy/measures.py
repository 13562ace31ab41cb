"""Measures of masks: IoU, mean IoU over classes, and COCO's average precision."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from samclip_edge.photo.masks import Bits, Mask, encode_rle, mask_box

Labels = npt.NDArray[np.int64]


def iou(a: Bits, b: Bits) -> float:
    """The IoU of two masks (H,W); 1 where both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


class Semantic:
    """Counts the pixels of each class over rendered scenes, for the mean IoU. The background is a class too."""

    def __init__(self, classes: int) -> None:
        self._both = np.zeros(classes, np.int64)
        self._either = np.zeros(classes, np.int64)

    def add(self, true: Labels, found: Labels) -> None:
        """Count one scene. true, found: (H,W), the class of each pixel."""
        count = len(self._both)
        table = np.bincount(true.ravel() * count + found.ravel(), minlength=count**2).reshape(count, count)
        self._both += table.diagonal()
        self._either += table.sum(axis=0) + table.sum(axis=1) - table.diagonal()

    @property
    def mean(self) -> float:
        """Mean IoU over the classes that are in the truth or were found."""
        seen = self._either > 0
        return float((self._both[seen] / self._either[seen]).mean())


def average_precision(truth: Sequence[Sequence[Bits]], answers: Sequence[Sequence[Mask]]) -> float:
    """COCO's mask AP (IoU 0.50 to 0.95) by pycocotools, with all masks in one category.

    truth, answers: the true masks and the found ones of each image. Found masks are ranked by `Mask.predicted_iou`.
    """
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (bits, masks) in enumerate(zip(truth, answers, strict=True), start=1):
        for each in bits:
            x0, y0, x1, y1 = mask_box(each)
            area = int(each.sum())
            common = {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0, "area": area}
            annotations.append(common | {"segmentation": encode_rle(each), "bbox": [x0, y0, x1 - x0, y1 - y0]})
        found = {"image_id": image, "category_id": 1}
        results.extend(found | {"segmentation": mask.rle, "score": mask.predicted_iou} for mask in masks)
    images = [
        {"id": image, "height": each[0].shape[0], "width": each[0].shape[1]} for image, each in enumerate(truth, 1)
    ]
    document = {"images": images, "categories": [{"id": 1, "name": "thing"}], "annotations": annotations}
    return coco_stats(document, results)[0]


def coco_stats(document: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    """The twelve numbers of pycocotools for masks: AP, AP50, AP75, AP of small, medium and large things, and recalls.

    document: annotations as COCO publishes them. results: at least one, each with a `segmentation`. Both are changed. A
    number is -1 where there is no truth for it.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        ground = COCO()
        ground.dataset = document
        ground.createIndex()
        run = COCOeval(ground, ground.loadRes(results), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(each) for each in run.stats]
