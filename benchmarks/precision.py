"""What int8 costs: each graph alone in int8, then all of them, against the same model in float on the same scenes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from samclip_edge.benchmarks.synthetic import Counts, evaluate, scenes
from samclip_edge.contract import Array, Arrays, GraphName
from samclip_edge.graphs import Graphs
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent
from samclip_edge.words import Words

COUNTS = Counts(one_thing=600, captions=200, several=40)
_SEEN = 30_000  # the seed from which scenes are drawn that layers are measured on
_ROUNDED: tuple[GraphName, ...] = ("image_encoder", "clip_head", "mask_decoder", "text_encoder")


class Mixed(Graphs):
    """The graphs of one bundle, but for one that comes from another."""

    def __init__(self, graphs: Graphs, other: Graphs, name: GraphName) -> None:
        super().__init__(graphs.bundle)
        self._of = dict.fromkeys((*_ROUNDED, "prompt_encoder"), graphs) | {name: other}

    def run(self, name: GraphName, size: int | None = None, /, **inputs: Array) -> Arrays:
        """See `Graphs.run`."""
        return self._of[name].run(name, size, **inputs)


def costs(
    whole: SamClip, int8: SamClip, counts: Counts = COUNTS, progress: Progress = silent
) -> dict[str, dict[str, float]]:
    """The scores of `eval synthetic`: in float, with one graph in int8, and with all of them."""
    found = {"float": evaluate(whole, counts=counts, progress=progress)["merged"]}
    for name in _ROUNDED:
        mixed = SamClip(whole.bundle)
        mixed.graphs = Mixed(whole.graphs, int8.graphs, name)
        mixed.words = Words(mixed.graphs)
        found[name] = evaluate(mixed, counts=counts, progress=progress)["merged"]
    found["all in int8"] = evaluate(int8, counts=counts, progress=progress)["merged"]
    return found


def rendered(count: int = 4) -> list[npt.NDArray[np.uint8]]:
    """Scenes (256,256,3) to measure layers on."""
    return [scene.image for scene in scenes(_SEEN, count, 256, most=4)]
