"""The batches of each step, which depend on the recipe and the step alone.

So a run that was killed goes on with the same data, and several processes split the same batch that one would take.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from samclip_edge import data as shipped
from samclip_edge.errors import InputError
from samclip_edge.text.names import read_templates
from samclip_edge.train.data.files import BrokenSample
from samclip_edge.train.data.prompts import sample_prompts
from samclip_edge.train.data.sources import Masked, Sample, Source, generator
from samclip_edge.train.data.stored import Stored
from samclip_edge.train.recipe import Batch

_TRIES = 100  # broken samples in a row before a run gives up on its data
_GOLDEN = (math.sqrt(5) - 1) / 2  # strides of this share of a circle spread points over it evenly, however many
Item = TypeVar("Item")


class Images(NamedTuple):
    """A batch of D_CLIP."""

    pixels: Tensor  # (B,3,S,S) RGB, 0..255
    captions: list[str]  # only `teach_clip` reads them; "" for an image from a file
    contents: list[str]  # what is on each image, equal for all captions that say the same
    features: Tensor | None  # (B,E) of the CLIP teacher; None if they are not stored
    draws: list[int]  # a random seed for each image; it draws the patches to leave out
    skipped: list[str]  # texts that name broken samples and say why


class Masks(NamedTuple):
    """A batch of D_SAM: B images with M masks in all, and prompts for each mask."""

    pixels: Tensor  # (B,3,S,S) RGB, 0..255
    owner: Tensor  # (M,) the index of the image that a mask belongs to
    masks: Tensor  # (M,S,S) bool
    points: Tensor  # (M,3,2) x, y in model pixels: two for the first round, all three for the second
    labels: Tensor  # (M,3) of the points, as in `bundle/contract.py`
    logits: Tensor | None  # int8, (2,M,4,S/4,S/4) of the SAM teacher in both rounds; None if not stored
    predicted_ious: Tensor | None  # (2,M,4) predicted IoUs of the same
    skipped: list[str]
    kinds: list[str]  # of the M masks, one of `rendered.NAMES` each; empty where the images are files


class _Steps(Dataset[list[Item]], Generic[Item]):
    """The steps of a stage as a dataset. Item t lists this process's parts of the batch of the t-th step of `steps`."""

    def __init__(
        self,
        source: Source,
        shapes: Sequence[Batch],
        steps: range,
        share: tuple[int, int],
        parts: int,
        stored: Stored | None,
    ) -> None:
        """shapes: the kinds of batch, of which each step draws one. share: this process's index, and their number.

        parts: see `Recipe.accumulate`. stored: the stored answers of the teachers, or None.
        """
        self.source, self.shapes, self.steps, self.share, self.parts = source, shapes, steps, share, parts
        self.stored = stored
        # Which shape each step takes, as in the variable batch sampler of CVNets, and how many samples come before it.
        self.chosen = generator(source.seed, "shapes").integers(len(shapes), size=steps.stop)
        self.before = np.cumsum([0, *(shapes[i].images for i in self.chosen)])

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, item: int) -> list[Item]:
        step = self.steps[item]
        shape = self.shapes[self.chosen[step]]
        rank, processes = self.share
        size = shape.images // (processes * self.parts)
        first = int(self.before[step]) + rank * size * self.parts
        return [self.batch(shape, range(first + i * size, first + (i + 1) * size)) for i in range(self.parts)]

    def batch(self, shape: Batch, indices: range) -> Item:
        """One part of a batch: the samples of these indices."""
        raise NotImplementedError

    def usable(self, index: int, skipped: list[str]) -> Iterator[Sample]:
        """Yield the index-th sample, then others far from it: the caller takes the first that is not broken.

        The others are spread over all images, because a whole shard may be lost. Raises BrokenSample after `_TRIES`
        broken ones in a row.
        """
        sample, count = self.source.draw(index), len(self.source)
        stride = max(1, round(count * _GOLDEN))
        while math.gcd(stride, count) != 1:
            stride += 1
        for step in range(_TRIES):
            yield Sample((sample.image + step * stride) % count, sample.variant)
        raise BrokenSample(f"{_TRIES} broken samples in a row; the last: {skipped[-1]}")


