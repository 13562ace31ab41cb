"""The losses that training minimises, as functions of tensors. They know nothing of models, data or training loops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_TO_DICE = 20.0  # SAM, Sec. A "Losses": focal and dice at 20 to 1


def feature_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Eq. 1: one minus the cosine similarity of the student's and the CLIP teacher's image features.

    It is averaged over the batch. student, teacher: (B,E), which need not be normalised.
    """
    return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean()


def patch_distillation(patches: Tensor, shares: Tensor, teacher: Tensor) -> Tensor:
    """Eq. 1 for the patches of each region (R,): one minus their cosine similarity to the teacher's feature of it.

    It is the mean over patches, weighted by `shares`. patches: (R,E,h,w), L2-normalised along E. shares: (R,h,w), the
    weight of each patch. teacher: (R,E), which need not be normalised.
    """
    cosines = torch.einsum("rehw,re->rhw", patches, F.normalize(teacher, dim=-1))
    return 1 - (cosines * shares).sum(dim=(1, 2)) / shares.sum(dim=(1, 2))


def patch_naming(patches: Tensor, shares: Tensor, names: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy over names for the patches of each region (R,): how surely they are given its right name.

    It is the mean over patches, weighted by `shares`; 0 for a region without patches. patches: (R,E,h,w), L2-normalised
    along E. shares: (R,h,w), the weight of each patch. names: (K,E), the names' features, L2-normalised. right: (R,),
    the index of each region's name. scale: the factor of the cosines, as in CLIP's contrastive loss.
    """
    logits = scale * torch.einsum("rehw,ke->rkhw", patches, names)
    missed = F.cross_entropy(logits, right[:, None, None].expand(-1, *shares.shape[1:]), reduction="none")
    return (missed * shares).sum(dim=(1, 2)) / shares.sum(dim=(1, 2)).clamp(min=1e-6)


def focal(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of each mask (B,): cross-entropy with more weight on pixels that are still wrong (RetinaNet, Eq. 5).

    logits, target: (B,h,w), target 0 or 1.
    """
    right = torch.where(target > 0.5, logits, -logits)  # the logit of the right answer
    weight = torch.where(target > 0.5, alpha, 1 - alpha) * torch.sigmoid(-right) ** gamma
    return (weight * F.softplus(-right)).flatten(1).mean(dim=1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the dice overlap of each mask (B,) (V-Net, Sec. 3), with 1 added to its numerator and denominator.

    logits, target: (B,h,w), target 0 or 1.
    """
    share = torch.sigmoid(logits).flatten(1)
    wanted = target.flatten(1)
    return 1 - (2 * (share * wanted).sum(dim=1) + 1) / (share.sum(dim=1) + wanted.sum(dim=1) + 1)


def mask_loss(logits: Tensor, target: Tensor, weight: float = FOCAL_TO_DICE) -> Tensor:
    """`weight` times the focal loss plus the dice loss of each mask (B,). logits, target: (B,h,w)."""
    return weight * focal(logits, target) + dice(logits, target)


def mask_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Eq. 2: focal and dice loss of the student's masks against the frozen SAM teacher's, averaged over the batch.

    student, teacher: (B,h,w) logits. The teacher's mask is where its logit is above 0, SAM's own threshold.
    """
    return mask_loss(student, (teacher > 0).to(student.dtype)).mean()


def contrastive(images: Tensor, texts: Tensor, scale: Tensor, contents: Sequence[str]) -> Tensor:
    """CLIP's symmetric contrastive loss (CLIP, Fig. 3). All texts with the same contents are correct for an image.

    images, texts: (B,E), L2-normalised. scale: the factor of the cosine similarities. contents: B strings; equal ones
    mark pairs that show the same things.
    """
    ids = {content: index for index, content in enumerate(dict.fromkeys(contents))}
    own = torch.tensor([ids[content] for content in contents], device=images.device)
    right = (own[:, None] == own[None, :]).to(images.dtype)
    right = right / right.sum(dim=1, keepdim=True)
    logits = scale * images @ texts.T
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
