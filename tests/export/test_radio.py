"""C-RADIO in every form that is exported answers as the model does."""

from __future__ import annotations

from pathlib import Path

import pytest
import radio
import torch
from support import TOLERANCE

from samclip_edge.bundle.contract import GraphName, probe, signature
from samclip_edge.export.forms import attention, channels_first, fixed_size, neural_engine
from samclip_edge.model.checkpoint import load


@pytest.fixture(scope="module")
def radio_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return radio.make_checkpoint(tmp_path_factory.mktemp("radio") / "radio.safetensors")


@pytest.mark.parametrize("forms", [fixed_size, neural_engine])
@pytest.mark.parametrize("size", [128, 272, "192x80"])
@pytest.mark.parametrize("name", ["image_encoder", "clip_head", "mask_decoder"])
def test_forms_are_the_model(radio_checkpoint: Path, name: GraphName, size: int | str, forms: object) -> None:
    model, _ = load(radio_checkpoint)
    inputs = {key: torch.from_numpy(value) for key, value in probe(model.spec, name, size).items()}
    with torch.inference_mode():
        got = forms.graph_module(model, name, size)(*inputs.values())
    for ours, wanted, tensor in zip(
        got, fixed_size.answer(model, name, inputs), signature(model.spec, name, size).outputs, strict=True
    ):
        assert ours.shape == wanted.shape == tuple(2 if s == "B" else s for s in tensor.shape)
        assert (ours - wanted).abs().max() < TOLERANCE * wanted.std()


@pytest.mark.parametrize(("forms", "module"), [(fixed_size, attention), (neural_engine, channels_first)])
@pytest.mark.parametrize("scores", [1, 300])
def test_scores_in_small_blocks_are_the_same(
    radio_checkpoint: Path, forms: object, module: object, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load(radio_checkpoint)
    image = torch.from_numpy(probe(model.spec, "image_encoder", "128x80")["image"])
    with torch.inference_mode():
        wanted = model.image_encoder(image)
        monkeypatch.setattr(module, "BLOCK", scores)
        got = forms.graph_module(model, "image_encoder", "128x80")(image)
    for ours, theirs in zip(got, wanted, strict=True):
        assert (ours - theirs).abs().max() < TOLERANCE * theirs.std()
