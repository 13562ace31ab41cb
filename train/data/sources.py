"""The images of a recipe's data, by number: which image a step takes, which part of it, with which of its masks.

Everything is a function of the recipe's seed and the number alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from samclip_edge.photo.frame import Frame
from samclip_edge.rendered import RenderedScene, render
from samclip_edge.train.data.files import BrokenSample, Files
from samclip_edge.train.recipe import Batch, Data

EMPTY = 0.08  # the share of rendered images of D_CLIP with nothing on them, from which "background" gets its meaning
Pixels = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.bool_]


def generator(*key: object) -> np.random.Generator:
    """Random numbers of their own for every key."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


class Sample(NamedTuple):
    """Which image, and which of its crops and prompts."""

    image: int
    variant: int


class Masked(NamedTuple):
    """An image with masks, in the model's square."""

    picture: Pixels  # (S,S,3)
    masks: list[Bits]  # (S,S) each
    random: np.random.Generator  # for their prompts


class Source:
    """The images of a `Data`, by number."""

    def __init__(self, data: Data, seed: int, annotated: bool, cache: Path) -> None:
        self.scenes, self.variants, self.seed = data.scenes, data.variants, seed
        self.files = Files(data.files, annotated, cache) if data.files else None

    def __len__(self) -> int:
        return len(self.files) if self.files else self.scenes.count if self.scenes else 0

    def draw(self, index: int) -> Sample:
        """The index-th sample of a run: every image once an epoch, in an order of its own each epoch.

        The order is a full-period walk, index -> (a * index + b) mod count, so that no permutation need be kept.
        """
        count = len(self)
        epoch, place = divmod(index, count)
        random = generator(self.seed, "epoch", epoch)
        step = int(random.integers(1, count + 1))
        while np.gcd(step, count) != 1:
            step += 1
        return Sample((step * place + int(random.integers(count))) % count, epoch % (self.variants or epoch + 1))

    def scene(self, sample: Sample, size: int, fewest: int, most: int) -> RenderedScene:
        """A rendered scene."""
        assert self.scenes
        return render(self.scenes.first + sample.image, size, fewest=fewest, most=most)

    def picture(self, sample: Sample, shape: Batch, templates: Sequence[str]) -> tuple[Pixels, str, str]:
        """An image of D_CLIP (S,S,3), a crop, sometimes mirrored, or a scene as it is; its caption, and its contents.

        Raises BrokenSample.
        """
        random = generator(self.seed, "crop", *sample)
        if self.files is not None:
            return crop(self.files.image(sample.image), shape.size, random), "", ""
        most = 0 if random.random() < EMPTY else shape.things
        scene = self.scene(sample, shape.size, min(1, most), most)
        return scene.image, caption(scene, templates, random), scene.caption

    def masked(self, sample: Sample, shape: Batch, most: int) -> Masked:
        """An image of D_SAM in the model's square, with up to `most` of its masks. Raises BrokenSample."""
        random = generator(self.seed, "prompt", *sample)
        if self.files is None:
            scene = self.scene(sample, shape.size, 1, shape.things)
            chosen = random.permutation(len(scene.things))[:most]
            return Masked(scene.image, [scene.things[i].mask for i in chosen], random)
        pixels, rles = self.files.image(sample.image), self.files.masks(sample.image)
        frame = Frame.of(pixels, shape.size)
        height, width = frame.scaled
        masks = []
        for i in random.permutation(len(rles)):
            bits = self.files.bits(sample.image, rles[i], (frame.height, frame.width))
            mask = np.zeros((shape.size, shape.size), bool)
            mask[:height, :width] = cv2.resize(bits.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            if mask.any():  # not one that vanishes at this size
                masks.append(mask)
            if len(masks) == most:
                break
        if not masks:
            raise BrokenSample(f"{self.files.name(sample.image)}: no mask is left at {shape.size} pixels")
        square = frame.square(pixels)[0].transpose(1, 2, 0)
        return Masked(np.round(square).astype(np.uint8), masks, random)


def crop(pixels: Pixels, size: int, random: np.random.Generator) -> Pixels:
    """A random part of an image as (S,S,3), mirrored one time in two.

    Of nine tenths to all of its area, as CLIP's own training crops (open_clip's `AugmentationCfg`), at most a third
    wider or narrower than square.
    """
    height, width, _ = pixels.shape
    area, ratio = random.uniform(0.9, 1.0) * height * width, np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    w, h = (max(1, round(side)) for side in ((area * ratio) ** 0.5, (area / ratio) ** 0.5))
    w, h = min(w, width), min(h, height)
    x, y = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
    part = cv2.resize(
        pixels[y : y + h, x : x + w], (size, size), interpolation=cv2.INTER_AREA if w * h > size**2 else cv2.INTER_CUBIC
    )
    return np.ascontiguousarray(part[:, ::-1] if random.random() < 0.5 else part, np.uint8)


def caption(scene: RenderedScene, templates: Sequence[str], random: np.random.Generator) -> str:
    """What a person might write under a scene: half the time its caption, else one of CLIP's sentences around it."""
    if random.random() < 0.5:
        return scene.caption
    if len(scene.things) != 1:
        return f"a photo of {scene.caption}."
    return templates[int(random.integers(len(templates)))].replace("{}", scene.things[0].name)
