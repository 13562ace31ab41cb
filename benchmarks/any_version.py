"""Measures one scenario with whichever version of samclip-edge its process imports.

`bench --against` runs this file by its path, over this version and over older ones. So it asks only what apps ask, and
imports of the package only `SamClip`; what a version lacks is done as apps of its time had to, and the answer says so.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ENOUGH = 10.0  # no further run begins after so many seconds of runs
QUICK = 2.0  # and none that is only there to make runs many, after so many
FEW = 2  # names of scenarios that are not about reading names, which older versions read anew in each process
COLUMNS, ROWS = 12, 8  # of the masks that are drawn
BIG = 8  # of so many drawn masks one is big


class Asked(NamedTuple):
    """What the parent process gives to a scenario."""

    photo: str  # a file, 512x512
    large: str  # a JPEG file of 12 megapixels
    many: list[str]  # files, 640x480
    words: list[str]

    @property
    def few(self) -> list[str]:
        """The names of scenarios that are not about reading names."""
        return self.words[:FEW]


Run = Callable[[], Any]
Prepared = tuple[Run, Run, str]  # what to run for warm-up, what to time, and what is to be said of it


def peak() -> int:
    """The peak memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux, `getrusage` also counts the parent process from before exec
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def middle(scene: Any) -> list[list[float]]:
    """A click into the middle of a photo."""
    return [[scene.frame.width / 2, scene.frame.height / 2]]


def start_to_mask(model: Any, asked: Asked) -> Prepared:
    """From the start of a process to the first mask, by a click."""
    return _nothing, lambda: _click(model, asked.photo), ""


def name(model: Any, asked: Asked) -> Prepared:
    """Name a photo, at the size that the version chooses."""
    if hasattr(model, "classify"):
        return _twice(lambda: model.classify(asked.photo, asked.few))
    told = "has no SamClip.classify: look().classify(), at the largest size"
    return _twice(lambda: model.look(asked.photo).classify(asked.few), told)


def name_small(model: Any, asked: Asked) -> Prepared:
    """Name a photo, at the smallest size."""
    return _twice(lambda: model.look(asked.photo, model.sizes[0]).classify(asked.few))


def many(model: Any, asked: Asked) -> Prepared:
    """Rank photos of 640x480 by a text, at the smallest size."""

    def rank(photos: list[str]) -> Any:
        return model.rank(photos, asked.words[0], model.sizes[0])

    return lambda: rank(asked.many[:1]), lambda: rank(asked.many), ""


def click(model: Any, asked: Asked) -> Prepared:
    """Segment at one click, at the largest size."""
    return _twice(lambda: _click(model, asked.photo))


def ten_clicks(model: Any, asked: Asked) -> Prepared:
    """Segment at ten clicks on a photo that was looked at, one after another."""
    scene = model.look(asked.photo)
    clicks = [[[scene.frame.width * (i + 0.5) / 10, scene.frame.height / 2]] for i in range(10)]
    return _twice(lambda: [scene.segment(points=each) for each in clicks])


def large_click(model: Any, asked: Asked) -> Prepared:
    """One click on a photo of 12 megapixels, without the graphs: decoding, resizing, drawing and run lengths.

    Each graph runs once, to warm up; from then on its answers are handed out again.
    """
    kept: dict[tuple[Any, ...], Any] = {}
    runs = model.sessions.run

    def again(graph: str, size: Any = None, /, **inputs: Any) -> Any:
        key = (graph, str(size), *(np.shape(each) for each in inputs.values()))
        if key not in kept:
            kept[key] = runs(graph, size, **inputs)
        return kept[key]

    model.sessions.run = again
    return _twice(lambda: _click(model, asked.large))


def find(model: Any, asked: Asked) -> Prepared:
    """Words to masks, each of which is answered."""
    return _twice(lambda: model.look(asked.photo).find(asked.few, min_score=0))


def everything(model: Any, asked: Asked) -> Prepared:
    """Every mask of a photo, named."""
    return _everything(model, asked, asked.photo)


def large_everything(model: Any, asked: Asked) -> Prepared:
    """Every mask of a photo of 12 megapixels, named."""
    return _everything(model, asked, asked.large)


def new_names(model: Any, asked: Asked) -> Prepared:
    """Names that were never read, on a photo that was looked at and named before."""
    scene = model.look(asked.photo, model.sizes[0])
    return lambda: scene.classify(["something else"]), lambda: scene.classify(asked.words), ""


def known_names(model: Any, asked: Asked) -> Prepared:
    """The same names in the next process, as the first that it reads."""
    scene = model.look(asked.photo, model.sizes[0])
    return lambda: scene.image_features, lambda: scene.classify(asked.words), ""


