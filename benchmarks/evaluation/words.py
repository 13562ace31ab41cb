"""Words on photos with true instances: which name comes first, the masks of names, and what absent names get.

Not of the paper, which asks only for what is there. A photo is asked for every name of the data set. "There" are the
names of its instances, crowds included.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from samclip_edge.accuracy.measures import iou
from samclip_edge.benchmarks.evaluation.instance_sets import INSTANCE_SETS, InstanceSet
from samclip_edge.benchmarks.evaluation.layout import looked, sizes_of
from samclip_edge.benchmarks.evaluation.task import Asked, Outcome, Sample, Task
from samclip_edge.benchmarks.evaluation.teacher import TeachersNames
from samclip_edge.benchmarks.evaluation.true_instances import of_size, true_mask
from samclip_edge.bundle.sizes import Size
from samclip_edge.photo.masks import Bits, Mask, encode_rle
from samclip_edge.photo.pictures import draw_masks
from samclip_edge.photo.resize import Pixels
from samclip_edge.scene import Scene

WORD_SETS = {"coco-words": "coco"}  # by the task, the instance set; LVIS does not say of each name whether it is there
_PROTOCOL = {
    "first name": "the likeliest of all names, for the whole photo",
    "masks": "asked for the names that are there; the IoU with all instances of a name, 0 where it is not found",
    "absent": "asked for every name; how many of the names that are not there are answered",
}


class Named(NamedTuple):
    """What a sample's truth is."""

    height: int
    width: int
    annotations: list[tuple[str, dict[str, Any]]]  # the name and the annotation, as published


class Shown(NamedTuple):
    """A sample that was read."""

    pixels: Pixels
    there: dict[str, Bits]  # the pixels (H,W) of each name


def words(name: str, asked: Asked) -> list[Task]:
    """One task a size: the largest of the bundle, where none is asked for."""
    published = INSTANCE_SETS[WORD_SETS[name]](asked.data)
    sizes = sizes_of(asked.model, asked.sizes, asked.model.sizes[-1:])
    columns: list[Task] = [NamesAndMasks(asked, published, size) for size in sizes]
    if asked.teacher is not None:
        names = names_of(published)
        read = functools.partial(_read_places, names)
        columns.append(TeachersNames(asked, names, _samples(asked, published), read, {_first_of(len(names)): 1}))
    return columns


def names_of(published: InstanceSet) -> list[str]:
    """The names of a data set's categories, as people write them."""
    return [each["name"].replace("_", " ") for each in published.document["categories"]]


def _first_of(count: int) -> str:
    return f"the first of {count} names is there"


class NamesAndMasks(Task):
    """Photos asked for every name of a data set, at one input size."""

    together = 4
    as_in_paper = False

    def __init__(self, asked: Asked, published: InstanceSet, size: Size) -> None:
        self.model, self.size, self.column = asked.model, size, f"words, {size}"
        self.names = names_of(published)
        self.samples, self.read = _samples(asked, published), read_named
        self.protocol = {"photo": f"scaled to fit {size}, padded", **_PROTOCOL}

    def answer(self, read: Sequence[Shown]) -> list[Outcome]:
        """The first name, what each name that is there got, and which absent names were answered."""
        scenes = looked(self.model, [shown.pixels for shown in read], self.size)
        return [self._answer(scene, shown) for scene, shown in zip(scenes, read, strict=True)]

    def _answer(self, scene: Scene, shown: Shown) -> Outcome:
        first = scene.classify(self.names)[0].label
        found = {mask.label: mask for mask in scene.find(list(shown.there))}
        answered = {mask.label for mask in scene.find(self.names)}
        ious = {name: iou(found[name].bits, bits) if name in found else 0.0 for name, bits in shown.there.items()}
        return {
            "there": ious,
            "found": sorted(found),
            "first": first,
            "absent": sorted(answered - set(shown.there)),
            "masks": {name: mask.rle for name, mask in found.items()},
        }

    def measures(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Shares and mean IoUs; "chance" is what names drawn by chance would come to."""
        count = len(self.names)
        ious = [value for each in outcomes for value in each["there"].values()]
        absent = sum(count - len(each["there"]) for each in outcomes)
        return {
            _first_of(count): float(np.mean([e["first"] in e["there"] for e in outcomes])),
            "the same by chance": float(np.mean([len(each["there"]) / count for each in outcomes])),
            "mIoU of names that are there": float(np.mean(ious)),
            "names that are there and found": sum(len(each["found"]) for each in outcomes) / len(ious),
            "absent names answered": sum(len(each["absent"]) for each in outcomes) / max(absent, 1),
        }

    def goodness(self, outcome: Outcome) -> float:
        """The mean IoU of what is there."""
        return float(np.mean(list(outcome["there"].values())))

    def picture(self, sample: Sample, outcome: Outcome) -> Pixels:
        """The masks that were found for the names that are there, and beside them the true ones."""
        shown = read_named(sample)
        true = [Mask(encode_rle(bits), None, label=name) for name, bits in shown.there.items()]
        found = [Mask(rle, None, label=name) for name, rle in outcome["masks"].items()]
        return np.concatenate([draw_masks(shown.pixels, each) for each in (found, true)], axis=1)


def _samples(asked: Asked, published: InstanceSet) -> list[Sample]:
    names = {each["id"]: each["name"].replace("_", " ") for each in published.document["categories"]}
    marked: dict[int, list[tuple[str, dict[str, Any]]]] = {}
    for each in published.document["annotations"]:
        marked.setdefault(each["image_id"], []).append((names[each["category_id"]], each))
    return [
        Sample(
            photo.relative_to(asked.data).as_posix(), photo, Named(each["height"], each["width"], marked[each["id"]])
        )
        for each, photo in zip(published.document["images"], published.photos, strict=True)
        if each["id"] in marked
    ]


def read_named(sample: Sample) -> Shown:
    """The photo of a sample, and the pixels of each name. Raises InputError where they do not belong together."""
    truth: Named = sample.truth
    pixels = of_size(sample.photo, truth.height, truth.width)
    there: dict[str, Bits] = {}
    for name, each in truth.annotations:
        bits = true_mask(sample.photo, each, truth.height, truth.width)[1]
        there[name] = there[name] | bits if name in there else bits
    return Shown(pixels, {name: bits for name, bits in there.items() if bits.any()})


def _read_places(names: Sequence[str], sample: Sample) -> tuple[Pixels, list[int]]:
    """The photo of a sample, and which of the names are on it."""
    shown = read_named(sample)
    return shown.pixels, [names.index(name) for name in shown.there]
