"""Accuracy on rendered scenes that training never saw: names, retrieval, masks, and text to masks.

The tasks are those of the paper's tables: zero-shot classification and retrieval (Table 1), instance masks from boxes
(Table 1), semantic segmentation by the CLIP head and by both heads (Table 5), and SAM and CLIP side by side (Table 7).
Semantic segmentation is asked for all 80 names. `referred` is easier: it is asked only for the names on the scene.
`presence` asks for names that are not there too, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from samclip_edge.accuracy.measures import Labels, Semantic, average_precision, iou
from samclip_edge.accuracy.presence import presence, unnamed
from samclip_edge.bundle.sizes import Size, sides
from samclip_edge.errors import InputError
from samclip_edge.photo.masks import Bits, Mask, cut_out, mask_box
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent
from samclip_edge.rendered import NAMES, RenderedScene, render
from samclip_edge.tasks.everything import Settings
from samclip_edge.text.names import BACKGROUND_NAMES

_ONE, _MANY = 10_000, 20_000  # the first seeds of the scenes of one thing, and of several things
_TRUSTED = 40_000  # and of those that are asked for names which are not there
# For the two-model pipeline: things here are large, and a small model predicts a lower IoU for its masks than SAM.
_GRID = Settings(points_per_side=12, predicted_iou=0.7, stability=0.8)


@dataclass
class Counts:
    """How many rendered scenes each task is measured on."""

    one_thing: int = 3000  # classification; with 500, chance alone moves the result by about a point
    captions: int = 200  # retrieval: as many captions and pictures
    several: int = 150  # masks and segmentation
    trusted: int = 150  # whether names that are not there are answered; 0 leaves it out
    named: int = 30  # of those, naming every mask; 0 leaves it out


def scenes(first: int, count: int, size: Size, most: int) -> Iterator[RenderedScene]:
    """Yield `count` rendered scenes of up to `most` things, from seed `first` on."""
    return (render(first + index, max(sides(size)), most=most) for index in range(count))


def true_labels(scene: RenderedScene) -> Labels:
    """The index in NAMES of each pixel of a rendered scene (S,S); `len(NAMES)` for the background."""
    labels = np.full(scene.image.shape[:2], len(NAMES))
    for thing in scene.things:
        labels[thing.mask] = NAMES.index(thing.kind)
    return labels


def classification(model: SamClip, count: int, progress: Progress = silent) -> float:
    """Top-1 accuracy over 80 names on rendered scenes of one thing, at the smallest size."""
    size = model.sizes[0]
    drawn = list(scenes(_ONE, count, size, most=1))
    right = 0
    for scene in progress(drawn, "naming"):
        thing = scene.things[0]
        right += model.look(scene.image, size).classify(NAMES)[0].label == thing.kind
    return right / count


def retrieval(model: SamClip, count: int, progress: Progress = silent) -> float:
    """Recall@1 from text to image: how often a caption's own scene ranks first among `count` with other captions."""
    size = model.sizes[0]
    chosen: dict[str, npt.NDArray[np.uint8]] = {}
    for scene in scenes(_MANY, 4 * count, size, most=4):
        chosen.setdefault(scene.caption, scene.image)
        if len(chosen) == count:
            break
    looked = [model.look(image, size).image_features for image in progress(list(chosen.values()), "looking")]
    best = (model.words.encode(list(chosen)) @ np.stack(looked).T).argmax(axis=1)
    return float((best == np.arange(len(chosen))).mean())


def prompted(model: SamClip, count: int, by: str, progress: Progress = silent) -> tuple[float, float]:
    """Mean IoU and COCO's mAP of masks for box or point prompts, at the largest size.

    by: "box" prompts with the true box of each thing, "point" with one click where the thing is thickest. For mAP all
    things are of one category, and masks are ranked by their predicted IoU.
    """
    size = model.sizes[-1]
    ious: list[float] = []
    truth: list[list[Bits]] = []
    answers: list[list[Mask]] = []
    for scene in progress(list(scenes(_MANY, count, size, most=4)), f"prompting by {by}"):
        looked, bits = model.look(scene.image, size), [thing.mask for thing in scene.things]
        if by == "box":
            masks = looked.segment(boxes=[mask_box(each) for each in bits])
        else:
            masks = looked.segment(points=[[_thickest(each)] for each in bits])
        ious.extend(iou(mask.bits, each) for mask, each in zip(masks, bits, strict=True))
        truth.append(bits)
        answers.append(masks)
    return float(np.mean(ious)), average_precision(truth, answers)


