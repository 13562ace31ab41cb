"""C-RADIO's text adaptor as a CLIP head: its MLP turns the summary and each patch into features of CLIP's space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.encoder_spec import RadioSpec
from samclip_edge.bundle.spec import AdaptorHeadSpec, ModelSpec
from samclip_edge.model.clip_head import halved
from samclip_edge.model.radio import Adaptor


class RadioHead(nn.Module):
    """Takes the place of `ClipHead`. The adaptor was taught on summaries; on patches it serves without training."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        encoder, head = spec.encoder, spec.clip_head
        assert isinstance(encoder, RadioSpec)
        assert isinstance(head, AdaptorHeadSpec)
        self.max_grid, self.trunk = head.max_grid, encoder.trunk
        self.adaptor = Adaptor(encoder.trunk, head.hidden, head.blocks, spec.features)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Compute image and patch features; see `ClipHead.forward`.

        tokens: (B,2D,h,w) of `radio.Encoder`: the patches, then the summary in every cell, of which one is read.
        """
        patches = tokens[:, : self.trunk]
        if max(tokens.shape[2:]) > self.max_grid:
            patches = halved(patches)
        # In one pass, so that each matrix stands once in a graph.
        rows = torch.cat([tokens[:, self.trunk :, :1, 0], patches.flatten(2)], dim=2).transpose(1, 2)
        features = F.normalize(self.adaptor(rows), dim=-1)
        return features[:, 0], features[:, 1:].transpose(1, 2).reshape(-1, features.shape[-1], *patches.shape[2:])

    def image_features(self, tokens: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Only the image features (B,E) of `forward`.

        left_out: see `ClipHead.image_features`. It changes nothing here: the summary is of the whole photo.
        """
        return F.normalize(self.adaptor(tokens[:, self.trunk :, 0, 0]), dim=-1)
