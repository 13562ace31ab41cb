"""OpenCLIP's text tower. Parameter names are those of `open_clip.model.CLIP`, without its image tower."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.spec import ModelSpec, TextSpec


class QuickGELU(nn.Module):
    """The sigmoid approximation of GELU that OpenAI's own CLIP weights were trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Self-attention with the parameter names of `nn.MultiheadAttention`; causal if a context length is given."""

    causal: Tensor

    def __init__(self, width: int, heads: int, context: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        # Not -inf, which becomes NaN in fp16 and in some engines; exp(-1e4) is 0 in every precision.
        if context:
            self.register_buffer("causal", torch.full((context, context), -1e4).triu(1), persistent=False)
        self.context = context

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,D) to the same shape. If causal, a token attends to itself and to those before it."""
        batch, length, width = x.shape
        # q, k and v are split along the heads. TensorRT would move a split of the columns into the weights, which then
        # no longer run in int8.
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).reshape(batch, length, 3 * self.heads, -1)
        q, k, v = (qkv.transpose(1, 2)[:, i * self.heads : (i + 1) * self.heads] for i in range(3))
        scores = (q * self.scale) @ k.transpose(-2, -1)
        if self.context:
            scores = scores + self.causal[:length, :length]
        weights = scores.softmax(dim=-1)
        out: Tensor = self.out_proj((weights @ v).transpose(1, 2).reshape(batch, length, width))
        return out


def activation(spec: TextSpec) -> nn.Module:
    """What stands inside an MLP of the tower."""
    if spec.activation == "quick_gelu":
        return QuickGELU()
    return nn.GELU(approximate="tanh" if spec.activation == "gelu_tanh" else "none")


class ResidualAttentionBlock(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, spec: TextSpec) -> None:
        super().__init__()
        width, hidden = spec.width, spec.mlp or 4 * spec.width
        self.ln_1 = nn.LayerNorm(width, eps=spec.eps)
        self.attn = Attention(width, spec.heads, spec.context if spec.causal else None)
        self.ln_2 = nn.LayerNorm(width, eps=spec.eps)
        layers = {"c_fc": nn.Linear(width, hidden), "gelu": activation(spec), "c_proj": nn.Linear(hidden, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,D) to the same shape."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """The layers of a tower."""

    def __init__(self, spec: TextSpec) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(spec) for _ in range(spec.depth))

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,D) to the same shape."""
        for block in self.resblocks:
            x = block(x)
        return x


class TextEncoder(nn.Module):
    """Turns token ids into text features."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        text = spec.text
        self.end_of_text, self.last = text.end_of_text, text.pool == "last"
        self.token_embedding = nn.Embedding(text.vocab, text.width)
        self.positional_embedding = nn.Parameter(torch.zeros(text.context, text.width))
        self.transformer = Transformer(text)
        self.ln_final = nn.LayerNorm(text.width, eps=text.eps)
        self.text_projection: nn.Parameter | nn.Linear | None = None
        if text.projection == "matrix":
            self.text_projection = nn.Parameter(torch.zeros(text.width, spec.features))
        elif text.projection == "linear":
            self.text_projection = nn.Linear(text.width, spec.features)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if text.sigmoid else None  # SigLIP (2303.15343), Sec. 3.2

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (B,L) int; a text ends with the end-of-text id, the largest. Returns features (B,E), L2-normalised.

        L is any length up to the context. What stands after the end of a text changes nothing, because no token before
        it attends to it. A tower whose texts are `filled` takes L = context only.
        """
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        return F.normalize(self.projected(self.pooled(self.ln_final(self.transformer(x)), tokens)), dim=-1)

    def pooled(self, x: Tensor, tokens: Tensor) -> Tensor:
        """The feature (B,D) of each text, of those of its tokens (B,L,D)."""
        if self.last:
            return x[:, -1]
        # A product picks the feature at the first end of text: fewer engines support a gather by a computed index.
        end = (tokens == self.end_of_text).to(x.dtype)
        first = end * (end.cumsum(dim=1) < 1.5).to(x.dtype)
        return (first[:, None] @ x)[:, 0]

    def projected(self, x: Tensor) -> Tensor:
        """Features of texts (B,D) to those of the space that they share with images (B,E)."""
        if isinstance(self.text_projection, nn.Linear):
            out: Tensor = self.text_projection(x)
            return out
        return x if self.text_projection is None else x @ self.text_projection
