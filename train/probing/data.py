"""The batches of a probe. The photos of a step, and how they are cut, depend on the recipe's seed and the step."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from samclip_edge.errors import InputError
from samclip_edge.photo.resize import Pixels, clip_square, resize
from samclip_edge.train.probing.recipe import ProbeRecipe

IGNORED = 255  # the label of pixels that belong to no class
_TRIES = 20  # photos in a row that cannot be used before a probe gives up
Labels = npt.NDArray[np.uint8]
Truth = int | Labels  # the number of a class, or that of each pixel (H,W)


@dataclass(frozen=True)
class Photos:
    """Photos with their truth, by number."""

    count: int
    read: Callable[[int], tuple[Pixels, Truth]]  # a photo (H,W,3) and its truth; raises InputError. It can be pickled.
    classes: int
    whole: bool  # whether a truth is one class for the whole photo
    sha256: str = ""  # of all photos and truths, by which a run knows them again


class Steps(Dataset[tuple[Tensor, Tensor]]):
    """The training batches of this process: item t is its share of step `first + t`."""

    def __init__(self, photos: Photos, recipe: ProbeRecipe, steps: range, share: tuple[int, int]) -> None:
        """share: this process's index, and their number. `recipe.images` splits evenly over them."""
        self.photos, self.recipe, self.steps, self.share = photos, recipe, steps, share

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        """Images (B,3,S,S) uint8, and classes (B,) or (B,S,S) int64."""
        rank, processes = self.share
        own = self.recipe.images // processes
        first = self.steps[item] * self.recipe.images + rank * own
        pairs = [self._cut(place) for place in range(first, first + own)]
        pixels = np.stack([pixels for pixels, _ in pairs]).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(np.stack([t for _, t in pairs]))

    def _cut(self, place: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
        """A crop of the photo that comes at a place, or of the next one that can be used."""
        failed: InputError | None = None
        for attempt in range(min(_TRIES, self.photos.count)):
            epoch, within = divmod(place + attempt, self.photos.count)
            order = _order(self.recipe.seed, epoch, self.photos.count)
            draw = random.Random(zlib.crc32(repr((self.recipe.seed, place)).encode()))
            try:
                return cut(*self.photos.read(int(order[within])), self.recipe.size, self.recipe.least_area, draw)
            except InputError as error:
                failed = error
        raise InputError(f"{failed}; nor can the {min(_TRIES, self.photos.count) - 1} photos after it be used")


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The order of the photos in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def cut(
    pixels: Pixels, truth: Truth, size: int, least: float, draw: random.Random
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """A random crop of `least` of the area or more, resized to (S,S,3) and mirrored half the time, and its truth.

    The labels of pixels are cut likewise, and the nearest is taken. Raises InputError where they are of another size.
    """
    height, width, _ = pixels.shape
    if not isinstance(truth, int) and truth.shape != (height, width):
        raise InputError(f"labels of {truth.shape} pixels for a photo of {height, width}")
    share, ratio = draw.uniform(least, 1), draw.uniform(3 / 4, 4 / 3)
    rows = min(height, max(1, round((share * height * width * ratio) ** 0.5)))
    columns = min(width, max(1, round((share * height * width / ratio) ** 0.5)))
    top, left = draw.randint(0, height - rows), draw.randint(0, width - columns)
    mirrored = draw.random() < 0.5
    part = resize(pixels[top : top + rows, left : left + columns], size, size, cubic=True)
    part = part[:, ::-1] if mirrored else part
    if isinstance(truth, int):
        return part, np.array(truth, np.int64)
    image = Image.fromarray(truth[top : top + rows, left : left + columns])
    labels = np.asarray(image.resize((size, size), Image.Resampling.NEAREST), np.int64)
    return part, labels[:, ::-1] if mirrored else labels


class Shown(Dataset[Any]):
    """Photos to measure on, as zero-shot evaluation shows them: the middle of a photo, or the whole one stretched."""

    def __init__(self, photos: Photos, size: int, numbers: range) -> None:
        self.photos, self.size, self.numbers = photos, size, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, item: int) -> tuple[Tensor, Truth] | str:
        """An image (3,S,S) uint8 and its truth; of a photo that cannot be used, why."""
        try:
            pixels, truth = self.photos.read(self.numbers[item])
        except InputError as error:
            return str(error)
        if self.photos.whole:
            shown = clip_square(pixels, self.size)
        else:
            shown = resize(pixels, self.size, self.size, cubic=True).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(shown.astype(np.uint8))), truth
