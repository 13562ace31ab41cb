"""The five graphs of a merged model for Core ML: like `forms.fixed_size`, in the layout of the Neural Engine.

The numbers of prompts, points and texts and the length of texts stay open, and still no graph computes a shape: a
reshape leaves at most one dimension to be inferred, and what has to grow with the batch is broadcast. A test compares
every module with the model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.contract import GraphName
from samclip_edge.bundle.sizes import Size, grid
from samclip_edge.bundle.spec import CHANNELS
from samclip_edge.export.forms import efficientnet_lite, radio
from samclip_edge.export.forms.channels_first import (
    ChannelNorm,
    MapBlock,
    TokenAttention,
    linear,
    pointwise,
    unit,
    with_channel_norms,
)
from samclip_edge.export.forms.encoders import neural_engine_encoder
from samclip_edge.model import clip_head, text_encoder
from samclip_edge.model.layers import MLP
from samclip_edge.model.mask_decoder import MASKS, TwoWayAttentionBlock
from samclip_edge.model.merged import MergedModel


def mlp(source: MLP) -> nn.Sequential:
    """An `MLP` over maps (B,C,H,W), of 1 x 1 convolutions."""
    layers: list[nn.Module] = []
    for layer in source.layers:
        layers += [linear(layer), source.act]
    return nn.Sequential(*layers[:-1])


class ClipHead(nn.Module):
    """`tokens` to `image_features` and `patch_features`."""

    def __init__(self, model: MergedModel, size: Size) -> None:
        super().__init__()
        head, cells = model.clip_head, model.spec.feature_grid(size)
        assert isinstance(head, clip_head.ClipHead)
        self.pool = grid(size) != cells
        self.blocks = nn.ModuleList(MapBlock(block, cells) for block in head.blocks)  # type: ignore[arg-type]
        self.norm, self.mlp = ChannelNorm(head.norm), mlp(head.mlp)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        x = clip_head.halved(tokens) if self.pool else tokens
        for block in self.blocks:
            x = block(x)
        pooled = unit(self.mlp(self.norm(x.amax(dim=(2, 3), keepdim=True))))
        return pooled[:, :, 0, 0], unit(self.mlp(self.norm(x)))


class TwoWayBlock(nn.Module):
    """`mask_decoder.TwoWayAttentionBlock` over rows of tokens."""

    def __init__(self, block: TwoWayAttentionBlock) -> None:
        super().__init__()
        self.first = block.first
        self.self_attn = TokenAttention(block.self_attn)
        self.to_image = TokenAttention(block.cross_attn_token_to_image)
        self.to_tokens = TokenAttention(block.cross_attn_image_to_token)
        norms = (block.norm1, block.norm2, block.norm3, block.norm4)
        self.norm1, self.norm2, self.norm3, self.norm4 = map(ChannelNorm, norms)
        self.mlp = nn.Sequential(linear(block.mlp.lin1), block.mlp.act, linear(block.mlp.lin2))

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """tokens: (B,256,1,T), image: (B,256,1,h*w), and the positions of each. Returns both, updated."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.to_image(tokens + token_pe, image + image_pe, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.to_tokens(image + image_pe, tokens + token_pe, tokens)
        return tokens, self.norm4(image)