class ClipSteps(_Steps[Images]):
    """The steps of D_CLIP."""

    templates = read_templates(shipped.CAPTIONS)

    def batch(self, shape: Batch, indices: range) -> Images:
        """See `Images`."""
        pixels, captions, contents, draws, features = [], [], [], [], []
        skipped: list[str] = []
        for index in indices:
            for sample in self.usable(index, skipped):
                try:
                    picture, text, content = self.source.picture(sample, shape, self.templates)
                    if self.stored is not None:
                        features.append(self.stored.features(shape, *sample))
                except BrokenSample as broken:
                    skipped.append(str(broken))
                    continue
                pixels.append(picture)
                captions.append(text)
                contents.append(content)
                draws.append(zlib.crc32(repr((self.source.seed, "draw", *sample)).encode()))
                break
        return Images(
            torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32)),
            captions,
            contents,
            torch.from_numpy(np.stack(features)) if features else None,
            draws,
            skipped,
        )


class SamSteps(_Steps[Masks]):
    """The steps of D_SAM: each image with up to `most` of its masks."""

    def __init__(self, most: int, *rest: object) -> None:
        super().__init__(*rest)  # type: ignore[arg-type]
        self.most = most

    def batch(self, shape: Batch, indices: range) -> Masks:
        """See `Masks`."""
        skipped: list[str] = []
        found: list[Masked] = []
        answers: list[tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]] = []
        for index in indices:
            for sample in self.usable(index, skipped):
                try:
                    masked = self.source.masked(sample, shape, self.most)
                    if self.stored is not None:
                        answers.append(self.stored.masks(shape, *sample))
                except BrokenSample as broken:
                    skipped.append(str(broken))
                    continue
                found.append(masked)
                break
        batch = collected(found)._replace(skipped=skipped)
        if not answers:
            return batch
        logits, predicted_ious = (torch.from_numpy(np.concatenate(each, axis=1)) for each in zip(*answers, strict=True))
        return batch._replace(logits=logits, predicted_ious=predicted_ious)


def collected(images: Sequence[Masked]) -> Masks:
    """Make a batch of images of one size and their masks, and draw prompts for every mask."""
    owners, masks, points, labels = [], [], [], []
    for place, image in enumerate(images):
        for bits in image.masks:
            where, marks = sample_prompts(bits, image.random)
            owners.append(place)
            masks.append(bits)
            points.append(where)
            labels.append(marks)
    return Masks(
        pixels=torch.from_numpy(np.stack([image.picture for image in images]).transpose(0, 3, 1, 2).astype(np.float32)),
        owner=torch.tensor(owners),
        masks=torch.from_numpy(np.stack(masks)),
        points=torch.from_numpy(np.stack(points)),
        labels=torch.from_numpy(np.stack(labels)),
        logits=None,
        predicted_ious=None,
        skipped=[],
        kinds=[kind for image in images for kind in image.kinds],
    )


def steps(samples: Dataset[Item], workers: int) -> Iterator[Item]:
    """Iterate over a dataset of steps. Worker processes make the next items ahead.

    The iterator raises InputError when the data gives out, also when a worker found it.
    """
    return _told(
        iter(DataLoader(samples, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None))
    )


def _told(items: Iterator[Item]) -> Iterator[Item]:
    try:
        yield from items
    except (BrokenSample, InputError) as error:  # from a worker, its text is a traceback that ends with the line
        line = re.sub(r"^[\w.]+(BrokenSample|InputError): ", "", str(error).strip().splitlines()[-1])
        raise InputError(line if isinstance(error, InputError) else f"recipe: {line}") from None
