"""The export-friendly forms of `model/vit.py`: for one input size, and in the layout of the Neural Engine."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from samclip_edge.export.forms.attention import fix_blocks
from samclip_edge.export.forms.batch_of_one import gpu_blocks
from samclip_edge.export.forms.channels_first import MapBlock, with_channel_norms
from samclip_edge.model.vit import Encoder, PatchEmbed


def fixed(encoder: Encoder, height: int, width: int) -> Encoder:
    """The encoder for maps of height x width tokens, sharing its weights."""
    return _with_blocks(encoder, height, width, fix_blocks(encoder.blocks, height, width))


def mobile_gpu(encoder: Encoder, height: int, width: int) -> Encoder:
    """The same as phones' GPUs take it."""
    return _with_blocks(encoder, height, width, gpu_blocks(encoder.blocks, (height, width)))


def _with_blocks(encoder: Encoder, height: int, width: int, blocks: nn.ModuleList) -> Encoder:
    own = copy.copy(encoder)
    own._modules, own._parameters = dict(encoder._modules), dict(encoder._parameters)
    own.blocks = blocks
    table = encoder.position_table(height, width).detach().contiguous()
    own.pos_embed = nn.Parameter(table, requires_grad=False)
    return own


class NeuralEngine(nn.Module):
    """`image` to `tokens` and `embedding`, for maps of height x width tokens."""

    def __init__(self, encoder: Encoder, height: int, width: int) -> None:
        super().__init__()
        self.mean, self.std = encoder.pixel_mean, encoder.pixel_std
        embed = encoder.patch_embed
        self.stem = embed.proj if isinstance(embed, PatchEmbed) else embed.layers
        positions = encoder.position_table(height, width).detach().permute(0, 3, 1, 2).contiguous()
        self.positions = nn.Parameter(positions, requires_grad=False)
        blocks = (MapBlock(block, (height, width)) for block in encoder.blocks)  # type: ignore[arg-type]
        self.blocks = nn.ModuleList(blocks)
        self.neck = with_channel_norms(encoder.neck)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See `contract.signature`."""
        x = self.stem((image - self.mean) / self.std) + self.positions
        for block in self.blocks:
            x = block(x)
        return x, self.neck(x)
