"""What int8 costs in accuracy, measured on the same rendered scenes as the same model in float32.

First with one graph at a time in int8, then with all of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from samclip_edge.accuracy.synthetic import Counts, evaluate, scenes
from samclip_edge.bundle.contract import Array, Arrays, GraphName
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions, Sessions
from samclip_edge.bundle.sizes import Size
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent
from samclip_edge.text.names import read_templates

COUNTS = Counts(one_thing=600, captions=200, several=40, trusted=0)
_SEEN = 30_000  # seed of the first rendered scene that layers are measured on
_QUANTISED: tuple[GraphName, ...] = ("image_encoder", "clip_head", "mask_decoder", "text_encoder")


class Mixed(Sessions):
    """The sessions of one bundle (`most`), except that graph `name` runs in another bundle (`other`)."""

    def __init__(self, most: Sessions, other: Sessions, name: GraphName) -> None:
        super().__init__(most.bundle)
        self._most, self._other, self._name = most, other, name

    def run(self, name: GraphName, size: Size | None = None, /, **inputs: Array) -> Arrays:
        """See `Sessions.run`."""
        return (self._other if name == self._name else self._most).run(name, size, **inputs)


def costs(
    whole: SamClip, int8: SamClip, counts: Counts = COUNTS, progress: Progress = silent
) -> dict[str, dict[str, float]]:
    """The measures of `eval synthetic`, by what runs in int8: nothing ("float"), one graph, or all of them."""
    found = {"float": evaluate(whole, counts=counts, progress=progress)["merged"]}
    for name in _QUANTISED:
        mixed = SamClip(whole.bundle, sessions=Mixed(whole.sessions, int8.sessions, name))
        found[name] = evaluate(mixed, counts=counts, progress=progress)["merged"]
    found["all in int8"] = evaluate(int8, counts=counts, progress=progress)["merged"]
    return found


def costs_of(checkpoint: Path, int8: Bundle, progress: Progress = silent) -> dict[str, dict[str, float]]:
    """`costs` of an int8 bundle. checkpoint: what it was exported from.

    The checkpoint is exported once more, in float32 and to a temporary folder, to compare with.
    """
    with tempfile.TemporaryDirectory() as folder:
        templates = read_templates(int8.checked(int8.manifest.text.templates))
        whole = export_onnx(
            checkpoint, Path(folder) / "float", int8.manifest.sizes, progress=progress, templates=templates
        )
        return costs(SamClip(whole), SamClip(int8, SessionOptions(interpreted=True)), COUNTS, progress)


def rendered(size: Size, count: int = 4) -> list[npt.NDArray[np.uint8]]:
    """Images (S,S,3) of rendered scenes, to measure int8 layers on. size: S."""
    return [scene.image for scene in scenes(_SEEN, count, size, most=4)]
