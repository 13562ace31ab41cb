"""The images of a recipe's data by number: for each number the image, the crop of it, and the masks of it.

They depend on the recipe's seed and the number alone.
"""

from __future__ import annotations

import contextlib
import functools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from samclip_edge.photo.frame import Frame
from samclip_edge.photo.resize import ClipResize, Pixels, clip_square
from samclip_edge.rendered import NAMES, RenderedScene, render
from samclip_edge.train.data.files import BrokenSample, Files, Raw
from samclip_edge.train.recipe import Batch, Data

EMPTY = 0.08  # share of the rendered scenes of D_CLIP without things, so that CLIP learns what "background" means
Bits = npt.NDArray[np.bool_]


def number_of(*key: object) -> int:
    """A number that `key` alone says, as good as drawn."""
    return zlib.crc32(repr(key).encode())


def generator(*key: object) -> np.random.Generator:
    """A random generator seeded with `key`."""
    return np.random.default_rng(number_of(*key))


class Sample(NamedTuple):
    """The number of an image, and the number of its crop and prompts (see `Data.variants`)."""

    image: int
    variant: int

    @property
    def key(self) -> tuple[int, int]:
        """What its crop and prompts depend on."""
        return self.image, self.variant


class View(NamedTuple):
    """How the CLIP teacher is shown a photo: see `photo.resize.clip_square`."""

    size: int
    mode: ClipResize
    cubic: bool


class Picture(NamedTuple):
    """An image of D_CLIP, its caption and its contents (see `Images`)."""

    pixels: Pixels  # (S,S,3)
    caption: str
    contents: str
    shown: Pixels | None = None  # (c,c,3) what the CLIP teacher sees, where that is not the same


class Masked(NamedTuple):
    """An image with masks, both in the model's square (S,S)."""

    picture: Pixels  # (S,S,3)
    masks: list[Bits]  # (S,S) each
    random: np.random.Generator  # draws their prompts
    kinds: list[str]  # the name of what each mask covers; "" where nobody says
    complete: bool = False  # whether what no mask covers is background for sure, as on a rendered scene


class Known(NamedTuple):
    """A held-out image in the model's square (S,S), of which it is known what is on it."""

    picture: Pixels  # (S,S,3)
    scaled: tuple[int, int]  # height and width of the image inside the square
    masks: list[Bits]  # (S,S) each, of things that have a name
    kinds: list[str]  # of the masks
    there: frozenset[str]  # the names of all that is on it, also of what has no mask here


class Source:
    """The images of a `Data`, by number: rendered scenes, or files."""

    def __init__(self, data: Data, seed: int, annotated: bool, cache: Path) -> None:
        self.scenes, self.variants, self.seed = data.scenes, data.variants, seed
        self.files = Files(data.files, annotated, cache) if data.files else None

    def __len__(self) -> int:
        return len(self.files) if self.files else self.scenes.count if self.scenes else 0

    @functools.cached_property
    def names(self) -> list[str]:
        """What the numbers depend on beside the recipe: the files, and how many images are in them."""
        return [*map(str, self.files.paths), f"{len(self)} images"] if self.files else []

    def draw(self, index: int) -> Sample:
        """The index-th sample of a run. Each epoch has every image once, in another order.

        The order is a full-period sequence, (a * place + b) mod count, so that no permutation has to be stored.
        """
        count = len(self)
        epoch, place = divmod(index, count)
        random = generator(self.seed, "epoch", epoch)
        step = int(random.integers(1, count + 1))
        while np.gcd(step, count) != 1:
            step += 1
        return Sample((step * place + int(random.integers(count))) % count, epoch % (self.variants or epoch + 1))

    def scene(self, sample: Sample, size: int, fewest: int, most: int) -> RenderedScene:
        """The rendered scene of a sample: `fewest` to `most` things on a square of `size` pixels."""
        assert self.scenes
        return render(self.scenes.first + sample.image, size, fewest=fewest, most=most)

    def picture(self, sample: Sample, shape: Batch, templates: Sequence[str], view: View | None = None) -> Picture:
        """An image of D_CLIP. Texts for one from a file are empty; see `pictured`. A rendered scene stays as it is."""
        random = generator(self.seed, "crop", *sample)
        if self.files is not None:
            return pictured(self.files[sample.image], shape, random, view)
        most = 0 if random.random() < EMPTY else shape.things
        scene = self.scene(sample, shape.size, min(1, most), most)
        return Picture(scene.image, caption(scene, templates, random), scene.caption)

    def masked(self, sample: Sample, shape: Batch, most: int) -> Masked:
        """An image of D_SAM in the model's square, with up to `most` of its masks, drawn at random.

        Raises BrokenSample when the image or a mask cannot be used, or no mask is left at this size.
        """
        random = generator(self.seed, "prompt", *sample)
        if self.files is None:
            scene = self.scene(sample, shape.size, 1, shape.things)
            chosen = random.permutation(len(scene.things))[:most]
            things = [scene.things[i] for i in chosen]
            kinds = [each.kind for each in things]
            return Masked(
                scene.image, [each.mask for each in things], random, kinds, complete=len(things) == len(scene.things)
            )
        return masked(self.files[sample.image], shape.size, most, random)

    def kinds(self) -> dict[str, bool]:
        """Every name on the images, sorted; those of rendered scenes as `rendered.NAMES` has them. True for a thing.

        All annotations are read. Broken ones are left out.
        """
        if self.files is None:
            return dict.fromkeys(NAMES, True)
        found: dict[str, bool] = {}
        for image in range(len(self.files)):
            with contextlib.suppress(BrokenSample):
                for each in self.files[image].annotations():
                    if each.name:
                        found[each.name] = found.get(each.name, False) or each.thing
        return {name: found[name] for name in sorted(found)}

    def known(self, image: int, size: int) -> Known:
        """A held-out image with all things that have a name, in a square of `size` pixels.

        Raises BrokenSample when the image or a mask cannot be used.
        """
        if self.files is None:
            scene = self.scene(Sample(image, 0), size, 1, 4)
            kinds = [thing.kind for thing in scene.things]
            return Known(scene.image, (size, size), [thing.mask for thing in scene.things], kinds, frozenset(kinds))
        raw = self.files[image]
        with raw.reading():
            pixels, listed = raw.pixels(), raw.annotations()
            frame = Frame.of(pixels, size)
            things = [each for each in listed if each.name and each.thing and not each.crowd]
            masks = [_in_square(raw.bits(each.segmentation, pixels.shape[:2]), frame, size) for each in things]
            seen = [place for place, mask in enumerate(masks) if mask.any()]
            there = frozenset(each.name for each in listed if each.name)
            kinds = [things[place].name for place in seen]
            return Known(framed(pixels, size), frame.scaled, [masks[place] for place in seen], kinds, there)


