"""Zero-shot retrieval: a caption's photo among all photos, a photo's captions among all captions; recall at 1, 5, 10.

A photo is read as for classification. Captions are read as they are, without templates. From image to text, a photo is
a hit at K where any of its own captions is among the first K. What is equally similar keeps the order of the data set.
Source: Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments" (2015), Sec. 4.1.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from samclip_edge.benchmarks.evaluation.caption_sets import CAPTION_SETS, Captions
from samclip_edge.benchmarks.evaluation.layout import clip_sizes_of, looked
from samclip_edge.benchmarks.evaluation.photos import reader, told
from samclip_edge.benchmarks.evaluation.task import Asked, Outcome, Sample, Task
from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError
from samclip_edge.photo.pictures import draw_names
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Floats, Pixels

SIZES: tuple[Size, ...] = (224,)
_FIRST = (1, 5, 10)
_BLOCK = 256  # rows of similarities that are there at a time
Places = npt.NDArray[np.int64]


def retrieval(name: str, asked: Asked) -> list[Task]:
    """One task a size. Raises InputError for a bundle without a text encoder."""
    if asked.model.words.vocabulary is not None:
        given = asked.model.bundle.given
        raise InputError(f"{given}: holds a vocabulary, which has no captions; export it with its text encoder")
    samples = CAPTION_SETS[name](asked.data)
    return [Retrieval(asked, size, samples) for size in clip_sizes_of(asked.model, asked.sizes, SIZES)]


class Retrieval(Task):
    """Photos and their captions, each looked for among all of the others, at one input size."""

    together = 32  # photos, so that captions of one length are many

    def __init__(self, asked: Asked, size: Size | None, samples: Sequence[Sample]) -> None:
        """size: None for CLIP beside SAM, which has one size and its own way of resizing."""
        self.model, self.samples = asked.model, samples
        self.size = size or asked.model.sizes[0]
        self.column = "CLIP's own size" if size is None else str(size)
        captions = "at most five a photo, without templates"
        self.protocol = {"photo": told(size), "captions": captions, "features": "kept as float16"}
        self.read = reader(size)
        self._places: dict[int, tuple[list[int], int]] = {}  # by the photo's number, what `places` says of it

    def answer(self, read: Sequence[tuple[Pixels, Captions]]) -> list[Outcome]:
        """The features of photos and of their captions."""
        scenes = looked(self.model, [photo for photo, _ in read], self.size)
        texts = self.model.words.encode([text for _, captions in read for text in captions.texts])
        ends = np.cumsum([len(captions.texts) for _, captions in read])
        return [
            {"number": captions.number, "photo": _packed(scene.image_features), "captions": _packed(own)}
            for scene, (_, captions), own in zip(scenes, read, np.split(texts, ends[:-1]), strict=True)
        ]

    def measures(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """How often what is looked for is among the first 1, 5 and 10, in both directions."""
        photos = np.stack([_unpacked(each["photo"]) for each in outcomes])
        captions = [_unpacked(each["captions"]).reshape(-1, photos.shape[1]) for each in outcomes]
        by_text, by_photo = places(photos, captions)
        for each, own, best in zip(outcomes, by_text, by_photo, strict=True):
            self._places[each["number"]] = own.tolist(), int(best)
        directions = {"text to image": np.concatenate(by_text), "image to text": by_photo}
        return {f"{way} R@{k}": float((found < k).mean()) for way, found in directions.items() for k in _FIRST}

    def goodness(self, outcome: Outcome) -> float:
        """Higher the earlier the photo comes for its captions."""
        return -float(np.mean(self._places[outcome["number"]][0]))

    def picture(self, sample: Sample, outcome: Outcome) -> Pixels:
        """The photo with its captions, each after the place that the photo has for it."""
        own, best = self._places[outcome["number"]]
        lines = [f"{place + 1}: {text}" for place, text in zip(own, sample.truth.texts, strict=True)]
        return draw_names(read_photo(sample.photo), [(each, None) for each in (f"image to text: {best + 1}", *lines)])


def places(photos: Floats, captions: Sequence[Floats]) -> tuple[list[Places], Places]:
    """The place, from 0, of each photo for each of its captions, and of the first of its captions for each photo.

    photos: (N,E). captions: those of each photo (C,E), at least one each.
    """
    texts, owner = np.concatenate(captions), np.repeat(np.arange(len(photos)), [len(own) for own in captions])
    by_text, by_photo = [], []
    for rows in _blocks(len(texts)):
        by_text.append(_places(texts[rows] @ photos.T, owner[rows]))
    for rows in _blocks(len(photos)):
        similarities = photos[rows] @ texts.T
        own = owner == np.arange(len(photos))[rows, None]
        by_photo.append(_places(similarities, np.where(own, similarities, -np.inf).argmax(axis=1)))
    ends = np.cumsum([len(own) for own in captions])
    return np.split(np.concatenate(by_text), ends[:-1]), np.concatenate(by_photo)


def _places(similarities: Floats, wanted: Places) -> Places:
    """The place of column `wanted` (B,) in each row (B,M); of equal ones, the first column comes first."""
    sought = np.take_along_axis(similarities, wanted[:, None], axis=1)
    before = (similarities == sought) & (np.arange(similarities.shape[1]) < wanted[:, None])
    return np.count_nonzero((similarities > sought) | before, axis=1)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))


def _packed(features: Floats) -> str:
    """Features as text."""
    return base64.b64encode(np.asarray(features, "<f2").tobytes()).decode("ascii")


def _unpacked(text: str) -> Floats:
    """The numbers in what `_packed` made."""
    return np.frombuffer(base64.b64decode(text), "<f2").astype(np.float32)
