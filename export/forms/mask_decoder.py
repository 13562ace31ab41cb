"""SAM's mask decoder in the order that costs least: the answers of `model.mask_decoder`, in fewer products.

A prompt has few tokens (T, seven for a click), and the image has many pixels (4096 at 1024). The model projects every
pixel to queries, keys and values, anew for every prompt. Here the tokens are taken to the pixels instead, since
products may be grouped anew: q (x W)' = (q W') x', and (A x) W = A (x W). A pixel then costs 8 T x 256 multiply-adds
where it cost 128 x 256: less, below T = 16. What the bias of the keys adds to a query, softmax takes away again.

Prompts share the image where they share the mask prompt (`dense` of one): the first layer reads it once for all. The
upscaling is a product at each pixel, because the strides of its convolutions are as long as their kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.sizes import Size, grid
from samclip_edge.bundle.spec import CHANNELS
from samclip_edge.model.layers import LayerNorm2d
from samclip_edge.model.mask_decoder import MASKS, Attention, MaskDecoder, TwoWayAttentionBlock
from samclip_edge.model.merged import MergedModel


def by_head(layer: nn.Linear, heads: int) -> Tensor:
    """The weights (D,256) of a projection as (heads,D / heads,256): they take tokens of a head to the pixels."""
    return layer.weight.detach().reshape(heads, -1, CHANNELS)


class TokensToImage(nn.Module):
    """Cross attention of T tokens to all pixels."""

    keys: Tensor
    values: Tensor
    bias: Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.scale = attention.heads, attention.scale
        self.query, self.out = attention.q_proj, attention.out_proj
        self.register_buffer("keys", by_head(attention.k_proj, self.heads))
        self.register_buffer("values", by_head(attention.v_proj, self.heads))
        self.register_buffer("bias", attention.v_proj.bias.detach().reshape(self.heads, -1, 1))

    def forward(self, tokens: Tensor, placed: Tensor, image: Tensor) -> Tensor:
        """tokens: (B,T,256). image: (M,h*w,256), and placed: the same with its positions. Returns (B,T,256)."""
        batch, count, _ = tokens.shape
        q = self.query(tokens).reshape(batch, count, self.heads, -1).transpose(1, 2) * self.scale
        q = (q @ self.keys).reshape(batch, -1, CHANNELS)  # (B,heads * T,256)
        taken = (q @ placed.transpose(1, 2)).softmax(dim=-1) @ image
        values = self.valued(taken.reshape(batch, self.heads, count, CHANNELS))
        out: Tensor = self.out(values.permute(0, 3, 1, 2).reshape(batch, count, -1))
        return out

    def valued(self, taken: Tensor) -> Tensor:
        """The values (B,heads,D / heads,T) of what tokens take of the pixels (B,heads,T,256)."""
        return self.values @ taken.transpose(2, 3) + self.bias


class ImageToTokens(nn.Module):
    """Cross attention of all pixels to T tokens."""

    queries: Tensor
    bias: Tensor
    back_bias: Tensor
    own: Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.scale = attention.heads, attention.scale
        self.key, self.value = attention.k_proj, attention.v_proj
        self.register_buffer("queries", by_head(attention.q_proj, self.heads))
        self.register_buffer("bias", attention.q_proj.bias.detach().reshape(self.heads, -1, 1))
        self.back = attention.out_proj.weight
        self.register_buffer("back_bias", attention.out_proj.bias.detach() / self.heads)
        own = torch.eye(self.heads).repeat_interleave(attention.v_proj.out_features // self.heads, dim=1)
        self.register_buffer("own", own[:, None])  # (heads,1,D): the columns of each head

    def forward(self, placed: Tensor, keyed: Tensor, tokens: Tensor) -> Tensor:
        """placed: the image with its positions (M,h*w,256); keyed: tokens with theirs, and tokens (B,T,256).

        Returns (B,h*w,256).
        """
        batch, count, _ = tokens.shape
        k = self.key(keyed).reshape(batch, count, self.heads, -1).transpose(1, 2) * self.scale
        common = (k @ self.bias).reshape(batch, 1, -1)  # what the bias of all queries adds
        k = (k @ self.queries).reshape(batch, -1, CHANNELS).transpose(1, 2)  # (B,256,heads * T)
        scores = placed @ k + common
        weights = scores.reshape(batch, -1, self.heads, count).softmax(dim=-1).reshape(batch, -1, self.heads * count)
        # The weights of a head add up to 1, so its share of the bias may ride on its values.
        return weights @ (self.given_back(self.value(tokens)) + self.back_bias)

    def given_back(self, values: Tensor) -> Tensor:
        """What the last product makes of the values (B,T,D) of each head, before heads are summed (B,heads * T,256)."""
        batch, count, _ = values.shape
        alone = (values[:, None] * self.own).reshape(batch, self.heads * count, -1)  # among zeros for the other heads
        return F.linear(alone, self.back)


class Block(nn.Module):
    """`TwoWayAttentionBlock` for tokens and a map of pixels."""

    to_image_form: type[TokensToImage] = TokensToImage
    to_tokens_form: type[ImageToTokens] = ImageToTokens

    def __init__(self, block: TwoWayAttentionBlock) -> None:
        super().__init__()
        self.first, self.self_attn, self.mlp = block.first, block.self_attn, block.mlp
        self.norm1, self.norm2, self.norm3, self.norm4 = block.norm1, block.norm2, block.norm3, block.norm4
        self.to_image = self.to_image_form(block.cross_attn_token_to_image)
        self.to_tokens = self.to_tokens_form(block.cross_attn_image_to_token)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """See `TwoWayAttentionBlock.forward`. image: (M,h*w,256), of which M is 1 where prompts share it."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens, placed = self.norm1(tokens), image + image_pe
        tokens = self.norm2(tokens + self.to_image(tokens + token_pe, placed, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.to_tokens(placed, tokens + token_pe, tokens)
        return tokens, self.normed(image)

    def normed(self, image: Tensor) -> Tensor:
        """The norm of pixels (B,h*w,256)."""
        # Reshaped, the sum and its norm stay two ops; fused by ONNX Runtime they are slower (docs/performance.md).
        normed: Tensor = self.norm4(image.reshape(-1, CHANNELS))
        return normed.reshape(image.shape)


class Upscale(nn.Module):
    """`output_upscaling` of pixels (B,h*w,256). Returns (B,h*w*16,32).

    Each pixel becomes 2 x 2, row by row, and each of those again.
    """

    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        first, norm, _, second, _ = layers
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, LayerNorm2d)
        assert isinstance(second, nn.ConvTranspose2d)
        self.norm = nn.LayerNorm(CHANNELS // 4, norm.eps)
        self.norm.weight, self.norm.bias = norm.weight, norm.bias
        for name, layer in (("first", first), ("second", second)):
            matrix = layer.weight.detach().permute(0, 2, 3, 1).flatten(1)  # (I,O,2,2) to (I,4 * O): a pixel's four
            self.register_buffer(name, matrix.contiguous())
            assert layer.bias is not None
            self.register_buffer(f"{name}_bias", layer.bias.detach().repeat(4))

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        count = pixels.shape[1]
        x = pixels @ self.first + self.first_bias
        x = F.gelu(self.norm(x.reshape(-1, count * 4, CHANNELS // 4)))
        return F.gelu(x @ self.second + self.second_bias).reshape(-1, count * 16, CHANNELS // 8)


class MaskDecoderGraph(nn.Module):
    """`embedding`, `sparse` and `dense` to `masks` and `scores`; the positions of the embedding are a constant."""

    image_pe: Tensor
    learned: Tensor
    block: type[Block] = Block

    def __init__(self, model: MergedModel, size: Size) -> None:
        super().__init__()
        decoder: MaskDecoder = model.mask_decoder
        self.rows, self.columns = grid(size)
        positions = model.prompt_encoder.grid_positions(self.rows, self.columns).detach()
        self.register_buffer("image_pe", positions.flatten(2).transpose(1, 2).contiguous())
        self.register_buffer(
            "learned", torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).detach()[None]
        )
        transformer = decoder.transformer
        self.blocks = nn.ModuleList(self.block(each) for each in transformer.layers)  # type: ignore[arg-type]
        self.last = self.block.to_image_form(transformer.final_attn_token_to_image)
        self.norm = transformer.norm_final_attn
        self.upscale, self.prior = self.upscaling(decoder.output_upscaling), decoder.prior
        self.kernels, self.score = decoder.output_hypernetworks_mlps, decoder.iou_prediction_head

    def upscaling(self, layers: nn.Sequential) -> nn.Module:
        """The form of `output_upscaling`."""
        return Upscale(layers)

    def forward(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        tokens = torch.cat([self.learned.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        image, out = (embedding + dense).reshape(-1, CHANNELS, self.rows * self.columns).transpose(1, 2), tokens
        for block in self.blocks:
            out, image = block(out, image, tokens, self.image_pe)
        out = self.norm(out + self.last(out + tokens, image + self.image_pe, image))
        kernels = torch.stack([mlp(out[:, 1 + i]) for i, mlp in enumerate(self.kernels)], dim=1)
        masks = self.drawn(kernels, image)
        if self.prior is not None:
            masks = self.prior(masks, dense)
        return masks, self.score(out[:, 0])

    def drawn(self, kernels: Tensor, image: Tensor) -> Tensor:
        """Low-res masks (B,4,4h,4w): the products of kernels (B,4,32) with the upscaled pixels (B,h*w,256)."""
        masks = kernels @ self.upscale(image).transpose(1, 2)  # (B,4,h*w*16)
        # (h, w, row, column, row, column) to (h, row, w, column, row, column), and to (h, row, row, w, column, column).
        masks = masks.reshape(-1, self.columns, 2, 8).transpose(1, 2)
        masks = masks.reshape(-1, 2 * self.columns, 2, 2).transpose(1, 2)
        return masks.reshape(-1, MASKS, self.rows * 4, self.columns * 4)
