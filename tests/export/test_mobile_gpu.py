"""Modules for the GPUs of phones answer as the model does, in four dimensions whose first is 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.compiled_model import CompiledModel
from support import TOLERANCE
from torch.fx import GraphModule

from samclip_edge import data
from samclip_edge.bundle.contract import GraphName, probe, signature
from samclip_edge.bundle.manifest import Call
from samclip_edge.export.forms import batch_of_one, mobile_gpu
from samclip_edge.export.forms.fixed_size import answer
from samclip_edge.export.parity import ask
from samclip_edge.export.targets import litert_conversion
from samclip_edge.model.checkpoint import load
from samclip_edge.runtimes.litert import LiteRTSession

SIZE = 128
GRAPHS: list[tuple[GraphName, int | str | None]] = [
    *((name, SIZE) for name in ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder")),
    ("text_encoder", None),
]
OTHER_SHAPES: list[tuple[GraphName, int | str | None]] = [
    ("image_encoder", 256),  # windows, of which the last are padded
    ("image_encoder", "256x160"),
    ("clip_head", "256x160"),
    ("prompt_encoder", "256x160"),
    ("mask_decoder", "256x160"),
]


@pytest.mark.parametrize("checkpoint", ["tiny", "photo"])
@pytest.mark.parametrize(("name", "size"), [*GRAPHS, *OTHER_SHAPES])
def test_modules_for_gpus_are_the_model(
    tiny_checkpoint: Path, checkpoint: str, name: GraphName, size: int | str | None
) -> None:
    model, _ = load(tiny_checkpoint if checkpoint == "tiny" else data.CHECKPOINTS[checkpoint])
    for prompts in ((2, 3), (1, 2), (3, 1)):
        inputs = {key: torch.from_numpy(value) for key, value in probe(model.spec, name, size, prompts).items()}
        with torch.inference_mode():
            got = mobile_gpu.graph_module(model, name, size)(*inputs.values())
        for ours, wanted in zip(got if isinstance(got, tuple) else (got,), answer(model, name, inputs), strict=True):
            assert ours.shape == wanted.shape
            assert (ours - wanted).abs().max() < TOLERANCE * wanted.std()


# At 256, `tiny` has 4 heads over a map of 256 tokens, and 64 over windows of 16. Scores at once: a row of 16 queries;
# three rows, or 48 windows; three maps of 160 tokens.
@pytest.mark.parametrize("scores", [1, 3 * 16 * 256, 3 * 160**2])
@pytest.mark.parametrize("size", [256, "256x160"])
def test_attention_in_any_blocks_is_the_model(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, size: int | str, scores: int
) -> None:
    monkeypatch.setattr(batch_of_one, "BLOCK", scores)
    model, _ = load(tiny_checkpoint)
    inputs = {key: torch.from_numpy(value) for key, value in probe(model.spec, "image_encoder", size).items()}
    with torch.inference_mode():
        got = mobile_gpu.graph_module(model, "image_encoder", size)(*inputs.values())
    for ours, wanted in zip(got, answer(model, "image_encoder", inputs), strict=True):
        assert (ours - wanted).abs().max() < TOLERANCE * wanted.std()


@pytest.mark.parametrize(("size", "flags"), [(128, 0x03), (528, 0x23)])
def test_xnnpack_keeps_no_tables_of_convolutions_for_more_than_512_by_512_pixels(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, flags: int
) -> None:
    """flags: QS8 | QU8, and TRANSIENT_INDIRECTION_BUFFER, of LiteRT's `xnnpack_delegate.h`."""
    path, asked, compiled = tmp_path / "image_encoder.tflite", [], CompiledModel.from_file
    monkeypatch.setattr(
        CompiledModel, "from_file", lambda *given, **how: asked.append(how["options"]) or compiled(*given, **how)
    )
    model, _ = load(tiny_checkpoint)
    sides = signature(model.spec, "image_encoder", size).fixed({"I": 1})
    inputs = probe(model.spec, "image_encoder", size)
    module, names = mobile_gpu.graph_module(model, "image_encoder", size), tuple(each.name for each in sides.outputs)
    litert_conversion.convert([litert_conversion.Call(f"size_{size}", module, inputs, names)], path)
    calls = (Call(function=f"size_{size}", sides={}),)
    got = LiteRTSession(path, sides, calls, threads=2).run(inputs)
    assert [each.cpu_options.xnnpack_flags for each in asked] == [flags]
    _, wanted = ask(model, "image_encoder", size, inputs)
    for name in names:
        assert np.abs(got[name] - wanted[name]).max() < TOLERANCE * wanted[name].std()


@pytest.mark.parametrize("checkpoint", ["tiny", "photo"])
@pytest.mark.parametrize(("name", "size"), GRAPHS[:4])
def test_no_tensor_of_one_prompt_has_a_batch_or_five_dimensions(
    tiny_checkpoint: Path, checkpoint: str, name: GraphName, size: int | str | None
) -> None:
    model, _ = load(tiny_checkpoint if checkpoint == "tiny" else data.CHECKPOINTS[checkpoint])
    inputs = {key: torch.from_numpy(value) for key, value in probe(model.spec, name, size, (1, 2)).items()}
    module = mobile_gpu.graph_module(model, name, size)
    with torch.no_grad():
        graph: GraphModule = torch.export.export(module, tuple(inputs.values())).module()
    shapes = [
        tuple(node.meta["val"].shape)
        for node in graph.graph.nodes
        if node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor) and _depends(node)
    ]
    assert len(shapes) > 20
    assert [shape for shape in shapes if len(shape) > 4 or (len(shape) > 1 and shape[0] != 1)] == []


def _depends(node: torch.fx.Node) -> bool:
    """Whether a node is computed of an input, and not of weights alone."""
    return node.op == "placeholder" or any(map(_depends, node.all_input_nodes))
