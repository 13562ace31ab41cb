"""How many masks go to the prompt encoder: one that prompts share, where its graph can share one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import GraphName, Signature
from samclip_edge.bundle.manifest import Graph
from samclip_edge.bundle.sizes import Size
from samclip_edge.photo.read import read_photo

BOXES = [[10, 10, 90, 90], [20, 30, 70, 60], [5, 40, 100, 120]]


def with_masks(signature: Signature, side: int | str) -> Signature:
    """A signature that takes another number of masks."""
    tensors = [
        each.model_copy(update={"shape": (side, *each.shape[1:])}) if each.name == "mask" else each
        for each in signature.inputs
    ]
    return signature.model_copy(update={"inputs": tuple(tensors)})


@pytest.mark.parametrize(
    ("side", "unmasked", "masked"), [("M", [1], [3]), ("B", [3], [3]), (1, [1], [1, 1, 1])], ids=["M", "B", "1"]
)
def test_graphs_are_given_as_many_masks_as_they_take(
    tiny: SamClip, monkeypatch: pytest.MonkeyPatch, side: int | str, unmasked: list[int], masked: list[int]
) -> None:
    scene = tiny.look(read_photo(data.photos()[0]))
    shape = (len(BOXES), *scene.frame.low_res)
    logits = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    wanted = [scene.segment(boxes=BOXES), scene.segment(boxes=BOXES, mask=logits)]
    graph, run = tiny.bundle.graph, tiny.sessions.run
    given: list[int] = []

    def taking(name: GraphName, size: Size | None = None) -> Graph:
        found = graph(name, size)
        return found.model_copy(update={"signature": with_masks(found.signature, side)})

    def watched(name: GraphName, size: Size | None = None, /, **inputs: Any) -> Any:
        if name == "prompt_encoder":
            given.append(len(inputs["mask"]))
        return run(name, size, **inputs)

    monkeypatch.setattr(tiny.bundle, "graph", taking)
    monkeypatch.setattr(tiny.sessions, "run", watched)
    for prompts, masks, counts in (({}, wanted[0], unmasked), ({"mask": logits}, wanted[1], masked)):
        given.clear()
        found = scene.segment(boxes=BOXES, **prompts)
        assert given == counts
        assert [each.predicted_iou for each in found] == pytest.approx([each.predicted_iou for each in masks], abs=1e-5)
        assert all(np.allclose(a.logits, b.logits, atol=1e-3) for a, b in zip(found, masks, strict=True))
