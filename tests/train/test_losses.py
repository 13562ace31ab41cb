"""Both losses of the paper, and CLIP's, against arithmetic done by hand."""

from __future__ import annotations

import math

import pytest
import torch

from samclip_edge.train.losses import (
    contrastive,
    dice,
    feature_distillation,
    focal,
    mask_distillation,
    mask_loss,
    patch_naming,
)


def log(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_feature_distillation_is_one_minus_the_cosine() -> None:
    student = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    teacher = torch.tensor([[0.6, 0.8], [5.0, 0.0], [-7.0, 0.0]])
    assert feature_distillation(student, teacher).item() == pytest.approx((0 + 1 + 2) / 3)


def test_focal_dwells_on_what_is_wrong() -> None:
    logits = torch.tensor([[[log(0.9), log(0.2)]]])  # says 0.9 and 0.2
    target = torch.tensor([[[1.0, 0.0]]])
    # 0.25 * (1 - 0.9)^2 * -ln 0.9 for the pixel inside, 0.75 * 0.2^2 * -ln 0.8 for the one outside
    wanted = (0.25 * 0.01 * 0.1053605 + 0.75 * 0.04 * 0.2231436) / 2
    assert focal(logits, target).item() == pytest.approx(wanted, rel=1e-5)


def test_dice_is_overlap_over_both() -> None:
    logits = torch.tensor([[[log(0.8), log(0.5)], [log(0.1), log(0.2)]]])
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    wanted = 1 - (2 * (0.8 + 0.5) + 1) / ((0.8 + 0.5 + 0.1 + 0.2) + 2 + 1)
    assert dice(logits, target).item() == pytest.approx(wanted, rel=1e-5)


def test_mask_distillation_is_twenty_focal_and_a_dice_against_the_teachers_cut_mask() -> None:
    student = torch.tensor([[[log(0.8), log(0.3)]], [[log(0.6), log(0.9)]]])
    teacher = torch.tensor([[[5.0, -0.1]], [[-3.0, 0.2]]])
    cut = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    each = 20 * focal(student, cut) + dice(student, cut)
    torch.testing.assert_close(mask_loss(student, cut), each)
    torch.testing.assert_close(mask_loss(student, cut, weight=2.0), 2 * focal(student, cut) + dice(student, cut))
    assert mask_distillation(student, teacher).item() == pytest.approx(each.mean().item())
    assert mask_distillation(1e3 * (cut - 0.5), teacher).item() == pytest.approx(0, abs=1e-6)


def test_losses_stay_finite_and_differentiable_far_out() -> None:
    logits = torch.tensor([[[200.0, -200.0]]], requires_grad=True)
    loss = mask_loss(logits, torch.tensor([[[0.0, 1.0]]])).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_contrastive_counts_equal_captions_as_right() -> None:
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    texts, captions = images.clone(), ["a", "a", "b"]
    scale = torch.tensor(2.0)
    # Cosines are 1 and 0, logits 2 and 0. Rows "a": two right answers of e^2 / (2 e^2 + 1); row "b": e^2 / (e^2 + 2).
    e2 = math.exp(2)
    wanted = -(2 * math.log(e2 / (2 * e2 + 1)) + math.log(e2 / (e2 + 2))) / 3
    assert contrastive(images, texts, scale, captions).item() == pytest.approx(wanted, rel=1e-5)


def test_patch_naming_is_cross_entropy_over_names_by_share() -> None:
    """Two patches: one says the right name, one the other. With a scale of 2 they miss log(1 + e^-2) and 2 more."""
    patches = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]] * 2)  # (2,2,1,2)
    shares = torch.tensor([[[0.75, 0.25]], [[0.0, 0.0]]])  # of the second region there is nothing
    missed = patch_naming(patches, shares, torch.eye(2), torch.tensor([0, 0]), torch.tensor(2.0))
    low = math.log(1 + math.exp(-2))
    assert missed.tolist() == pytest.approx([0.75 * low + 0.25 * (low + 2), 0])
