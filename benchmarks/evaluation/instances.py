"""Instance masks by SAM's head (Table 1): a detector's boxes are the prompts, and the masks are ranked by its scores.

Where no detector's boxes are given, the true boxes are the prompts, and the predicted IoUs rank the masks: that
measures masks alone, and gives higher numbers than a detector's boxes do. Both ways also the mean IoU of the masks of
true boxes, and of one click into the middle of each true mask. Crowds prompt nothing. Source: SAM, Sec. 7.4.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samclip_edge.benchmarks.evaluation.instance_sets import INSTANCE_SETS, InstanceSet, read_boxes
from samclip_edge.benchmarks.evaluation.layout import looked, sizes_of
from samclip_edge.benchmarks.evaluation.precision import Detected
from samclip_edge.benchmarks.evaluation.task import Asked, Outcome, Sample, Task
from samclip_edge.benchmarks.evaluation.true_instances import Annotated, Seen, Thing, read_instances
from samclip_edge.bundle.sizes import Size
from samclip_edge.files import sha256
from samclip_edge.photo.masks import Mask, Rle
from samclip_edge.photo.pictures import draw_masks
from samclip_edge.photo.resize import Pixels
from samclip_edge.scene import Scene

SIZES: tuple[Size, ...] = (1024,)
_OVERLAPS = {  # measures over all true things, by the key of an outcome; the second and third need no model
    "mIoU of true boxes": "by_box",
    "mIoU of a box as its own mask": "by_box_itself",
    "mIoU of GrabCut in true boxes": "by_grabcut",
    "mIoU of a click": "by_click",
}
_DRAWN = 0.5  # the least score of a detector's box whose mask is drawn


def instances(name: str, asked: Asked) -> list[Task]:
    """One task a size."""
    published = INSTANCE_SETS[name](asked.data)
    published.metric.check()
    sizes = sizes_of(asked.model, asked.sizes, SIZES)
    prompts = {"prompts": "true boxes, crowds left out", "scores": "predicted IoU"}
    detected: dict[int, list[Detected]] | None = None
    left_out: dict[str, int] = {}
    if asked.boxes is not None:
        detected, left_out = read_boxes(asked.boxes, published)
        prompts = {
            "prompts": f"boxes of {asked.boxes.name}, sha256 {sha256(asked.boxes)[:12]}",
            "scores": "the detector's",
        }
    if left_out:
        prompts["boxes left out"] = ", ".join(f"{count} {why}" for why, count in left_out.items())
    if asked.grabcut:
        prompts["GrabCut"] = "OpenCV's, five rounds"
    samples = _samples(asked, published, detected)
    column = "true boxes" if asked.boxes is None else f"boxes of {asked.boxes.name}"
    return [Instances(asked, size, published, samples, f"{column}, {size}", prompts) for size in sizes]


class Instances(Task):
    """Photos with true instances, prompted for at one input size."""

    together = 4

    def __init__(
        self,
        asked: Asked,
        size: Size,
        published: InstanceSet,
        samples: Sequence[Sample],
        column: str,
        prompts: Mapping[str, str],
    ) -> None:
        """prompts: how masks are asked for, for the protocol."""
        self.model, self.size, self.samples, self.column = asked.model, size, samples, column
        self.document, self.metric = published.document, published.metric
        self.rests_on = sha256(published.listed)
        self.names = {each["id"]: str(each["name"]).replace("_", " ") for each in self.document["categories"]}
        click = "the pixel of a true mask farthest from its edge"
        photo = f"scaled to fit {size}, padded"
        self.protocol = {"photo": photo, **prompts, "click": click, "mAP": self.metric.told}
        self.read = functools.partial(read_instances, grabcut=asked.grabcut)
        self.as_in_paper = asked.boxes is not None

    def answer(self, read: Sequence[Seen]) -> list[Outcome]:
        """The masks of a photo's boxes, run-length encoded, and the IoUs of those of its true boxes and of clicks."""
        scenes = looked(self.model, [seen.pixels for seen in read], self.size, named=False)
        return [_answer(scene, seen) for scene, seen in zip(scenes, read, strict=True)]

    def measures(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Average precision on the photos that were measured, and the mean IoUs over all their things."""
        measured = {each["image"] for each in outcomes}
        # Their tools change annotations, which other columns need as they are. They take an id of 0 for no match.
        marked = [each for each in self.document["annotations"] if each["image_id"] in measured]
        document = {
            "images": [each for each in self.document["images"] if each["id"] in measured],
            "annotations": [{"iscrowd": 0, **each, "id": number} for number, each in enumerate(marked, 1)],
            "categories": self.document["categories"],
        }
        results = [
            {"image_id": each["image"], "category_id": category, "score": score, "segmentation": _rle(each, counts)}
            for each in outcomes
            for category, score, counts in each["masks"]
        ]
        found = self.metric.measures(document, results)
        for name, key in _OVERLAPS.items():
            ious = [iou for each in outcomes for iou in each.get(key, ())]
            if ious:
                found[name] = float(np.mean(ious))
        return found

    def details(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """How many things and masks the numbers stand on, and which annotations could not be prompted for."""
        faults = Counter(fault for each in outcomes for fault in each["faults"])
        things = sum(len(each["by_box"]) for each in outcomes)
        return {"things": things, "masks": sum(len(each["masks"]) for each in outcomes), "not_prompted": dict(faults)}

    def goodness(self, outcome: Outcome) -> float:
        """The mean over true things of the best IoU of a mask of their category; NaN where there is neither."""
        if not outcome["best"]:
            return 0.0 if outcome["masks"] else math.nan
        return float(np.mean(outcome["best"]))

    def picture(self, sample: Sample, outcome: Outcome) -> Pixels:
        """The photo with its masks, and beside it with the true ones; of a detector, with scores of a half or more."""
        least = 0.0 if sample.truth.detected is None else _DRAWN
        masks = [
            Mask(_rle(outcome, counts), None, label=self.names[category], score=score)
            for category, score, counts in outcome["masks"]
            if score >= least
        ]
        seen = read_instances(sample)
        true = [Mask(each.rle, None, label=self.names[each.category]) for each in seen.things]
        return np.concatenate([draw_masks(seen.pixels, each) for each in (masks, true)], axis=1)


def _samples(asked: Asked, published: InstanceSet, detected: Mapping[int, list[Detected]] | None) -> list[Sample]:
    """A sample for each photo; without a detector's boxes, for each photo that has a true one."""
    annotations: dict[int, list[dict[str, Any]]] = {}
    for each in published.document["annotations"]:
        annotations.setdefault(each["image_id"], []).append(each)
    found = []
    for each, photo in zip(published.document["images"], published.photos, strict=True):
        image, own = each["id"], annotations.get(each["id"], [])
        if detected is None and all(annotation.get("iscrowd") for annotation in own):
            continue
        boxes = None
        if detected is not None:
            marked = {annotation["category_id"] for annotation in own}
            boxes = published.metric.counted(each, marked, detected.get(image, []))
        truth = Annotated(image, each["height"], each["width"], own, boxes)
        found.append(Sample(photo.relative_to(asked.data).as_posix(), photo, truth))
    return found


def _answer(scene: Scene, seen: Seen) -> Outcome:
    things, detected = seen.things, seen.truth.detected
    by_box = scene.segment(boxes=[each.box for each in things])
    by_click = scene.segment(points=[[each.click] for each in things]) if things else []
    if detected is None:
        asked = [(thing.category, mask.predicted_iou, mask) for thing, mask in zip(things, by_box, strict=True)]
    else:
        masks = scene.segment(boxes=[each.box for each in detected])
        asked = [(each.category, each.score, mask) for each, mask in zip(detected, masks, strict=True)]
    return {
        "image": seen.truth.image,
        "size": [seen.truth.height, seen.truth.width],
        "masks": [[category, score, mask.rle["counts"]] for category, score, mask in asked],
        "by_box": [_overlap([mask], each) for mask, each in zip(by_box, things, strict=True)],
        "by_box_itself": [each.filled for each in things],
        "by_grabcut": [each.cut for each in things if each.cut is not None],
        "by_click": [_overlap([mask], each) for mask, each in zip(by_click, things, strict=True)],
        "best": [_overlap([mask for category, _, mask in asked if category == each.category], each) for each in things],
        "faults": seen.faults,
    }


def _overlap(masks: Sequence[Mask], thing: Thing) -> float:
    """The highest IoU of any of the masks with a thing; 0 where there is none."""
    from pycocotools.mask import iou

    return float(np.max(iou([mask.rle for mask in masks], [thing.rle], [0]), initial=0.0))


def _rle(outcome: Outcome, counts: str) -> Rle:
    return {"size": outcome["size"], "counts": counts}
