"""What a step reads: patches left out of pooling, masks of a first round as prompts of a second."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel
from samclip_edge.rendered import NAMES
from samclip_edge.train.data.batches import Images, Masks
from samclip_edge.train.data.stored import eighths, from_eighths
from samclip_edge.train.recipe import Stage
from samclip_edge.train.stages import _left_out, as_prompt, at_half_the_side, image_features, moving, name_loss
from samclip_edge.train.teachers import Names


def images(pixels: torch.Tensor, draws: list[int]) -> Images:
    nothing = [""] * len(draws)
    return Images(pixels, nothing, nothing, None, draws, [])


@torch.no_grad()
def test_pooling_over_some_patches_by_hand() -> None:
    """All of them give the head's own answer; one alone gives the feature of a patch."""
    model = checkpoint.build(PRESETS["tiny"], seed=2)
    pixels = 255 * torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    tokens = model.image_encoder.tokens(pixels)
    assert torch.equal(image_features(model, images(pixels, [1, 2]), 1.0), model.clip_head(tokens)[0])
    head = model.clip_head
    x = head.layers(tokens).flatten(1, 2)
    # Where the share that is drawn between nothing and all comes out below two of 64 patches, one is left.
    alone = [d for d in range(4000) if torch.rand((), generator=torch.Generator().manual_seed(d)) < 2 / 64][:3]
    for draw in alone:
        got = image_features(model, images(pixels, [draw, draw]), 1e-9)[0]
        each = F.normalize(head.mlp(head.norm(x[0])), dim=-1)
        assert (each @ got).max().item() > 1 - 1e-5


def test_every_patch_is_pooled_over_some_time_and_shares_are_spread() -> None:
    kept = ~torch.stack([_left_out(draw, 8, 0.25) for draw in range(400)])
    shares = kept.float().mean(dim=(1, 2))
    assert 0.24 <= shares.min() < 0.3
    assert 0.95 < shares.max() <= 1
    assert abs(shares.mean() - 0.625) < 0.03
    assert kept.float().mean(dim=0).min() > 0.5


def test_masks_at_half_the_side_keep_their_majority_and_no_mask_vanishes() -> None:
    whole, least = ["1110", "1100", "0000", "0001"], ["0000", "0100", "0000", "0000"]
    rows = whole, least, ["0100"] * 4, ["1100", "1000", "1100", "0000"]
    masks = torch.tensor([[[int(each) for each in row] for row in mask] for mask in rows], dtype=torch.bool)
    wanted = [[[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [1, 0]], [[1, 0], [1, 0]]]
    assert at_half_the_side(masks).tolist() == wanted


def test_half_of_the_second_rounds_masks_are_as_coarse_as_patches() -> None:
    masks = torch.randn(2, 4, 16, 16)
    points = torch.zeros(2, 3, 2)
    points[1, 2, 0] = 7  # an odd column
    nothing = torch.zeros(0)
    prompts = as_prompt(masks, Masks(nothing, nothing, nothing, points, nothing, None, None, [], []))
    assert torch.equal(prompts[0], masks[0, 0])
    patches = masks[1, 0].reshape(4, 4, 4, 4).mean(dim=(1, 3))
    wanted = F.interpolate(patches[None, None], size=(16, 16), mode="bilinear")[0, 0]
    torch.testing.assert_close(prompts[1], wanted)


def test_stored_logits_keep_their_side_of_zero() -> None:
    logits = torch.tensor([0.0, 1e-9, -1e-9, 0.3, -0.05, 4.06, 99.0, -99.0])
    stored = from_eighths(eighths(logits))
    assert stored.tolist() == [-0.125, 0.125, -0.125, 0.25, -0.125, 4.0, 15.875, -15.875]
    assert torch.equal(stored > 0, logits > 0)
    assert torch.equal(from_eighths(eighths(stored)), stored)


def saying(features: torch.Tensor, scale: float) -> MergedModel:
    """Stands in for a model whose patches have these features, whatever it is shown."""
    model: Any = SimpleNamespace(
        image_encoder=SimpleNamespace(tokens=lambda pixels: pixels),
        clip_head=lambda tokens: (None, features),
        text_encoder=SimpleNamespace(logit_scale=torch.tensor(math.log(scale))),
    )
    return model


@pytest.mark.parametrize(("rest", "more"), [(len(NAMES), 0.0), (3, 4.0)])
def test_patches_of_a_thing_learn_its_name_and_free_ones_the_background(rest: int, more: float) -> None:
    """By hand: 3 x 1 patches say the thing's name, nothing right, and `rest`: the background's name, or the thing's.

    The thing covers the first patch, and a little of the second, so only the third is free.
    """
    names, scale = torch.eye(len(NAMES) + 1), 4.0
    features = torch.stack([names[3], names[5], names[rest]], dim=1)[None, :, None].expand(1, -1, 3, 3)  # columns
    mask = torch.zeros(1, 9, 9, dtype=torch.bool)
    mask[:, :, :4] = True
    nothing = torch.zeros(0)
    batch = Masks(
        torch.zeros(1, 3, 9, 9), torch.tensor([0]), mask, nothing, nothing, None, None, [], [NAMES[3]], [True]
    )
    right = math.log(1 + len(NAMES) * math.exp(-scale))
    thing = (3 * right + (right + scale)) / 4  # the second patch: a third of the share, another name
    got = name_loss(saying(features, scale), Names([*NAMES], names), batch)
    assert got.item() == pytest.approx(thing + right + more, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "complete", "misses"), [("b", False, 1), ("a", True, 1), ("b", True, 2), ("", True, 1), ("", False, 0)]
)
def test_only_what_is_known_is_named(kind: str, complete: bool, misses: int) -> None:
    """Every patch says "a", so surely that other names miss by the scale. The mask covers the left half, and only what
    is complete has its right half taken for background."""
    names, scale = torch.eye(3), 40.0
    features = names[0][None, :, None, None].expand(1, -1, 2, 2)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[:, :, :2] = True
    nothing = torch.zeros(0)
    pixels, owner = torch.zeros(1, 3, 4, 4), torch.tensor([0])
    batch = Masks(pixels, owner, mask, nothing, nothing, None, None, [], [kind], [complete])
    got = name_loss(saying(features, scale), Names(["a", "b"], names), batch)
    assert got.item() == pytest.approx(misses * scale, abs=1e-4)


def test_what_has_published_weights_learns_at_its_own_share() -> None:
    model, batch = MergedModel(PRESETS["photo"]), {"size": 256, "images": 1}
    still = Stage.model_validate({"task": "teach_sam", "steps": 1, "rate": 0.1, "sam": batch, "trunk": 0})
    moved = {id(parameter) for part, _ in moving(model, still) for parameter in part.parameters()}
    assert not moved & {id(parameter) for parameter in model.image_encoder.trunk.parameters()}
    assert {id(parameter) for parameter in model.image_encoder.neck.parameters()} <= moved
    slow = Stage.model_validate(
        {"task": "joint", "steps": 1, "rate": 0.1, "sam": batch, "clip": [batch], "trunk": 0.5, "slower": 0.2}
    )
    shares = {id(parameter): share for part, share in moving(model, slow) for parameter in part.parameters()}
    of = {name: shares[id(parameter)] for name, parameter in model.named_parameters() if id(parameter) in shares}
    assert of["image_encoder.trunk.conv_stem.weight"] == 0.1
    assert of["image_encoder.neck.0.weight"] == of["mask_decoder.iou_token.weight"] == 0.2
    assert of["clip_head.fc.weight"] == 0.5
    assert of["clip_head.sharpness"] == of["clip_head.beyond.weight"] == 1.0
