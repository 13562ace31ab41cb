"""The graphs as the GPUs of phones take them: four dimensions at most, of which the first is 1 where a call has one
prompt or one text.

They have the weights and the answers of the model, and are good on a CPU too, where a call may have several prompts. A
test compares every module with the model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.contract import NOTHING, GraphName
from samclip_edge.bundle.sizes import PATCH, Size, grid
from samclip_edge.bundle.spec import CHANNELS
from samclip_edge.export.forms import efficientnet_lite, fixed_size, mask_decoder, radio
from samclip_edge.export.forms.batch_of_one import gpu_blocks
from samclip_edge.export.forms.channels_first import unit
from samclip_edge.export.forms.encoders import mobile_gpu_encoder
from samclip_edge.model.clip_head import ClipHead, halved
from samclip_edge.model.guidance import BOUNDS, FINE, OWN, REACH, STEEP, Guidance, Prior
from samclip_edge.model.mask_decoder import MASKS, Attention
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.prompt_encoder import PromptEncoder


class Upscaling(nn.Module):
    """`output_upscaling` of pixels (B,h*w,256) as it was trained, by transposed convolutions. Returns (B,h*w*16,32)."""

    def __init__(self, layers: nn.Sequential, cells: tuple[int, int]) -> None:
        super().__init__()
        self.layers, self.cells = layers, cells

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class. Rows of the upscaled map come one after another."""
        maps = self.layers(pixels.reshape(-1, *self.cells, CHANNELS).permute(0, 3, 1, 2))
        return maps.permute(0, 2, 3, 1).reshape(len(pixels), -1, CHANNELS // 8)


class TokensToImage(mask_decoder.TokensToImage):
    """The same with its constant on the right of the product, where the GPU takes one."""

    def __init__(self, attention: Attention) -> None:
        """Share the weights of `attention`."""
        super().__init__(attention)
        self.values, self.bias = (each.transpose(1, 2).contiguous() for each in (self.values, self.bias))

    def valued(self, taken: Tensor) -> Tensor:
        """See `mask_decoder.TokensToImage.valued`."""
        return (taken @ self.values + self.bias).transpose(2, 3)


class ImageToTokens(mask_decoder.ImageToTokens):
    """`mask_decoder.ImageToTokens`, whose last product has a matrix for each head.

    There values are multiplied by 0 and 1. For that the converter may leave out their first dimension; and then the GPU
    takes the second, tokens, for a batch, and computes wrongly.
    """

    back_by_head: Tensor

    def __init__(self, attention: Attention) -> None:
        """Share the weights of `attention`."""
        super().__init__(attention)
        self.register_buffer(
            "back_by_head", self.back.detach().reshape(CHANNELS, self.heads, -1).permute(1, 2, 0).contiguous()
        )

    def given_back(self, values: Tensor) -> Tensor:
        """See `mask_decoder.ImageToTokens.given_back`."""
        batch, count, _ = values.shape
        apart = values.reshape(batch, count, self.heads, -1).transpose(1, 2)
        return (apart @ self.back_by_head).reshape(batch, self.heads * count, CHANNELS)


class TwoWayBlock(mask_decoder.Block):
    """The block of `forms.mask_decoder`, which keeps the dimensions of its pixels."""

    to_image_form = TokensToImage
    to_tokens_form = ImageToTokens

    def normed(self, image: Tensor) -> Tensor:
        """See `mask_decoder.Block.normed`."""
        normed: Tensor = self.norm4(image)
        return normed


class GpuPrior(nn.Module):
    """`Prior` without a choice between tensors of two shapes."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.map = prior.map

    def forward(self, masks: Tensor, dense: Tensor) -> Tensor:
        """See `Prior.forward`."""
        bounds = F.pixel_shuffle(dense[:, -BOUNDS:], FINE)
        least = REACH * STEEP
        own = (bounds > OWN / 2).to(masks.dtype)
        kept = torch.minimum(masks + self.map(dense), least * bounds)
        return own * (least * (bounds - OWN)) + (1 - own) * kept


class MaskDecoderGraph(mask_decoder.MaskDecoderGraph):
    """`embedding`, `sparse` and `dense` to `masks` and `scores`."""

    block = TwoWayBlock

    def __init__(self, model: MergedModel, size: Size) -> None:
        super().__init__(model, size)
        if self.prior is not None:
            self._modules["prior"] = GpuPrior(self.prior)

    def upscaling(self, layers: nn.Sequential) -> nn.Module:
        """See `mask_decoder.MaskDecoderGraph.upscaling`."""
        return Upscaling(layers, (self.rows, self.columns))

    def drawn(self, kernels: Tensor, image: Tensor) -> Tensor:
        """See `mask_decoder.MaskDecoderGraph.drawn`."""
        masks = (self.upscale(image) @ kernels.transpose(1, 2)).transpose(1, 2)
        return masks.reshape(-1, MASKS, 4 * self.rows, 4 * self.columns)


class GpuGuidance(Guidance):
    """`Guidance` for one map size, without a broadcast and without a ReLU that ends at 1."""

    column: Tensor
    row: Tensor

    def __init__(self, source: Guidance, cells: tuple[int, int]) -> None:
        """Share the weights of `source`, for maps of `cells`, rows and columns."""
        super().__init__(1)
        self.hidden, self.out = source.hidden, source.out
        self.register_buffer("column", torch.ones(1, FINE, 1, cells[0]))
        self.register_buffer("row", torch.ones(1, FINE, 1, cells[1]))

    def whole(self, x: Tensor, height: int, width: int) -> Tensor:
        """See `Guidance.whole`: products with ones, as many as x has channels, 1 or `FINE`.

        With one for all channels, LiteRT's GPU takes the product and gives wrong values.
        """
        channels = x.shape[1]
        x = (x.transpose(2, 3) @ self.column[:, :channels]).transpose(2, 3) if x.shape[2] == 1 else x
        return x @ self.row[:, :channels] if x.shape[3] == 1 else x

    def spread(self, x: Tensor, height: int, width: int) -> Tensor:
        """See `Guidance.spread`."""
        return self.whole(x, height, width)

    def share(self, x: Tensor) -> Tensor:
        """See `Guidance.share`."""
        return F.relu(x) - F.relu(x - 1)


class PromptEncoderGraph(nn.Module):
    """`points`, `labels`, `mask` and `has_mask` to `sparse` and `dense`."""

    turns: Tensor
    start: Tensor
    learned: Tensor
    no_mask: Tensor

    def __init__(self, source: PromptEncoder, cells: tuple[int, int]) -> None:
        """Share the weights of `source`, for maps of `cells`, rows and columns."""
        super().__init__()
        self.downscaling = source.mask_downscaling
        # The angles of positions are 2 pi (2 (points + 0.5) / side - 1) G. The converter would make one product of it.
        frequencies = 2 * math.pi * source.pe_layer.positional_encoding_gaussian_matrix.detach().double()
        side = PATCH * max(cells)
        self.register_buffer("turns", (2 / side * frequencies).float())
        self.register_buffer("start", ((1 / side - 1) * frequencies.sum(dim=0)).float())
        self.guidance = None if source.guidance is None else GpuGuidance(source.guidance, cells)
        embeddings = [source.not_a_point_embed, *source.point_embeddings]  # of the labels -1 to 3
        self.register_buffer("learned", torch.cat([each.weight.detach() for each in embeddings])[:, None, None])
        self.register_buffer("no_mask", source.no_mask_embed.weight.detach()[:, :, None, None])

    def forward(self, points: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        kind = labels[..., None]
        angles = points @ self.turns + self.start
        sparse = torch.cat([angles.sin(), angles.cos()], dim=-1) * (kind != NOTHING).to(points.dtype)
        for label, embedding in enumerate(self.learned, NOTHING):
            sparse = sparse + (kind == label).to(points.dtype) * embedding
        given = (has_mask > 0.5).to(mask.dtype)[:, None, None, None]
        dense = given * self.downscaling(mask) + (1 - given) * self.no_mask
        return sparse, dense if self.guidance is None else self.guidance(dense, points, labels)


class ClipHeadGraph(nn.Module):
    """`tokens` to `image_features` and `patch_features`."""

    def __init__(self, model: MergedModel, size: Size) -> None:
        super().__init__()
        head, cells = model.clip_head, model.spec.feature_grid(size)
        assert isinstance(head, ClipHead)
        self.pool, self.norm, self.mlp = grid(size) != cells, head.norm, head.mlp
        self.blocks = gpu_blocks(head.blocks, cells)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        x = (halved(tokens) if self.pool else tokens).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        pooled = self.mlp(self.norm(x.amax(dim=(1, 2))))
        return unit(pooled), unit(self.mlp(self.norm(x)).permute(0, 3, 1, 2))


def graph_module(model: MergedModel, name: GraphName, size: Size | None) -> nn.Module:
    """The module to convert for a graph of the contract, in evaluation mode."""
    if name == "prompt_encoder" and size is not None:
        return PromptEncoderGraph(model.prompt_encoder, grid(size)).eval()
    if size is None:
        return fixed_size.graph_module(model, name, size)
    heads = {"layers": ClipHeadGraph, "adaptor": radio.NeuralEngineHead, "classes": efficientnet_lite.MobileGpuHead}
    head = heads[model.spec.clip_head.kind]
    sized = {"image_encoder": mobile_gpu_encoder, "clip_head": head, "mask_decoder": MaskDecoderGraph}
    return sized[name](model, size).eval()
