"""Graphs at sizes that are no square and no power of two answer as torch does, in every form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support import TEMPLATES, TOLERANCE, Ran, iou, off

from samclip_edge import SamClip
from samclip_edge.bundle.contract import SIZED, GraphName, probe
from samclip_edge.bundle.sizes import Size
from samclip_edge.export.forms import attention, fixed_size, neural_engine
from samclip_edge.export.forms.fixed_size import answer
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model.checkpoint import load
from samclip_edge.photo.frame import Frame

WIDE, ODD = "256x144", 528  # 9 x 16 tokens; 33 x 33, which are halved to 17 x 17


@pytest.fixture(scope="module")
def wide(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> SamClip:
    folder = tmp_path_factory.mktemp("wide") / "bundle"
    return SamClip(export_onnx(tiny_checkpoint, folder, [WIDE, 176], ["cat", "cup"], templates=TEMPLATES))


@pytest.mark.parametrize("form", [fixed_size, neural_engine])
@pytest.mark.parametrize("size", [WIDE, ODD, "144x528"])
@pytest.mark.parametrize("name", SIZED)
def test_forms_answer_as_the_model(tiny_checkpoint: Path, form: object, name: GraphName, size: Size) -> None:
    model, _ = load(tiny_checkpoint)
    inputs = {key: torch.from_numpy(value) for key, value in probe(model.spec, name, size).items()}
    with torch.inference_mode():
        got = form.graph_module(model, name, size)(*inputs.values())  # type: ignore[attr-defined]
    for ours, wanted in zip(got if isinstance(got, tuple) else (got,), answer(model, name, inputs), strict=True):
        assert off(wanted, ours) < TOLERANCE


@pytest.mark.parametrize("scores", [1, 300, 3000])
def test_attention_in_small_groups_is_the_same_for_several_photos(
    tiny_checkpoint: Path, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load(tiny_checkpoint)
    images = torch.rand(3, 3, 80, 144, generator=torch.Generator().manual_seed(0)) * 255
    monkeypatch.setattr(attention, "BLOCK", scores)
    with torch.inference_mode():
        got = fixed_size.graph_module(model, "image_encoder", "144x80")(images)
        wanted = model.image_encoder(images)
    for ours, theirs in zip(got, wanted, strict=True):
        assert off(theirs, ours) < TOLERANCE


def test_positions_are_those_of_the_top_left_part_of_a_square(tiny_checkpoint: Path) -> None:
    model, _ = load(tiny_checkpoint)
    encoder, prompts = model.image_encoder, model.prompt_encoder
    assert torch.equal(encoder.position_table(9, 16), encoder.position_table(16, 16)[:, :9])
    assert torch.equal(encoder.position_table(20, 7), encoder.position_table(20, 20)[:, :, :7])
    assert torch.equal(prompts.grid_positions(9, 16), prompts.grid_positions(16, 16)[:, :, :9])
    point, label, no_mask = torch.tensor([[[200.0, 70.0]]]), torch.ones(1, 1), torch.zeros(1)
    shapes = ((1, 1, 36, 64), (1, 1, 64, 64))
    part, whole = (prompts(point, label, torch.zeros(shape), no_mask) for shape in shapes)
    assert torch.equal(part[0], whole[0])
    assert part[1].shape == (1, 256, 9, 16)


def test_a_bundle_of_a_wide_input_segments_names_and_finds(
    wide: SamClip, tiny_checkpoint: Path, photos: dict[str, np.ndarray]
) -> None:
    """Against torch on the same input; the click and the frame are the test's own arithmetic."""
    assert wide.sizes == (176, WIDE)  # rising by the number of pixels
    (model, _), pixels = load(tiny_checkpoint), photos["landscape"]  # 600 x 400 pixels
    scene = wide.look(pixels)
    assert scene.frame == Frame(400, 600, WIDE)
    assert scene.frame.scaled == (144, 216)
    (mask,) = scene.segment(points=[[300, 200]])
    with torch.inference_mode():
        _, embedding = model.image_encoder(torch.from_numpy(scene.frame.image(pixels)))
        sparse, dense = model.prompt_encoder(
            torch.tensor([[[300 * 0.36, 200 * 0.36], [0.0, 0.0]]]),
            torch.tensor([[1.0, -1.0]]),
            torch.zeros(1, 1, 36, 64),
            torch.zeros(1),
        )
        low, ious = model.decode_masks(embedding, sparse, dense)
    best = 1 + int(ious[0, 1:].argmax())
    inside = torch.nn.functional.interpolate(low[:, best : best + 1], (144, 256), mode="bilinear")[..., :216]
    wanted = torch.nn.functional.interpolate(inside, (400, 600), mode="bilinear")[0, 0] > 0
    assert iou(mask.bits, wanted.numpy()) > 0.999
    assert scene.patch_features.shape[1:] == (9, 16)
    assert all(found.bits.shape == (400, 600) for found in scene.find(["cat", "cup"], min_score=0))
    assert wide.look(pixels, size="176").frame.size == 176


def test_export_takes_only_multiples_of_16_that_the_base_has(
    run: Callable[..., Ran], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    for size in ("100", "1040", "48", "256x100", "256x", "large"):
        ran = run("export", "--model", tiny_checkpoint, "--size", size, "-o", tmp_path / "bundle")
        assert ran.code == 2
        assert f"--size {size}: " in ran.err
        assert ran.err.count("\n") == 1
        assert "multiple of 16 from 64 to 1024" in ran.err
    assert not (tmp_path / "bundle").exists()
