"""Modules in the layout of the Neural Engine answer as the model does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import TOLERANCE

from samclip_edge.bundle.contract import GraphName, probe
from samclip_edge.export.forms import neural_engine
from samclip_edge.export.forms.fixed_size import answer
from samclip_edge.model.checkpoint import load

SIZE = 128
GRAPHS: list[tuple[GraphName, int | None]] = [
    *((name, SIZE) for name in ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder")),
    ("text_encoder", None),
]


@pytest.mark.parametrize(("name", "size"), [*GRAPHS[:4], ("image_encoder", 256), ("mask_decoder", 256), GRAPHS[4]])
def test_modules_in_the_engines_layout_are_the_model(tiny_checkpoint: Path, name: GraphName, size: int | None) -> None:
    model, _ = load(tiny_checkpoint)
    for prompts in ((2, 3), (1, 2), (3, 1)):
        inputs = {key: torch.from_numpy(value) for key, value in probe(model.spec, name, size, prompts).items()}
        with torch.inference_mode():
            got = neural_engine.graph_module(model, name, size)(*inputs.values())
        for ours, wanted in zip(got if isinstance(got, tuple) else (got,), answer(model, name, inputs), strict=True):
            assert ours.shape == wanted.shape
            assert (ours - wanted).abs().max() < TOLERANCE * wanted.std()
