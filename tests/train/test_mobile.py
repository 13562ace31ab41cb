"""MobileSAM's encoder goes through the stages of training; the statistics of its BatchNorm stay as they were."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from runs import lines, weights

from samclip_edge.bundle.encoder_spec import TinyVitSpec
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipHeadSpec
from samclip_edge.model.tiny_vit import Encoder
from samclip_edge.train.learner import recompute
from samclip_edge.train.recipe import read_recipe
from samclip_edge.train.trainer import Trainer

SHORT = """\
preset: mobile
clip_data: {scenes: {first: 100, count: 40}}
sam_data: {scenes: {first: 100, count: 40}}
held_out: {scenes: {first: 0, count: 2}}
workers: 0
recompute: true
stages:
  - {task: teach_clip, steps: 1, rate: 1.0e-3, clip: [{size: 128, images: 2, things: 1}]}
  - {task: teach_sam, steps: 2, rate: 1.0e-3, sam: {size: 128, images: 2}, masks: 2}
  - {task: probe, steps: 2, rate: 1.0e-3, clip: [{size: 128, images: 2}]}
  - {task: joint, steps: 2, rate: 1.0e-3, clip: [{size: 128, images: 2}], sam: {size: 128, images: 2}, masks: 2}
  - {task: adapt, steps: 1, rate: 1.0e-3, clip: [{size: 128, images: 2}]}
"""
ENCODER = TinyVitSpec(widths=(16, 16, 32, 64), depths=(1, 1, 1, 2), stage_heads=(2, 2, 4), grid=8)


def test_each_stage_trains_it_and_keeps_its_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"name": "mobile", "encoder": ENCODER, "clip_head": ClipHeadSpec(depth=1, hidden=64)}
    monkeypatch.setitem(PRESETS, "mobile", PRESETS["tiny"].model_copy(update=small))
    path, folder = tmp_path / "short.yaml", tmp_path / "run"
    path.write_text(SHORT)
    Trainer(read_recipe(str(path)), folder).train()
    _, sam, probed, joint, adapted = (weights(file) for file in sorted(folder.glob("*.safetensors")))
    assert any("running_mean" in name for name in sam)
    for name in sam:
        if not name.startswith("image_encoder."):
            continue
        assert torch.equal(sam[name], probed[name]), name
        assert torch.equal(joint[name], adapted[name]), name
        of_norm = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(probed[name], joint[name]) == of_norm, name
    assert all(
        entry[loss] > 0 for entry in lines(folder) if "rate" in entry for loss in ("clip", "sam") if loss in entry
    )
    head = probed["clip_head.blocks.0.mlp.lin1.weight"]  # after two small steps from the encoder's last block
    assert (head - sam["image_encoder.layers.3.blocks.1.mlp.fc1.weight"]).abs().max() < 3e-3


def test_recomputed_activations_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    plain = Encoder(ENCODER).eval()
    saving = copy.deepcopy(plain)
    recompute(saving.layers)
    image = torch.rand(1, 3, 64, 64) * 255
    for encoder in (plain, saving):
        encoder.tokens(image).square().sum().backward()
    for (name, wanted), got in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (wanted.grad is None) == (got.grad is None) == name.startswith("neck."), name
        if wanted.grad is not None:
            torch.testing.assert_close(wanted.grad, got.grad)
