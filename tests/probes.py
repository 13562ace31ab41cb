"""What the tests of probing train on: rendered scenes with their truth."""

from __future__ import annotations

import numpy as np

from samclip_edge.photo.resize import Pixels
from samclip_edge.rendered import COLOURS, render
from samclip_edge.train.probing.data import IGNORED, Photos, Truth
from samclip_edge.train.probing.recipe import ProbeRecipe

RECIPE = ProbeRecipe(size=64, images=8, epochs=4, rate=0.02, least_area=0.5, save_every=3, workers=0)


def drawn(count: int) -> Photos:
    """Rendered scenes of one thing, whose class is the thing's colour."""
    return Photos(count, read_class, len(COLOURS), whole=True)


def read_class(number: int) -> tuple[Pixels, Truth]:
    scene = render(500 + number, 64, most=1)
    return scene.image, list(COLOURS).index(scene.things[0].colour)


def mapped(count: int) -> Photos:
    """Rendered scenes whose pixels are thing (1), nothing (0), or the upper row, which counts as neither."""
    return Photos(count, read_labels, 2, whole=False)


def read_labels(number: int) -> tuple[Pixels, Truth]:
    scene = render(500 + number, 64, most=3)
    labels = np.any([thing.mask for thing in scene.things], axis=0).astype(np.uint8)
    labels[0] = IGNORED
    return scene.image, labels


def silent(*_: object) -> None: ...