SCENARIOS: dict[str, Callable[[Any, Asked], Prepared]] = {
    "start to the first mask": start_to_mask,
    "name a photo": name,
    "name a photo, smallest size": name_small,
    "100 photos of 640x480": many,
    "one click": click,
    "ten clicks on a scene": ten_clicks,
    "one click at 12 MP, without graphs": large_click,
    "words to masks": find,
    "everything, named": everything,
    "everything at 12 MP, named": large_everything,
    "twenty new names": new_names,
    "twenty known names": known_names,
}
ONCE = (start_to_mask, new_names, known_names)  # in a process: a second run finds what the first one left


def _nothing() -> None:
    pass


def _twice(run: Run, told: str = "") -> Prepared:
    return run, run, told


def _click(model: Any, photo: str) -> Any:
    scene = model.look(photo)
    return scene.segment(points=middle(scene))


def _everything(model: Any, asked: Asked, photo: str) -> Prepared:
    def warm() -> None:  # all graphs, and the names
        scene = model.look(asked.photo)
        scene.classify(asked.few)
        scene.segment(points=middle(scene))

    return warm, lambda: model.look(photo).everything(asked.few), ""


def draw_masks(sessions: Any) -> None:
    """Let the mask decoder run, and put drawn masks in the place of what random weights make of noise.

    Of a trained SAM's 3,072 candidates about a thousand pass its filters and about a hundred are left: so each click
    gets one good mask, of a hundred discs in turn.
    """
    runs, turn = sessions.run, itertools.count(40)  # the first is a big one in the middle
    discs: dict[tuple[int, ...], Any] = {}

    def drawn(graph: str, size: Any = None, /, **inputs: Any) -> Any:
        outputs = runs(graph, size, **inputs)
        if graph != "mask_decoder":
            return outputs
        shape = np.shape(outputs["masks"])
        if shape[2:] not in discs:
            discs[shape[2:]] = _discs(*shape[2:])
        which = [next(turn) % (COLUMNS * ROWS) for _ in range(shape[0])]
        scores = np.full(np.shape(outputs["scores"]), 0.3, np.float32)
        scores[:, :2] = 0.9 + 0.001 * np.asarray(which)[:, None]
        return {**outputs, "masks": np.repeat(discs[shape[2:]][which][:, None], shape[1], axis=1), "scores": scores}

    sessions.run = drawn


def _discs(height: int, width: int) -> Any:
    """Logits (COLUMNS * ROWS,height,width) of discs side by side in the upper three quarters, some of them big."""
    y, x = np.mgrid[:height, :width] + 0.5
    step = width / COLUMNS
    found = []
    for index, (row, column) in enumerate(itertools.product(range(ROWS), range(COLUMNS))):
        distance = np.hypot(x - (column + 0.5) * step, y - (row + 0.5) * height * 0.75 / ROWS)
        radius = width / 6 if index % BIG == 0 else 0.42 * step
        found.append(np.where(distance < radius, 180, -200))  # sharp, so that they are stable
    return np.array(found, np.float32)


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """Measure a bundle in one scenario: seconds to load, of a warm-up, of each run after it, and peak memory."""
    bare, start = peak(), time.perf_counter()
    from samclip_edge.pipeline import SamClip

    model = SamClip.load(asked["bundle"], threads=asked["threads"])
    loaded = time.perf_counter() - start
    if asked["drawn"]:
        draw_masks(model.sessions)
    scenario = SCENARIOS[asked["scenario"]]
    warm, timed, told = scenario(model, Asked(asked["photo"], asked["large"], asked["many"], asked["words"]))
    start = time.perf_counter()
    warm()
    first = time.perf_counter() - start
    seconds: list[float] = []
    runs, most = (1, 1) if scenario in ONCE else (asked["runs"], asked["most"])
    while (len(seconds) < runs and sum(seconds) < ENOUGH) or (len(seconds) < most and sum(seconds) < QUICK):
        start = time.perf_counter()
        timed()
        seconds.append(time.perf_counter() - start)
    most_memory = peak()
    return {
        "load": loaded,
        "first": first,
        "seconds": seconds,
        "peak": most_memory,
        "above": most_memory - bare,
        "by_graph": [],
        "told": told,
    }


def about() -> dict[str, str]:
    """The version that this process imports, and a hash of the code that bundles are exported by."""
    from samclip_edge import __version__, bundle, export, model

    folders = [Path(str(room.__file__)).parent for room in (bundle, export, model)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for each in folders for path in sorted(each.rglob("*.py"))))
    return {"version": __version__, "code": digest.hexdigest()[:8]}


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    print(json.dumps(measure(order) if order else about()))