class MaskDecoder(nn.Module):
    """`embedding`, `sparse` and `dense` to `masks` and `scores`."""

    image_pe: Tensor
    learned: Tensor

    def __init__(self, model: MergedModel, size: Size) -> None:
        super().__init__()
        decoder, (rows, columns) = model.mask_decoder, grid(size)
        positions = model.prompt_encoder.grid_positions(rows, columns).detach()
        self.register_buffer("image_pe", positions.reshape(1, CHANNELS, 1, rows * columns))
        learned = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).detach()
        self.register_buffer("learned", learned.T[None, :, None].contiguous())
        transformer = decoder.transformer
        self.layers = nn.ModuleList(TwoWayBlock(each) for each in transformer.layers)  # type: ignore[arg-type]
        self.last, self.norm = (
            TokenAttention(transformer.final_attn_token_to_image),
            ChannelNorm(transformer.norm_final_attn),
        )
        self.upscale = with_channel_norms(decoder.output_upscaling)
        self.kernels = nn.ModuleList(mlp(each) for each in decoder.output_hypernetworks_mlps)  # type: ignore[arg-type]
        self.score, self.prior = mlp(decoder.iou_prediction_head), decoder.prior
        self.rows, self.columns = rows, columns

    def forward(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        rows, columns = self.rows, self.columns
        prompts = sparse.transpose(1, 2)[:, :, None]  # (B,256,1,N)
        learned = self.learned + 0 * prompts[..., :1]  # broadcast to as many as there are prompts
        tokens = torch.cat([learned, prompts], dim=3)
        image = (embedding + dense).reshape(-1, CHANNELS, 1, rows * columns)
        out = tokens
        for layer in self.layers:
            out, image = layer(out, image, tokens, self.image_pe)
        out = self.norm(out + self.last(out + tokens, image + self.image_pe, image))
        pixels = self.upscale(image.reshape(-1, CHANNELS, rows, columns))
        pixels = pixels.reshape(-1, CHANNELS // 8, 16 * rows * columns)
        kernels = [kernel(out[..., 1 + i : 2 + i]).squeeze(2) for i, kernel in enumerate(self.kernels)]
        masks = (torch.cat(kernels, dim=2).transpose(1, 2) @ pixels).reshape(-1, MASKS, 4 * rows, 4 * columns)
        if self.prior is not None:
            masks = self.prior(masks, dense)
        return masks, self.score(out[..., :1])[:, :, 0, 0]


class TextBlock(nn.Module):
    """`text_encoder.ResidualAttentionBlock` over rows of tokens."""

    def __init__(self, block: text_encoder.ResidualAttentionBlock) -> None:
        super().__init__()
        attention = block.attn
        self.width = attention.out_proj.in_features // attention.heads  # of one head
        self.norm1, self.norm2 = ChannelNorm(block.ln_1), ChannelNorm(block.ln_2)
        self.qkv = pointwise(attention.in_proj_weight, attention.in_proj_bias)
        self.out = linear(attention.out_proj)
        widen, activate, narrow = block.mlp
        self.mlp = nn.Sequential(linear(widen), activate, linear(narrow))

    def forward(self, x: Tensor, causal: Tensor | None) -> Tensor:
        """x: (B,D,1,T) to the same shape. causal: (B,1,T,T), added to the scores; None: every token sees every other.

        Heads are cut apart and joined again, because a reshape would have to infer both B and T.
        """
        q, k, v = (self._heads(part) for part in self.qkv(self.norm1(x)).chunk(3, dim=1))
        taken = F.scaled_dot_product_attention(q, k, v, attn_mask=causal)
        x = x + self.out(torch.cat(torch.split(taken, 1, dim=1), dim=3).permute(0, 3, 1, 2))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """(B,D,1,T) to (B,heads,T,D / heads)."""
        return torch.cat(torch.split(x.permute(0, 2, 3, 1), self.width, dim=3), dim=1)


def projection(source: nn.Parameter | nn.Linear | None) -> nn.Module:
    """`text_encoder.TextEncoder.projected` over (B,D,1,1)."""
    if source is None:
        return nn.Identity()
    return linear(source) if isinstance(source, nn.Linear) else pointwise(source.T, None)


class TextEncoder(nn.Module):
    """`tokens` to `text_features`."""

    def __init__(self, model: MergedModel) -> None:
        super().__init__()
        source = model.text_encoder
        self.embedding, self.end_of_text = source.token_embedding, source.end_of_text
        context, width = source.positional_embedding.shape
        self.positions = nn.Embedding(context, width, _weight=source.positional_embedding.detach())
        self.blocks = nn.ModuleList(TextBlock(each) for each in source.transformer.resblocks)  # type: ignore[arg-type]
        self.norm = ChannelNorm(source.ln_final)
        self.causal, self.last = model.spec.text.causal, source.last
        self.projection = projection(source.text_projection)

    def forward(self, tokens: Tensor) -> Tensor:
        """See `contract.signature`."""
        end = (tokens == self.end_of_text).to(self.positions.weight.dtype)
        place = (1 + 0 * end).cumsum(dim=1) - 1  # of each token in its text, counted: so no length is asked for
        x = self.embedding(tokens) + self.positions(place.to(tokens.dtype))
        x = x.transpose(1, 2)[:, :, None]
        causal = -1e4 * (place[:, None, None] > place[:, None, :, None]).to(x.dtype) if self.causal else None
        for block in self.blocks:
            x = block(x, causal)
        if self.last:
            return unit(self.projection(self.norm(x[..., -1:])))[:, :, 0, 0]
        first = end * (end.cumsum(dim=1) < 1.5).to(x.dtype)  # 1 at the first end of text, else 0
        x = self.norm(x) * first[:, None, None]
        return unit(self.projection(x.sum(dim=3, keepdim=True)))[:, :, 0, 0]


def graph_module(model: MergedModel, name: GraphName, size: Size | None) -> nn.Module:
    """The module to convert for a graph of the contract, in evaluation mode."""
    if name == "text_encoder":
        return TextEncoder(model).eval()
    if name == "prompt_encoder":
        return model.prompt_encoder.eval()
    assert size is not None
    heads = {"layers": ClipHead, "adaptor": radio.NeuralEngineHead, "classes": efficientnet_lite.NeuralEngineHead}
    head = heads[model.spec.clip_head.kind]
    sized = {"image_encoder": neural_engine_encoder, "clip_head": head, "mask_decoder": MaskDecoder}
    return sized[name](model, size).eval()
