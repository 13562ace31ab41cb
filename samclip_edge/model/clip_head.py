"""The CLIP head (Sec. 4.1, Appendix A) turns the shared tokens into features in the space of CLIP's text features.

It has transformer layers that start as copies of SAM's last one, max-pooling over the tokens, LayerNorm, and an MLP
with two hidden layers. Without the pooling, the same head gives a feature for each patch (Sec. 4.3, 4.4). The paper
does not print the width of the hidden layers; the presets take the width of the ViT.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.spec import ClipHeadSpec, ModelSpec
from samclip_edge.model.layers import MLP
from samclip_edge.model.vit import Block


def halved(x: Tensor) -> Tensor:
    """Average (B,D,h,w) 2x2, what is left of an odd side over what is there: (B,D,ceil(h/2),ceil(w/2))."""
    # Repeated, the last row or column is its own mean with itself; engines differ in pooling past a border.
    if x.shape[2] % 2:
        x = torch.cat([x, x[:, :, -1:]], dim=2)
    if x.shape[3] % 2:
        x = torch.cat([x, x[:, :, :, -1:]], dim=3)
    return F.avg_pool2d(x, 2)


class ClipHead(nn.Module):
    """Turns tokens into CLIP features of the image and of its patches."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        encoder, head = spec.encoder, spec.clip_head
        assert isinstance(head, ClipHeadSpec)
        self.max_grid = head.max_grid
        self.blocks = nn.ModuleList(
            Block(encoder.width, encoder.heads, encoder.mlp_ratio, window=0, side=encoder.grid)
            for _ in range(head.depth)
        )
        self.norm = nn.LayerNorm(encoder.width, eps=1e-6)
        self.mlp = MLP(encoder.width, head.hidden, spec.features, depth=3, activation=nn.GELU)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Compute image and patch features. Their dot product with a text feature is the cosine similarity.

        tokens: (B,D,h,w) of the image encoder. They are averaged 2x2 first where h or w is above `max_grid`, which
        gives the 32 x 32 map of Sec. 4.4 at S = 1024.
        Returns image_features (B,E) and patch_features (B,E,h',w'), both L2-normalised.
        """
        x = self.layers(tokens)
        patches = self.mlp(self.norm(x)).permute(0, 3, 1, 2)
        return self.pooled(x), F.normalize(patches, dim=1)

    def image_features(self, tokens: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Only the image features (B,E) of `forward`, which are all that Eq. 1 needs.

        left_out: (B,h',w') bool, the patches that are not pooled over; None pools over all.
        """
        x = self.layers(tokens)
        return self.pooled(x if left_out is None else x.masked_fill(left_out[..., None], -torch.inf))

    def layers(self, tokens: Tensor) -> Tensor:
        """The transformer layers: (B,D,h,w) to (B,h',w',D)."""
        if max(tokens.shape[2:]) > self.max_grid:
            tokens = halved(tokens)
        x = tokens.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return x

    def pooled(self, x: Tensor) -> Tensor:
        """Max-pool (B,h',w',D) over the patches, then LayerNorm and MLP: image features (B,E), L2-normalised."""
        return F.normalize(self.mlp(self.norm(x.amax(dim=(1, 2)))), dim=-1)
