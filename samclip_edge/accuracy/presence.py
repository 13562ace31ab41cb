"""Whether the answers can be trusted: names that are not on a rendered scene must not be found, names that are must be.

"Alone" asks `find` for one name at a time, "together" for all that are on the scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samclip_edge.accuracy.measures import iou
from samclip_edge.photo.masks import Bits
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent
from samclip_edge.rendered import NAMES, RenderedScene
from samclip_edge.scene import Scene
from samclip_edge.tasks.everything import Settings, name_masks
from samclip_edge.text.judge import MIN_SCORE
from samclip_edge.text.names import BACKGROUND_NAMES

# Words that `tiny` was never taught, none of which a bundle has for a rival.
_UNKNOWN = (
    "desk", "river", "ship", "rabbit", "helicopter", "jacket", "teapot", "drum", "fence", "island",
    "coin", "bell", "basket", "crown", "feather", "anchor", "barrel", "needle", "statue", "tunnel",
)  # fmt: skip


def presence(model: SamClip, scenes: Sequence[RenderedScene], progress: Progress = silent) -> dict[str, float]:
    """How often absent and present names are answered on rendered scenes, and how well.

    `find` is asked at the largest size, `classify` at the smallest.

    Rates are shares of the names that were asked for, over all scenes. IoUs are means over the names that are there; a
    name that was not found counts as 0.
    """
    absent: list[bool] = []
    unlike: list[bool] = []  # absent, with neither the colour nor the shape of any thing there
    unknown: list[bool] = []  # words that were never taught
    fits: dict[bool, list[bool]] = {True: [], False: []}  # labels of `classify`, by whether they are there
    among: list[bool] = []  # absent, asked for together with all other names
    alone: list[float] = []
    together: list[float] = []
    for scene in progress(scenes, "asking for what is there and what is not"):
        looked, there = model.look(scene.image, model.sizes[-1]), _masks(scene)
        for name in NAMES:
            found = looked.find([name])
            if name in there:
                alone.append(iou(found[0].bits, there[name]) if found else -1.0)
            else:
                absent.append(bool(found))
                if _is_unlike(name, scene):
                    unlike.append(bool(found))
        unknown.extend(bool(looked.find([word])) for word in _UNKNOWN)
        for guess in model.look(scene.image, model.sizes[0]).classify(NAMES):
            fits[guess.label in there].append(guess.score >= MIN_SCORE)
        answered = {mask.label for mask in looked.find(NAMES)}
        among.extend(name in answered for name in NAMES if name not in there)
        together.extend(_ious(looked, there))
    return {
        "absent name answered, alone": float(np.mean(absent)),
        "absent name answered, neither colour nor shape there": float(np.mean(unlike)),
        "absent name answered, a word never taught": float(np.mean(unknown)),
        "absent name answered, among all 80": float(np.mean(among)),
        "absent name fits, classify": float(np.mean(fits[False])),
        "present name fits, classify": float(np.mean(fits[True])),
        "present name found, alone": float(np.mean([value >= 0 for value in alone])),
        "present name mIoU, alone": float(np.mean(np.maximum(alone, 0))),
        "present name mIoU, together": float(np.mean(together)),
    }


def unnamed(
    model: SamClip, scenes: Sequence[RenderedScene], settings: Settings, progress: Progress = silent
) -> dict[str, float]:
    """The share of all masks that `everything` leaves without a label: given all 80 names, and given an absent one.

    0 where there is no mask at all.
    """
    all_names: list[bool] = []
    one: list[bool] = []
    for scene in progress(scenes, "naming every mask"):
        looked, there = model.look(scene.image, model.sizes[-1]), _masks(scene)
        masks, missing = looked.everything(settings=settings), next(name for name in NAMES if name not in there)
        for names, left in ((NAMES, all_names), ((missing,), one)):
            named = name_masks(looked.encoded, model.judge, masks, names, BACKGROUND_NAMES, MIN_SCORE, silent)
            left.extend(mask.label is None for mask in named)
    return {
        "masks left unnamed, all 80 names": float(np.mean(all_names or [False])),
        "masks left unnamed, one absent name": float(np.mean(one or [False])),
    }


def _masks(scene: RenderedScene) -> dict[str, Bits]:
    """The pixels (S,S) of each name on a scene; things of one name are one mask."""
    masks: dict[str, Bits] = {}
    for thing in scene.things:
        masks[thing.kind] = masks[thing.kind] | thing.mask if thing.kind in masks else thing.mask
    return masks


def _is_unlike(name: str, scene: RenderedScene) -> bool:
    return not any(name.startswith(f"{thing.colour} ") or name.endswith(f" {thing.shape}") for thing in scene.things)


def _ious(looked: Scene, there: dict[str, Bits]) -> list[float]:
    found = {mask.label: mask.bits for mask in looked.find(list(there))}
    return [iou(found[name], bits) if name in found else 0.0 for name, bits in there.items()]
