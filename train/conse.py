"""A classifier and a sentence encoder in CLIP's place: ConSE (arXiv 1312.5650).

A photo's feature is the mean of the features of the classes' names, weighted by how likely the classifier takes each to
be: so it lies in the space of texts, and unseen names can be compared with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.model.efficientnet_lite import LITE2, load_classifier
from samclip_edge.train.data.sources import View
from samclip_edge.train.sentences import parts, space
from samclip_edge.train.teachers import ClipTeacher, OpenClip, resized


class Conse:
    """A classifier's chances times the features of its classes' names, as the CLIP teacher."""

    size = 260  # that Lite2 was trained at

    def __init__(self, network: nn.Module, classes: Tensor) -> None:
        """network: turns images (B,3,S,S), RGB, 0..255, into logits (B,K). classes: (K,E), as `Space.classes` is."""
        self.network, self.classes = network.eval().requires_grad_(False), classes
        self.view = View(self.size, "squash", cubic=False)  # so that it sees all that the student does

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """See `ClipTeacher`."""
        chances = self.network(resized(pixels, self.size)).float().softmax(dim=-1)
        return F.normalize(chances @ self.classes, dim=-1)


def named(name: str, device: torch.device) -> ClipTeacher:
    """The teacher that a recipe's `clip_teacher` names: one of open_clip, `conse`, or `conse:WEIGHTS:FOLDER`.

    WEIGHTS: EfficientNet-Lite2's. FOLDER: MiniLM's. Raises InputError when they are not there or do not fit.
    """
    if name.partition(":")[0] != "conse":
        return OpenClip(name, device)
    weights, _ = parts(name)
    return Conse(load_classifier(weights, LITE2).to(device), space(name, device).classes.to(device))
