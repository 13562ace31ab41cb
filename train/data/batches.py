"""The batches of each step. From data by number they depend on the recipe and the step alone.

So a run that was killed goes on with the same data, and several processes split the same batch that one would take.
From a stream they depend on where it stands too, and on how many read it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from samclip_edge import data as shipped
from samclip_edge.photo.resize import Pixels
from samclip_edge.text.names import read_templates
from samclip_edge.train.data.files import TRIES, BrokenSample
from samclip_edge.train.data.prompts import SHAKE, sample_prompts
from samclip_edge.train.data.sources import Masked, Picture, Sample, Source, View, generator, number_of
from samclip_edge.train.data.stored import Stored
from samclip_edge.train.data.stream import Stream
from samclip_edge.train.recipe import Batch

_GOLDEN = (math.sqrt(5) - 1) / 2  # strides of this share of a circle spread points over it evenly, however many
Item = TypeVar("Item")
Made = TypeVar("Made")


class Images(NamedTuple):
    """A batch of D_CLIP."""

    pixels: Tensor  # (B,3,S,S) RGB, 0..255: uint8 as it is loaded, float32 on the device
    captions: list[str]  # only `teach_clip` reads them; "" for an image from a file
    contents: list[str]  # what is on each image, equal for all captions that say the same
    features: Tensor | None  # (B,E) of the CLIP teacher; None if they are not stored
    draws: list[int]  # a random seed for each image; it draws the patches to leave out
    skipped: list[str]  # texts that name broken samples and say why
    shown: Tensor | None = None  # (B,3,c,c) as `pixels`: what the CLIP teacher sees, where that is not the same

    @property
    def size(self) -> int:
        """B."""
        return len(self.pixels)


class Masks(NamedTuple):
    """A batch of D_SAM: B images with M masks in all, and prompts for each mask."""

    pixels: Tensor  # (B,3,S,S) RGB, 0..255, as in `Images`
    owner: Tensor  # (M,) the index of the image that a mask belongs to
    masks: Tensor  # (M,S,S) bool; they stay off the device where no loss reads them
    points: Tensor  # (M,3,2) x, y in model pixels: two for the first round, all three for the second
    labels: Tensor  # (M,3) of the points, as in `bundle/contract.py`
    logits: Tensor | None  # int8, (2,M,4,S/4,S/4) of the SAM teacher in both rounds; None if not stored
    predicted_ious: Tensor | None  # (2,M,4) predicted IoUs of the same
    skipped: list[str]
    kinds: list[str]  # the names of what the M masks cover; "" where nobody says
    complete: Sequence[bool] = ()  # of the B images: whether what no mask covers is background for sure

    @property
    def size(self) -> int:
        """B."""
        return len(self.pixels)


class Steps(Dataset[list[Item]], Generic[Item]):
    """The steps of a stage as a dataset. Item t lists this process's parts of the batch of the t-th step of `steps`.

    A stream has no items; `loading` gives its samples to `parts` as they come.
    """

    def __init__(
        self,
        source: Source | Stream,
        shapes: Sequence[Batch],
        steps: range,
        share: tuple[int, int],
        parts: int,
        stored: Stored | None,
        view: View | None = None,
    ) -> None:
        """shapes: the kinds of batch, of which each step draws one. share: this process's index, and their number.

        parts: see `Recipe.accumulate`. stored: the stored answers of the teachers, or None. view: see `pictured`.
        """
        self.source, self.shapes, self.steps, self.share, self.accumulate = source, shapes, steps, share, parts
        self.stored, self.view = stored, view
        # Which shape each step takes, as in the variable batch sampler of CVNets, and how many samples come before it.
        self.chosen = generator(source.seed, "shapes").integers(len(shapes), size=steps.stop)
        self.before = np.concatenate([[0], np.cumsum(np.array([shape.images for shape in shapes])[self.chosen])])

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, item: int) -> list[Item]:
        step = self.steps[item]
        size = self.size(step) * self.accumulate
        first = int(self.before[step]) + self.share[0] * size
        return self.parts(step, (self.usable(index) for index in range(first, first + size)))

    def size(self, step: int) -> int:
        """How many images a part of this process's share of a step has."""
        return self.shapes[self.chosen[step]].images // (self.share[1] * self.accumulate)

    def parts(self, step: int, draws: Iterator[Iterator[Any]]) -> list[Item]:
        """The parts of this process's share of a step. draws: for each image, samples, of which the first is taken that
        is not broken."""
        shape, size = self.shapes[self.chosen[step]], self.size(step)
        return [self.batch(shape, itertools.islice(draws, size)) for _ in range(self.accumulate)]

    def batch(self, shape: Batch, draws: Iterator[Iterator[Any]]) -> Item:
        """One part of a batch."""
        raise NotImplementedError

    def usable(self, index: int) -> Iterator[Sample]:
        """Yield the index-th sample, then others far from it.

        The others are spread over all images, because a whole shard may be lost.
        """
        assert isinstance(self.source, Source)
        sample, count = self.source.draw(index), len(self.source)
        stride = max(1, round(count * _GOLDEN))
        while math.gcd(stride, count) != 1:
            stride += 1
        for step in range(TRIES):
            yield Sample((sample.image + step * stride) % count, sample.variant)


