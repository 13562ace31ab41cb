"""What an app does with a photo, as calls of `SamClip`, so that one model and two models do the same work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from samclip_edge.bundle.contract import Array, Arrays, GraphName
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.bundle.sizes import Size
from samclip_edge.photo.resize import Floats, Pixels
from samclip_edge.pipeline import SamClip
from samclip_edge.tasks.everything import Settings
from samclip_edge.tasks.prompts import prepare

# Twenty things that photos show. A bundle with a vocabulary is asked for the names in its vocabulary instead.
WORDS = (
    "person", "dog", "cat", "car", "bicycle", "tree", "grass", "sky", "building", "road", "table", "chair", "cup",
    "bottle", "book", "phone", "shoe", "bag", "plate", "window",
)  # fmt: skip
WIDE = " of 16:9"  # at the end of a scenario's name: with the middle of the photo, in a camera's shape
MASKS = 100  # kept per photo if weights are random, where SAM's filters mean nothing: SA-1B's mean (SAM, Sec. 5)


class Asked(NamedTuple):
    """What a scenario is given: the photo (H,W,3), the words, and which masks of the grid are kept."""

    photo: Pixels
    words: Sequence[str]
    settings: Settings


def name(model: SamClip, asked: Asked) -> None:
    """Name what is on the photo, at the smallest size."""
    model.look(asked.photo, model.sizes[0]).classify(asked.words)


def click(model: SamClip, asked: Asked) -> None:
    """Segment at one click, at the largest size."""
    model.look(asked.photo).segment(points=_clicks(asked, 1)[0])


def ten_clicks(model: SamClip, asked: Asked) -> None:
    """Segment at ten clicks on one photo, one after another, at the largest size."""
    scene = model.look(asked.photo)
    for each in _clicks(asked, 10):
        scene.segment(points=each)


def name_and_click(model: SamClip, asked: Asked) -> None:
    """Name the photo and segment at one click, from one look at the largest size."""
    scene = model.look(asked.photo)
    scene.classify(asked.words)
    scene.segment(points=_clicks(asked, 1)[0])


def words(model: SamClip, asked: Asked) -> None:
    """Find words, each of which is answered. One model compares them with its patches; two name every mask."""
    model.look(asked.photo).find(asked.words, settings=asked.settings, min_score=0)


def everything(model: SamClip, asked: Asked) -> None:
    """Find every mask and name it."""
    model.look(asked.photo).everything(asked.words, asked.settings)


def widened(photo: Pixels) -> Pixels:
    """The middle of a photo (H,W,3), as wide as it is and 9/16 as high, or less high where it has no more rows."""
    height, width, _ = photo.shape
    rows = min(height, round(width * 9 / 16))
    above = (height - rows) // 2
    return photo[above : above + rows]


Scenario = Callable[[SamClip, Asked], None]
SCENARIOS: dict[str, Scenario] = {
    "name a photo": name,
    "one click": click,
    "ten clicks": ten_clicks,
    "name and click": name_and_click,
    "words to masks": words,
    "everything, named": everything,
}


def _clicks(asked: Asked, count: int) -> list[list[list[float]]]:
    height, width, _ = asked.photo.shape
    return [[[width * (i + 0.5) / count, height * 0.5]] for i in range(count)]


class Scattered(Sessions):
    """Sessions whose patch features contain every name somewhere, which random weights would not give.

    That is the slowest case of `find`. The CLIP head runs as always; then its patch features are replaced.
    """

    def __init__(self, sessions: Sessions, features: Floats) -> None:
        """features: (K,E), the text features of the names."""
        super().__init__(sessions.bundle)
        self._own, self._features = sessions, features

    def run(self, name: GraphName, size: Size | None = None, /, **inputs: Array) -> Arrays:
        """See `Sessions.run`."""
        outputs = self._own.run(name, size, **inputs)
        if name != "clip_head":
            return outputs
        grid = outputs["patch_features"].shape[2:]
        count = math.prod(grid)
        which = np.arange(count).reshape(grid) * len(self._features) // count
        return outputs | {"patch_features": self._features.T[:, which][None]}


def scattered(model: SamClip, names: Sequence[str]) -> SamClip:
    """The same model, with every name in its patch features; see `Scattered`."""
    return SamClip(model.bundle, sessions=Scattered(model.sessions, model.words.features(names)))


def settings_for(model: SamClip, photo: Pixels) -> Settings:
    """SAM's filters if the weights are trained; else settings that keep the `MASKS` masks of highest predicted IoU."""
    if model.bundle.manifest.trained:
        return Settings()
    scene = model.look(photo)
    middles = (np.arange(32) + 0.5) / 32
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 1, 2)
    grid = grid * (scene.frame.width, scene.frame.height)
    parts = [scene.decode(prepare(scene.frame, points=grid[i : i + 64]))[1] for i in range(0, len(grid), 64)]
    predicted_ious = np.sort(np.concatenate(parts)[:, 1:].ravel())
    return Settings(predicted_iou=float(predicted_ious[-MASKS - 1]), stability=0.0, overlap=1.0)
