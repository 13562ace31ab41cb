"""Average precision of masks, by pycocotools for COCO and by `lvis` for LVIS; and which boxes count at all for each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from samclip_edge.accuracy.measures import coco_stats
from samclip_edge.errors import InputError

Document = dict[str, Any]  # annotations as they are published
Results = list[dict[str, Any]]  # masks in COCO's result format

_COCO_MOST = 100  # of a category in a photo
_LVIS_MOST = 300  # of a photo


class Detected(NamedTuple):
    """A detector's box."""

    category: int
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels of the photo
    score: float


class Metric(NamedTuple):
    """How masks of a data set are measured."""

    told: str  # for the protocol
    check: Callable[[], object]  # raises InputError where it cannot be measured here
    # Of a photo as it is listed, of the categories that are marked in it, and of its boxes: those that count.
    counted: Callable[[Mapping[str, Any], Set[int], list[Detected]], list[Detected]]
    # The numbers, by name; without those for which there is no truth. Both arguments are changed.
    measures: Callable[[Document, Results], dict[str, float]]


def _coco_counted(photo: Mapping[str, Any], marked: Set[int], boxes: list[Detected]) -> list[Detected]:
    """COCO: the 100 boxes of each category that have the highest scores."""
    left: dict[int, int] = {}
    kept = []
    for each in sorted(boxes, key=lambda each: -each.score):
        left[each.category] = left.get(each.category, _COCO_MOST) - 1
        if left[each.category] >= 0:
            kept.append(each)
    return kept


def _coco(document: Document, results: Results) -> dict[str, float]:
    names = ("mAP", "AP50", "AP75", "AP small", "AP medium", "AP large")
    stats = coco_stats(document, results) if results else [0.0] * len(names)
    return _known(dict(zip(names, stats, strict=False)))


def _lvis_counted(photo: Mapping[str, Any], marked: Set[int], boxes: list[Detected]) -> list[Detected]:
    """LVIS: of the photo's 300 boxes of the highest scores, those of categories known to be there, or not to be."""
    known = marked | set(photo["neg_category_ids"])
    best = sorted(boxes, key=lambda each: -each.score)[:_LVIS_MOST]
    return [each for each in best if each.category in known]


def _lvis(document: Document, results: Results) -> dict[str, float]:
    lvis = _lvis_package()

    class Truth(lvis.LVIS):  # type: ignore[misc, name-defined]
        """Takes annotations in place of the path of their file."""

        def _load_json(self, path: Document) -> Document:
            return path

    names = {"mAP": "AP", "AP50": "AP50", "AP75": "AP75", "AP rare": "APr", "AP common": "APc", "AP frequent": "APf"}
    if not results:
        return dict.fromkeys(names, 0.0)
    # lvis 0.5.3, the latest, says np.float, which numpy 1.24 dropped.
    with mock.patch.object(np, "float", float, create=True):
        truth = Truth(document)
        run = lvis.LVISEval(truth, lvis.LVISResults(truth, results, _LVIS_MOST), "segm")
        run.run()
    return _known({name: float(run.results[theirs]) for name, theirs in names.items()})


def _lvis_package() -> Any:
    """The package `lvis`. Raises InputError where it is not installed."""
    try:
        with mock.patch.object(logging, "basicConfig"):  # it would set up the logging of the whole program
            import lvis
    except ModuleNotFoundError as error:
        if error.name != "lvis":
            raise
        mend = "`pip install --no-deps lvis` (what it depends on would displace opencv-python-headless)"
        raise InputError(f"lvis: its average precision needs the package lvis; {mend}") from None
    logging.getLogger("lvis").setLevel(logging.ERROR)
    return lvis


def _known(stats: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in stats.items() if value > -1}


COCO = Metric("pycocotools, masks", lambda: None, _coco_counted, _coco)
LVIS = Metric("lvis, masks, at most 300 a photo", _lvis_package, _lvis_counted, _lvis)