def named_images(held_out: Source, size: int, most: int, together: int) -> Iterator[list[Known]]:
    """The first `most` held-out images, those with a named thing, in batches. Broken ones are left out."""
    count = min(len(held_out), most)
    for start in range(0, count, together):
        batch = []
        for image in range(start, min(start + together, count)):
            with contextlib.suppress(BrokenSample):
                known = held_out.known(image, size)
                if known.kinds:
                    batch.append(known)
        if batch:
            yield batch


def pictured(raw: Raw, shape: Batch, random: np.random.Generator, view: View | None) -> Picture:
    """An image from a file, for D_CLIP: a crop of it, or, if `Batch.padded`, the whole photo as inference shows it.

    view: how the CLIP teacher is shown a whole photo; None: not at all. Raises BrokenSample when it cannot be used.
    """
    with raw.reading():
        pixels = raw.pixels()
        if not shape.padded:
            return Picture(crop(pixels, shape.size, random), "", "")
        shown = clip_square(pixels, *view).transpose(1, 2, 0).astype(np.uint8) if view else None
        return Picture(framed(pixels, shape.size), "", "", shown)


def framed(pixels: Pixels, size: int) -> Pixels:
    """A photo (H,W,3) in the model's square (S,S,3), as `Frame.image` lays it there; the padding is rounded."""
    return np.round(Frame.of(pixels, size).image(pixels)[0].transpose(1, 2, 0)).astype(np.uint8)


def masked(raw: Raw, size: int, most: int, random: np.random.Generator) -> Masked:
    """See `Source.masked`: an image from a file in a square of `size` pixels."""
    with raw.reading():
        return _masked(raw, size, most, random)


def _masked(raw: Raw, size: int, most: int, random: np.random.Generator) -> Masked:
    pixels, stored = raw.pixels(), raw.masks()
    frame = Frame.of(pixels, size)
    masks, kinds = [], []
    for i in things_first(random.permutation(len(stored)).tolist(), [each.thing for each in stored], most):
        mask = _in_square(raw.bits(stored[i].segmentation, pixels.shape[:2]), frame, size)
        if mask.any():  # a small mask may vanish at this size
            masks.append(mask)
            kinds.append(stored[i].name)
        if len(masks) == most:
            break
    if not masks:
        raise BrokenSample(f"{raw.name}: no mask is left at {size} pixels")
    return Masked(framed(pixels, size), masks, random, kinds)


def things_first(order: list[int], thing: list[bool], most: int) -> list[int]:
    """Masks in the order in which they are taken: first so many things that a quarter of `most` is left for stuff.

    order: of all masks, as drawn. thing: whether a mask is one. Things or stuff alone stay in that order.
    """
    things, stuff = [i for i in order if thing[i]], [i for i in order if not thing[i]]
    first = most - min(len(stuff), most // 4)
    return [*things[:first], *stuff, *things[first:]]


def _in_square(bits: Bits, frame: Frame, size: int) -> Bits:
    """A mask of an image in the model's square (S,S), as the image lies there."""
    height, width = frame.scaled
    mask = np.zeros((size, size), bool)
    mask[:height, :width] = cv2.resize(bits.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return mask


def crop(pixels: Pixels, size: int, random: np.random.Generator) -> Pixels:
    """A random crop of an image, resized to (size,size,3) and mirrored half the time.

    It has 0.9 to 1 of the image's area, as in CLIP's own training (open_clip's `AugmentationCfg`), and an aspect ratio
    of 3/4 to 4/3, before both sides are limited to those of the image.
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
    """A text for a rendered scene: half the time its caption, else a sentence around it, as in CLIP's templates."""
    if random.random() < 0.5:
        return scene.caption
    if len(scene.things) != 1:
        return f"a photo of {scene.caption}."
    return templates[int(random.integers(len(templates)))].replace("{}", scene.things[0].name)
