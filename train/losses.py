"""What training minimises. Losses know nothing of models, batches of data, or loops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_TO_DICE = 20.0  # SAM, Sec. A "Losses": focal and dice at 20 to 1


def feature_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Eq. 1: one minus the cosine between the student's image features and the CLIP teacher's, meaned over the batch.

    student, teacher: (B,E), of any length.
    """
    return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean()


def patch_distillation(patches: Tensor, shares: Tensor, teacher: Tensor) -> Tensor:
    """Eq. 1 for every patch of a region (R,): one minus its cosine to the teacher's feature of the region, meaned.

    patches: (R,E,h,w), L2-normalised along E. shares: (R,h,w), how much a patch counts. teacher: (R,E), of any length.
    """
    cosines = torch.einsum("rehw,re->rhw", patches, F.normalize(teacher, dim=-1))
    return 1 - (cosines * shares).sum(dim=(1, 2)) / shares.sum(dim=(1, 2))


def focal(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of each mask (B,): cross-entropy that dwells on the pixels still wrong (RetinaNet, Eq. 5).

    logits, target: (B,h,w), target 0 or 1.
    """
    right = torch.where(target > 0.5, logits, -logits)  # the logit of the right answer
    weight = torch.where(target > 0.5, alpha, 1 - alpha) * torch.sigmoid(-right) ** gamma
    return (weight * F.softplus(-right)).flatten(1).mean(dim=1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the dice overlap of each mask (B,) (V-Net, Sec. 3), with one added above and below the line.

    logits, target: (B,h,w), target 0 or 1.
    """
    share = torch.sigmoid(logits).flatten(1)
    wanted = target.flatten(1)
    return 1 - (2 * (share * wanted).sum(dim=1) + 1) / (share.sum(dim=1) + wanted.sum(dim=1) + 1)


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal and dice of each mask (B,) at 20 to 1. logits, target: (B,h,w)."""
    return FOCAL_TO_DICE * focal(logits, target) + dice(logits, target)


def mask_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Eq. 2: focal and dice of the student's masks against the frozen SAM teacher's, meaned over the batch.

    student, teacher: (B,h,w) logits; the teacher's mask is where its logit is above 0, as SAM cuts its masks.
    """
    return mask_loss(student, (teacher > 0).to(student.dtype)).mean()


def contrastive(images: Tensor, texts: Tensor, scale: Tensor, contents: Sequence[str]) -> Tensor:
    """CLIP's symmetric loss (CLIP, Fig. 3), where texts of equal contents are all right answers.

    images, texts: (B,E), L2-normalised. scale: what cosines are multiplied by. contents: B strings.
    """
    ids = {content: index for index, content in enumerate(dict.fromkeys(contents))}
    own = torch.tensor([ids[content] for content in contents], device=images.device)
    right = (own[:, None] == own[None, :]).to(images.dtype)
    right = right / right.sum(dim=1, keepdim=True)
    logits = scale * images @ texts.T
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
