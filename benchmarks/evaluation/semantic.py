"""Zero-shot semantic segmentation (the paper's Tables 2, 5 and 7): the mean IoU over a whole data set.

By the CLIP head alone (Table 2): the photo is stretched to a square, and each pixel has the class whose cosine with the
patch features, enlarged linearly, is the highest. By both heads (Table 5): `Scene.find`, as published and in our way.
By SAM and CLIP side by side (Table 7, Appendix C.1): every mask is named by its crop.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import product
from math import isnan
from typing import Any

import numpy as np

from samclip_edge.benchmarks.evaluation.confusion import Sparse, accuracy, count, ious, mean_iou, total
from samclip_edge.benchmarks.evaluation.label_maps import Labels, read_labels
from samclip_edge.benchmarks.evaluation.label_sets import LABEL_SETS, LabelSet
from samclip_edge.benchmarks.evaluation.layout import looked, sizes_of
from samclip_edge.benchmarks.evaluation.task import SEMANTIC_HEADS, Asked, Outcome, Sample, Task
from samclip_edge.bundle.sizes import Size, sides
from samclip_edge.encoded import Merged, kind_of
from samclip_edge.errors import InputError
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Mask, encode_rle
from samclip_edge.photo.pictures import draw_masks
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Floats, Pixels, between, resize
from samclip_edge.scene import Scene
from samclip_edge.text.names import BACKGROUND_NAMES

_TILE = 16  # rows of a photo that are answered together
SIZES: dict[str, tuple[Size, ...]] = {"clip": (448,), "both": (1024,), "sam+clip": (1024,)}


def semantic(name: str, asked: Asked) -> list[Task]:
    """One task for each of the heads that were asked for, or else that the bundle has, for each size."""
    heads = _heads(asked)
    labels = LABEL_SETS[name](asked.data)
    tasks: list[Task] = []
    sizes_of(asked.model, asked.sizes, [size for head in heads for size in SIZES[head]])  # tells of all at once
    for head in heads:
        for size in sizes_of(asked.model, asked.sizes, SIZES[head]):
            if head == "clip":
                tasks.append(ClipHead(asked, size, labels))
            elif head == "sam+clip":
                tasks.append(SamAndClip(asked, size, labels))
            else:
                tasks.append(BothHeads(asked, size, labels))
    return tasks


def _heads(asked: Asked) -> tuple[str, ...]:
    """What is to be measured. Raises InputError for what the bundle does not have."""
    merged = kind_of(asked.model.bundle) is Merged
    can = ("clip", "both") if merged else ("sam+clip",)
    for head in asked.heads:
        if head not in SEMANTIC_HEADS:
            raise InputError(f" {head}: there are no such heads; give {', '.join(SEMANTIC_HEADS)}", "heads")
        if head not in can:
            told = "is of kind sam+clip; name a bundle of the merged model, or leave it out"
            if merged:
                told = "is of the merged model; name a bundle of kind sam+clip, as `samclip-edge get` makes it"
            raise InputError(f" {head}: the bundle {asked.model.bundle.given} {told}", "heads")
    heads = asked.heads or can
    if asked.as_published and "both" not in heads:
        raise InputError(": is a way of both heads, which are not measured here; leave it out", "as_published")
    return heads


class Semantic(Task):
    """Photos whose pixels have classes, answered at one input size."""

    named = True  # whether photos are named when they are looked at

    def __init__(self, asked: Asked, size: Size, labels: LabelSet) -> None:
        self.model, self.data, self.size, self.progress = asked.model, asked.data, size, asked.progress
        self.names, self.ways, self.samples = labels.names, labels.ways, labels.samples
        self.rests_on = self.names
        if len(set(self.names)) < len(self.names):
            raise InputError(f" {asked.data}: has two classes of one name; fetch its list of names again", "data")
        self.read = partial(read_sample, None)
        self.protocol: dict[str, Any] = {
            "photo": "its own shape, the longer side to the size",
            "names": f"{len(self.names)}, {len(self.model.words.templates)} templates",
            "background": f"the name {' or '.join(BACKGROUND_NAMES)!r}" if any(self.ways.values()) else "none",
        }

    @abstractmethod
    def found(self, scene: Scene, shape: tuple[int, ...]) -> Iterator[Labels]:
        """The class of each pixel (H,W), in each of the ways; K is the background. shape: (H,W) of the truth."""

    def prepare(self) -> None:
        """Read the names."""
        _ = self.features

    @cached_property
    def features(self) -> Floats:
        """The features of the K classes, and behind them those of the background (K+B,E)."""
        return self.model.words.features([*self.names, *BACKGROUND_NAMES], self.progress)

    def features_of(self, background: bool) -> Floats:
        """The features of the names that compete for a pixel."""
        return self.features if background else self.features[: len(self.names)]

    def number_of(self, best: Any) -> Any:
        """The classes of places in `features`: all of the background are one."""
        return np.minimum(best, len(self.names)).astype(np.uint8)

    def answer(self, read: Sequence[tuple[Pixels, Labels]]) -> list[Outcome]:
        """The confusion of each photo, in each of the ways."""
        scenes = looked(self.model, [photo for photo, _ in read], self.size, self.named)
        return [self._counted(scene, true) for scene, (_, true) in zip(scenes, read, strict=True)]

    def _counted(self, scene: Scene, true: Labels) -> Outcome:
        answers = zip(self.ways, self.found(scene, true.shape), strict=True)
        return {way: count(true, found, self._classes(way)) for way, found in answers}

    def _classes(self, way: str) -> int:
        return len(self.names) + self.ways[way]

    def measures(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Mean IoU and the accuracy of pixels, each in each of the ways in which pixels were counted.

        Raises InputError where none were.
        """
        tables = {way: total((each[way] for each in outcomes), self._classes(way)) for way in self.ways}
        tables = {way: table for way, table in tables.items() if table.any()}
        if not tables:
            raise InputError(f" {self.data}: no pixel has a class that counts; fetch its maps of labels again", "data")
        measures = {f"mIoU{way}": mean_iou(table) for way, table in tables.items()}
        return measures | {f"pixel accuracy{way}": accuracy(table) for way, table in tables.items()}

    def details(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The IoU of each class; None for one that is in no truth and in no answer, and so not in the mean."""
        found = {}
        for way, background in self.ways.items():
            shares = ious(total((each[way] for each in outcomes), self._classes(way))).tolist()
            names = [*self.names, BACKGROUND_NAMES[0]] if background else self.names
            known = (None if isnan(share) else share for share in shares)
            found[f"IoU{way}"] = dict(zip(names, known, strict=True))
        return found

    def goodness(self, outcome: Outcome) -> float:
        """The photo's own mean IoU, in the first of the ways."""
        way = next(iter(self.ways))
        own: Sparse = outcome[way]
        return mean_iou(total([own], self._classes(way)))

    def picture(self, sample: Sample, outcome: Outcome) -> Pixels:
        """The photo with the answer, and beside it with the truth, in the first of the ways."""
        shown, true = self.read(sample)
        photo = read_photo(sample.photo)
        found = next(self.found(self.model.look(shown, self.size), true.shape))
        return beside(photo, found, true, self.names)


class ClipHead(Semantic):
    """The CLIP head alone, on a stretched photo."""

    def __init__(self, asked: Asked, size: Size, labels: LabelSet) -> None:
        super().__init__(asked, size, labels)
        self.column = f"CLIP head, {size}"
        self.read = partial(read_sample, size)
        self.protocol["photo"] = f"stretched to {size}, bicubic"

    def found(self, scene: Scene, shape: tuple[int, ...]) -> Iterator[Labels]:
        """See `Semantic.found`."""
        patches = scene.patch_features
        rows, columns = (between(old, new) for old, new in zip(patches.shape[1:], shape, strict=True))
        for background in self.ways.values():
            yield self.number_of(likeliest(self.features_of(background), patches, rows, columns))


class BothHeads(Semantic):
    """The CLIP head says where, and the SAM head where exactly: in our way and as published, or only the latter."""

    together = 2
    as_in_paper = False  # Table 5, whose numbers we do not have

    def __init__(self, asked: Asked, size: Size, labels: LabelSet) -> None:
        super().__init__(asked, size, labels)
        self.column = f"both heads, {'as published, ' if asked.as_published else ''}{size}"
        told = {True: ""} if asked.as_published else {False: "", True: ", as published"}
        self.published, self.backgrounds = tuple(told), tuple(labels.ways.values())
        self.ways = {way + told[how]: each for how in told for way, each in labels.ways.items()}
        if not all(self.ways.values()):
            self.protocol["what no mask claims"] = "the class of its likeliest patch, where background is no class"

    def found(self, scene: Scene, shape: tuple[int, ...]) -> Iterator[Labels]:
        """See `Semantic.found`."""
        places = {name: place for place, name in enumerate(self.names)}
        for as_published, background in product(self.published, self.backgrounds):
            found = np.full(shape, len(places), np.uint8)
            rivals = BACKGROUND_NAMES if background else ()
            for mask in scene.find(self.names, background=rivals, as_published=as_published):
                found[mask.bits] = places[mask.label or ""]
            unclaimed = found == len(places)
            if not background and unclaimed.any():
                patches = scene.patch_features
                of_patches = likeliest(self.features_of(False), patches, *over_photo(scene.frame, patches.shape[1:]))
                found[unclaimed] = of_patches[unclaimed]
            yield found


class SamAndClip(Semantic):
    """SAM finds every mask, and CLIP names what is in the box of each."""

    together = 2
    as_in_paper = False  # Table 7, whose numbers we do not have
    named = False

    def __init__(self, asked: Asked, size: Size, labels: LabelSet) -> None:
        super().__init__(asked, size, labels)
        self.column = f"SAM + CLIP, {size}"
        self.protocol["masks"] = "SAM's generator at its defaults, each named by its crop, small ones on top"
        if not all(self.ways.values()):
            self.protocol["what no mask claims"] = "the class of the whole photo, where background is no class"

    def found(self, scene: Scene, shape: tuple[int, ...]) -> Iterator[Labels]:
        """See `Semantic.found`."""
        masks = sorted(scene.everything(), key=lambda mask: -mask.area)
        under = [scene.features_under(mask.bits) for mask in masks]
        for background in self.ways.values():
            features = self.features_of(background)
            rest = len(self.names) if background else int((features @ scene.image_features).argmax())
            found = np.full(shape, rest, np.uint8)
            for mask, feature in zip(masks, under, strict=True):
                found[mask.bits] = self.number_of((features @ feature).argmax())
            yield found


def read_sample(size: Size | None, sample: Sample) -> tuple[Pixels, Labels]:
    """A photo (H,W,3), stretched to a size where one is given, and the class of each of its own pixels (h,w).

    Raises InputError for a photo or a map that cannot be read, and where they are of different sizes.
    """
    photo, true = read_photo(sample.photo), read_labels(sample.truth)
    if photo.shape[:2] != true.shape:
        (height, width), (down, across) = photo.shape[:2], true.shape
        raise InputError(
            f"{sample.truth.path}: is {across} x {down}, and its photo {width} x {height} as a person sees it; "
            "fetch both again"
        )
    return photo if size is None else resize(photo, *sides(size), cubic=True), true


def beside(photo: Pixels, found: Labels, true: Labels, names: Sequence[str]) -> Pixels:
    """A photo (H,W,3) with the classes that were found (H,W), and beside it with the true ones.

    names: of the K classes; what is of none of them is not drawn.
    """
    present = [place for place in np.union1d(found, true).tolist() if place < len(names)]
    drawn = [
        draw_masks(photo, [Mask(encode_rle(labels == place), None, label=names[place]) for place in present])
        for labels in (found, true)
    ]
    return np.concatenate(drawn, axis=1)


def likeliest(features: Floats, patches: Floats, rows: Floats, columns: Floats) -> Labels:
    """The name with the highest cosine at each pixel (H,W), the first of equals.

    features: (K,E). patches: (E,h,w). rows (H,h), columns (W,w): what enlarges the map of a name.
    """
    maps = np.tensordot(features, patches, axes=1) @ columns.T
    maps = np.ascontiguousarray(maps.transpose(1, 2, 0))  # (h,W,K): the names of a pixel lie beside each other
    _, width, names = maps.shape
    found = np.empty((len(rows), width), np.uint8)
    for start in range(0, len(rows), _TILE):
        tile = rows[start : start + _TILE]
        used = np.flatnonzero(tile.any(axis=0))
        near = slice(int(used[0]), int(used[-1]) + 1)  # the patches' rows that these are made of
        enlarged = tile[:, near] @ maps[near].reshape(-1, width * names)
        found[start : start + _TILE] = enlarged.reshape(-1, width, names).argmax(axis=2)
    return found


def over_photo(frame: Frame, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """What enlarges a map (h,w) over the model's input to the photo's own pixels: rows (H,h) and columns (W,w)."""
    cell = frame.cell(shape)
    lie = zip(shape, frame.scaled, (frame.height, frame.width), strict=True)
    rows, columns = (between(scaled, own) @ between(old, old * cell)[:scaled] for old, scaled, own in lie)
    return rows, columns
