"""SAM's mask decoder. Parameter names are those of `segment_anything/modeling/mask_decoder.py` and `transformer.py`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samclip_edge.bundle.spec import CHANNELS, DecoderSpec
from samclip_edge.model.guidance import Prior
from samclip_edge.model.layers import MLP, LayerNorm2d, MLPBlock

MASKS = 4  # mask tokens: one for an unambiguous prompt, three for an ambiguous one


class Attention(nn.Module):
    """Attention whose queries, keys and values may be narrower than its input."""

    def __init__(self, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = CHANNELS // downsample
        self.heads = heads
        self.scale = (inner // heads) ** -0.5
        self.q_proj = nn.Linear(CHANNELS, inner)
        self.k_proj = nn.Linear(CHANNELS, inner)
        self.v_proj = nn.Linear(CHANNELS, inner)
        self.out_proj = nn.Linear(inner, CHANNELS)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q: (B,Nq,256), k and v: (B,Nk,256). Returns (B,Nq,256)."""
        q, k, v = self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        weights = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        out: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return out


class TwoWayAttentionBlock(nn.Module):
    """Tokens attend to themselves, then to the image; then the image attends to the tokens."""

    def __init__(self, spec: DecoderSpec, first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(spec.heads)
        self.norm1 = nn.LayerNorm(CHANNELS)
        self.cross_attn_token_to_image = Attention(spec.heads, downsample=2)
        self.norm2 = nn.LayerNorm(CHANNELS)
        self.mlp = MLPBlock(CHANNELS, spec.mlp, nn.ReLU)
        self.norm3 = nn.LayerNorm(CHANNELS)
        self.norm4 = nn.LayerNorm(CHANNELS)
        self.cross_attn_image_to_token = Attention(spec.heads, downsample=2)
        self.first = first

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """tokens: (B,T,256), image: (B,h*w,256); token_pe, image_pe: their positions. Returns both, updated."""
        if self.first:  # SAM's first layer adds neither the residual nor positions here
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        tokens = tokens + self.cross_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(image + image_pe, tokens + token_pe, tokens)
        return tokens, self.norm4(image)


class TwoWayTransformer(nn.Module):
    """Two-way blocks, then a last attention from the tokens to the image."""

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayAttentionBlock(spec, first=layer == 0) for layer in range(spec.depth))
        self.final_attn_token_to_image = Attention(spec.heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(CHANNELS)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """image: (B,256,h,w), image_pe: (1,256,h,w), tokens: (B,T,256). Returns tokens and image as (B,h*w,256)."""
        image, image_pe = image.flatten(2).transpose(1, 2), image_pe.flatten(2).transpose(1, 2)
        out = tokens
        for layer in self.layers:
            out, image = layer(out, image, tokens, image_pe)
        out = out + self.final_attn_token_to_image(out + tokens, image + image_pe, image)
        return self.norm_final_attn(out), image


class MaskDecoder(nn.Module):
    """Decodes masks, and a predicted IoU for each, for B prompts on one image."""

    def __init__(self, spec: DecoderSpec, prior: bool = False) -> None:
        """prior: whether masks begin with what `dense` says of the prompt, which SAM's do not; see `guidance`."""
        super().__init__()
        self.prior = Prior() if prior else None
        self.transformer = TwoWayTransformer(spec)
        self.iou_token = nn.Embedding(1, CHANNELS)
        self.mask_tokens = nn.Embedding(MASKS, CHANNELS)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(CHANNELS, CHANNELS // 4, kernel_size=2, stride=2),
            LayerNorm2d(CHANNELS // 4),
            nn.GELU(),
            nn.ConvTranspose2d(CHANNELS // 4, CHANNELS // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(CHANNELS, CHANNELS, CHANNELS // 8, depth=3) for _ in range(MASKS)
        )
        self.iou_prediction_head = MLP(CHANNELS, CHANNELS, MASKS, depth=3)

    def forward(self, embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Decode every prompt.

        embedding: (1,256,h,w) of one image, image_pe: (1,256,h,w), sparse: (B,N,256), dense: (B,256,h,w), or
        (1,256,h,w), which broadcasts.
        Returns masks (B,4,4h,4w) as logits, the single-mask token first, and their predicted IoUs (B,4).
        """
        learned = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([learned[None].expand(sparse.shape[0], -1, -1), sparse], dim=1)
        image = embedding + dense
        out, pixels = self.transformer(image, image_pe, tokens)
        upscaled = self.output_upscaling(pixels.transpose(1, 2).reshape(-1, *image.shape[1:]))
        kernels = torch.stack([mlp(out[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        masks = (kernels @ upscaled.flatten(2)).reshape(-1, MASKS, *upscaled.shape[2:])
        if self.prior is not None:
            masks = self.prior(masks, dense)
        return masks, self.iou_prediction_head(out[:, 0])
