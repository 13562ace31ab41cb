"""A classifier as the CLIP head: the chances of its classes, times the text features of their names (ConSE).

"Zero-Shot Learning by Convex Combination of Semantic Embeddings" (arXiv 1312.5650) does so for a photo; here each patch
is classified too. What the names cannot say is added by a linear map that starts at 0. So untrained, with published
weights and the features of the class names, it answers as ConSE does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.encoder_spec import EfficientNetLiteSpec
from samclip_edge.bundle.spec import ClassHeadSpec, ModelSpec
from samclip_edge.model.clip_head import halved
from samclip_edge.model.efficientnet_lite import SameConv


class ClassHead(nn.Module):
    """Takes the place of `ClipHead`. Names are those of `efficientnet_lite.Classifier` where it has the same part."""

    PUBLISHED = ("conv_head", "fc", "names")  # the parts that published weights fill

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        encoder, head = spec.encoder, spec.clip_head
        assert isinstance(encoder, EfficientNetLiteSpec)
        assert isinstance(head, ClassHeadSpec)
        self.max_grid, self.reads = head.max_grid, encoder.widths[-1]
        self.scale = head.hidden**-0.5  # of what sums over the channels, so that one rate suits all parts
        self.conv_head = SameConv(self.reads, head.hidden)
        self.gate = nn.Linear(head.hidden, 1)  # how much a patch counts for the image: 0, so each the same, at first
        self.fc = nn.Linear(head.hidden, head.classes)
        self.sharpness = nn.Parameter(torch.ones(1))  # what logits are multiplied by
        self.names = nn.Linear(head.classes, spec.features, bias=False)  # a column for each class name
        self.beyond = nn.Linear(head.hidden, spec.features, bias=False)  # what the names cannot say

    @torch.no_grad()
    def begin(self) -> None:
        """Set to 0 what starts there: each patch counts the same, and the names say all."""
        for part in (self.gate, self.beyond):
            for parameter in part.parameters():
                parameter.zero_()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Compute image and patch features; see `ClipHead.forward`.

        tokens: (B,D,h,w) of `efficientnet_lite.Encoder`, of which the last stage's map is read.
        """
        hidden = self.hidden(tokens)
        rows = torch.cat([self.pooled(hidden)[:, :, None], hidden.flatten(2)], dim=2).transpose(1, 2)
        features = self.features(rows)  # in one pass, so that each matrix stands once in a graph
        return features[:, 0], features[:, 1:].transpose(1, 2).reshape(-1, features.shape[-1], *hidden.shape[2:])

    def image_features(self, tokens: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Only the image features (B,E) of `forward`.

        left_out: (B,h',w') bool, the patches that are not pooled over; None pools over all.
        """
        return self.features(self.pooled(self.hidden(tokens), left_out))

    def hidden(self, tokens: Tensor) -> Tensor:
        """What classes are read from: (B,D,h,w) to (B,1280,h',w')."""
        x = tokens[:, : self.reads]
        if max(x.shape[2:]) > self.max_grid:
            x = halved(x)
        return F.relu6(self.conv_head(x))

    def pooled(self, hidden: Tensor, left_out: Tensor | None = None) -> Tensor:
        """The mean (B,1280) of (B,1280,h',w') over the patches, each weighted by its gate."""
        rows = hidden.flatten(2).transpose(1, 2)
        weights = (self.gate(rows) * self.scale).sigmoid()
        if left_out is not None:
            weights = weights.masked_fill(left_out.flatten(1)[..., None], 0.0)
        return (weights * rows).mean(dim=1) / weights.mean(dim=1)  # no sums, which half precision might not hold

    def features(self, rows: Tensor) -> Tensor:
        """Features (...,E) of (...,1280), L2-normalised."""
        chances = (self.fc(rows) * self.sharpness).softmax(dim=-1)
        # Even chances say nothing. Without them, sums over names whose mean is 0 do not lose their digits.
        return F.normalize(self.names(chances - 1 / chances.shape[-1]) + self.scale * self.beyond(rows), dim=-1)
