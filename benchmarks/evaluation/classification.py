"""Zero-shot classification (the paper's Table 1, and Table 6 for other sizes): top-1 and top-5 over the classes' names.

A photo is resized by its shorter side and cut out in the middle, as CLIP's own evaluation does. A class has OpenAI's
name and the mean feature of its 80 templates. Source: CLIP, Sec. 3.1.4 and its notebook "Prompt Engineering for
ImageNet".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from samclip_edge import data as shipped
from samclip_edge.benchmarks.evaluation.class_sets import CLASS_SETS
from samclip_edge.benchmarks.evaluation.layout import clip_sizes_of, looked
from samclip_edge.benchmarks.evaluation.photos import reader, told
from samclip_edge.benchmarks.evaluation.task import Asked, Outcome, Sample, Task
from samclip_edge.benchmarks.evaluation.teacher import TeachersNames
from samclip_edge.bundle.sizes import Size
from samclip_edge.photo.pictures import draw_names
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Floats, Pixels
from samclip_edge.text.names import read_templates
from samclip_edge.text.words import Words

SIZES: tuple[Size, ...] = (224, 336)
_FIVE = 5


def classification(name: str, asked: Asked) -> list[Task]:
    """One task a size."""
    names, samples = CLASS_SETS[name](asked.data, "val")
    sizes = clip_sizes_of(asked.model, asked.sizes, SIZES)
    columns: list[Task] = [Classification(asked, size, names, samples) for size in sizes]
    if asked.teacher is not None:
        columns.append(TeachersNames(asked, names, samples, _read_whole, {"top-1": 1, "top-5": _FIVE}))
    return columns


def _read_whole(sample: Sample) -> tuple[Pixels, list[int]]:
    """A photo (H,W,3), and its class."""
    return read_photo(sample.photo), [sample.truth]


class Classification(Task):
    """Photos of one class each, named at one input size."""

    def __init__(self, asked: Asked, size: Size | None, names: Sequence[str], samples: Sequence[Sample]) -> None:
        """size: None for CLIP beside SAM, which has one size and its own way of resizing."""
        self.model, self.names, self.samples, self.progress = asked.model, list(names), samples, asked.progress
        self.size = size or asked.model.sizes[0]
        self.column = "CLIP's own size" if size is None else str(size)
        self.protocol = {
            "photo": told(size),
            "names": "OpenAI's, 80 templates",
            "classes": len(names),
        }
        self.rests_on = self.names
        self.read = reader(size)

    def prepare(self) -> None:
        """Read the names."""
        _ = self.features

    @cached_property
    def features(self) -> Floats:
        """The feature of each class (K,E)."""
        return Words(self.model.sessions, read_templates(shipped.TEMPLATES)).features(self.names, self.progress)

    def answer(self, read: Sequence[tuple[Pixels, int]]) -> list[Outcome]:
        """The five likeliest classes, and the place of the true one: 0 where it is the likeliest."""
        found = []
        for scene, (_, true) in zip(looked(self.model, [each for each, _ in read], self.size), read, strict=True):
            similarities = self.features @ scene.image_features
            order = np.argsort(-similarities, kind="stable")
            found.append({"place": int(np.flatnonzero(order == true)[0]), "best": order[:_FIVE].tolist(), "true": true})
        return found

    def measures(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Top-1 and top-5 accuracy: how often the true class is the likeliest, or among the five likeliest."""
        places = np.array([each["place"] for each in outcomes])
        return {"top-1": float((places < 1).mean()), "top-5": float((places < _FIVE).mean())}

    def goodness(self, outcome: Outcome) -> float:
        """Higher the earlier the true class comes."""
        return -float(outcome["place"])

    def picture(self, sample: Sample, outcome: Outcome) -> Pixels:
        """The photo with its likeliest classes and the true one."""
        scene = self.model.look(self.read(sample)[0], self.size)
        similarities = self.features @ scene.image_features
        powers = np.exp(self.model.words.logit_scale * (similarities - similarities.max()))
        chances = powers / powers.sum()
        named = [(self.names[index], float(chances[index])) for index in outcome["best"][:3]]
        true = outcome["true"]
        return draw_names(read_photo(sample.photo), [*named, (f"true: {self.names[true]}", float(chances[true]))])