def taken(draws: Iterator[Iterator[Any]], make: Callable[[Any], Made], skipped: list[str]) -> list[Made]:
    """What `make` makes of the first sample of each draw that is not broken. The others are named in `skipped`.

    Raises BrokenSample when all samples of a draw are broken.
    """
    found: list[Made] = []
    for samples in draws:
        for sample in samples:
            try:
                found.append(make(sample))
            except BrokenSample as broken:
                skipped.append(str(broken))
                continue
            break
        else:
            raise BrokenSample(f"{TRIES} broken samples in a row; the last: {skipped[-1]}")
    return found


class ClipSteps(Steps[Images]):
    """The steps of D_CLIP."""

    templates = read_templates(shipped.CAPTIONS)

    def batch(self, shape: Batch, draws: Iterator[Iterator[Any]]) -> Images:
        """See `Images`."""
        skipped: list[str] = []

        def make(sample: Any) -> tuple[Picture, int, npt.NDArray[np.float32] | None]:
            picture = self.source.picture(sample, shape, self.templates, self.view)
            features = None if self.stored is None else self.stored.features(shape, *sample)
            return picture, number_of(self.source.seed, "draw", *sample.key), features

        pictures, draw, features = zip(*taken(draws, make, skipped), strict=True)
        return Images(
            stacked([picture.pixels for picture in pictures]),
            [picture.caption for picture in pictures],
            [picture.contents for picture in pictures],
            None if self.stored is None else torch.from_numpy(np.stack(features)),
            list(draw),
            skipped,
            None if pictures[0].shown is None else stacked([picture.shown for picture in pictures]),
        )


class SamSteps(Steps[Masks]):
    """The steps of D_SAM: each image with up to `most` of its masks."""

    def __init__(self, most: int, *rest: object, shake: float = SHAKE) -> None:
        """shake: of box prompts, see `prompts.shaken_box`."""
        super().__init__(*rest)  # type: ignore[arg-type]
        self.most, self.shake = most, shake

    def batch(self, shape: Batch, draws: Iterator[Iterator[Any]]) -> Masks:
        """See `Masks`."""
        skipped: list[str] = []

        def make(sample: Any) -> tuple[Masked, tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]] | None]:
            masked = self.source.masked(sample, shape, self.most)
            return masked, None if self.stored is None else self.stored.masks(shape, *sample)

        images, answers = zip(*taken(draws, make, skipped), strict=True)
        batch = collected(images, self.shake)._replace(skipped=skipped)
        if self.stored is None:
            return batch
        logits, predicted_ious = (torch.from_numpy(np.concatenate(each, axis=1)) for each in zip(*answers, strict=True))
        return batch._replace(logits=logits, predicted_ious=predicted_ious)


def stacked(images: Sequence[Pixels]) -> Tensor:
    """Images (S,S,3) as one tensor (B,3,S,S), still uint8."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2))


def collected(images: Sequence[Masked], shake: float = SHAKE) -> Masks:
    """Make a batch of images of one size and their masks, and draw prompts for every mask; see `sample_prompts`."""
    owners, masks, points, labels = [], [], [], []
    for place, image in enumerate(images):
        for bits in image.masks:
            where, marks = sample_prompts(bits, image.random, shake)
            owners.append(place)
            masks.append(bits)
            points.append(where)
            labels.append(marks)
    return Masks(
        pixels=stacked([image.picture for image in images]),
        owner=torch.tensor(owners),
        masks=torch.from_numpy(np.stack(masks)),
        points=torch.from_numpy(np.stack(points)),
        labels=torch.from_numpy(np.stack(labels)),
        logits=None,
        predicted_ious=None,
        skipped=[],
        kinds=[kind for image in images for kind in image.kinds],
        complete=[image.complete for image in images],
    )