def semantic(
    model: SamClip, count: int, refine: bool, as_published: bool = False, progress: Progress = silent
) -> float:
    """Mean IoU of `find` with all 80 names. refine: whether the mask decoder refines the CLIP head's masks.

    as_published: find as the paper does (Table 5).
    """
    size, counted = model.sizes[-1], Semantic(len(NAMES) + 1)
    for scene in progress(list(scenes(_MANY, count, size, most=4)), "finding"):
        found = np.full(scene.image.shape[:2], len(NAMES))
        for mask in model.look(scene.image, size).find(NAMES, refine=refine, as_published=as_published):
            found[mask.bits] = NAMES.index(mask.label or "")
        counted.add(true_labels(scene), found)
    return counted.mean


def referred(model: SamClip, count: int, refine: bool, progress: Progress = silent) -> float:
    """Mean IoU of `find` when it is asked only for the names of the things on the scene. refine: see `semantic`."""
    size, ious = model.sizes[-1], []
    for scene in progress(list(scenes(_MANY, count, size, most=4)), "finding what is there"):
        names = list(dict.fromkeys(thing.kind for thing in scene.things))
        masks = {mask.label: mask.bits for mask in model.look(scene.image, size).find(names, refine=refine)}
        for name in names:
            true = np.any([t.mask for t in scene.things if t.kind == name], axis=0)
            ious.append(iou(masks.get(name, np.zeros_like(true)), true))
    return float(np.mean(ious))


def two_models(sam: SamClip, clip: SamClip, count: int, alone: bool, progress: Progress = silent) -> float:
    """The mean IoU of `semantic`, on the same scenes, by two models side by side (Appendix C.1).

    SAM finds every mask and CLIP names each. CLIP sees a crop of the picture, the mask's box. If `alone`, it sees only
    what is under the mask (see `cut_out`).
    """
    counted = Semantic(len(NAMES) + 1)
    for scene in progress(list(scenes(_MANY, count, sam.sizes[-1], most=4)), "finding with two models"):
        found = np.full(scene.image.shape[:2], len(NAMES))
        masks = sam.look(scene.image).everything(settings=_GRID)
        for mask in sorted(masks, key=lambda each: -each.area):  # smaller ones lie on top
            x0, y0, x1, y1 = mask.box
            seen = cut_out(scene.image, mask.bits) if alone else scene.image[y0:y1, x0:x1]
            name = clip.look(seen, clip.sizes[0]).classify([*NAMES, *BACKGROUND_NAMES])[0].label
            found[mask.bits] = [*NAMES, *BACKGROUND_NAMES].index(name)
        counted.add(true_labels(scene), found)
    return counted.mean


def _thickest(bits: Bits) -> tuple[float, float]:
    """x, y of the pixel of a mask (H,W) farthest from its edge, where a person would click."""
    import cv2

    depth = cv2.distanceTransform(np.pad(bits, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x), float(y)


def evaluate(
    model: SamClip,
    clip: SamClip | None = None,
    sam: SamClip | None = None,
    counts: Counts | None = None,
    progress: Progress = silent,
) -> dict[str, dict[str, float]]:
    """Measure the merged model on every task. Also measures its teachers, and both side by side, if they are given.

    Raises InputError for a bundle with a vocabulary instead of a text encoder.
    """
    n = counts or Counts()
    if model.words.vocabulary is not None:
        raise InputError("eval: the bundle holds a vocabulary; export it with its text encoder to be measured")
    names: Callable[[SamClip], dict[str, float]] = lambda m: {  # noqa: E731
        "classification top-1": classification(m, n.one_thing, progress),
        "text-to-image recall@1": retrieval(m, n.captions, progress),
    }

    def masks(m: SamClip) -> dict[str, float]:
        (box_iou, box_ap), (point_iou, point_ap) = (prompted(m, n.several, by, progress) for by in ("box", "point"))
        return {"box mIoU": box_iou, "box mAP": box_ap, "point mIoU": point_iou, "point mAP": point_ap}

    found = {"merged": {**names(model), **masks(model)}}
    for head, refine in (("CLIP head alone", False), ("both heads", True)):
        found["merged"][f"referred mIoU, {head}"] = referred(model, n.several, refine, progress)
        found["merged"][f"semantic mIoU, {head}"] = semantic(model, n.several, refine, progress=progress)
    found["merged"]["semantic mIoU, as published"] = semantic(model, n.several, True, True, progress)
    if n.trusted:
        drawn = list(scenes(_TRUSTED, n.trusted, model.sizes[-1], most=4))
        found["merged"] |= presence(model, drawn, progress)
        if n.named:
            found["merged"] |= unnamed(model, drawn[: n.named], _GRID, progress)
    if clip is not None:
        found["CLIP teacher"] = names(clip)
    if sam is not None:
        found["SAM teacher"] = masks(sam)
    if clip is not None and sam is not None:
        found["SAM + CLIP"] = {
            "semantic mIoU, crops": two_models(sam, clip, n.several, False, progress),
            "semantic mIoU, cut-outs": two_models(sam, clip, n.several, True, progress),
        }
    return found
