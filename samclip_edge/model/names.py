"""The features of names, from the model in torch: what `samclip_edge.text.words.Words.features` makes from a bundle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent


@torch.no_grad()
def name_features(
    model: MergedModel, names: Sequence[str], templates: Sequence[str], progress: Progress = silent
) -> Tensor:
    """The text feature of each name (K,E): the mean over the templates, L2-normalised (CLIP, Sec. 3.1.4)."""
    tokenizer, device = model.tokenizer(), model.text_encoder.logit_scale.device
    features = []
    for name in progress(names, "reading names"):
        tokens = tokenizer([template.replace("{}", name) for template in templates])
        mean = model.text_encoder(torch.from_numpy(tokens).to(device)).mean(dim=0)
        features.append(mean / mean.norm())
    return torch.stack(features)
