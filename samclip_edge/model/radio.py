"""C-RADIO's image encoder: a plain ViT that was taught by CLIP, DINOv2 and SAM at once (arXiv 2312.06709, 2412.07679).

Names of the trunk are those of the released files, whose reference is `transformers.RadioModel`. The adaptors are
written from the papers and from the files' documents. In front of the patches stand a cls token for each teacher and
some register tokens. No norm follows the last layer.

The contract has one output for both CLIP features and masks, so `tokens` carries two things: in its first half the
patches, and in its second half the summary, a cls token, the same in every cell.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.encoder_spec import RadioSpec
from samclip_edge.bundle.sizes import PATCH
from samclip_edge.bundle.spec import CLIP_MEAN, CLIP_STD
from samclip_edge.model.image_encoder import ImageEncoder


class Adaptor(nn.Module):
    """An MLP from the trunk's features to a teacher's: a linear layer, residual blocks, and a last block.

    A block is LayerNorm, GELU and a linear layer.
    """

    def __init__(self, width: int, hidden: int, blocks: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.blocks = nn.ModuleList(_block(hidden, hidden) for _ in range(blocks))
        self.final = _block(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., out)."""
        x = self.fc1(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.final(x)
        return out


def _block(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, out))


class Attention(nn.Module):
    """Multi-head self-attention, each token to all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,D) to the same shape."""
        batch, count, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        taken = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(taken.transpose(1, 2).reshape(batch, count, width))
        return out


class Mlp(nn.Module):
    """The MLP of a layer, under timm's names."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,D) to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchGenerator(nn.Module):
    """Makes tokens of pixels: a linear map of each patch, its position, and the tokens in front."""

    def __init__(self, spec: RadioSpec) -> None:
        super().__init__()
        self.embedder = nn.Linear(3 * PATCH**2, spec.trunk, bias=False)
        self.pos_embed = nn.Parameter(torch.zeros(1, spec.grid**2, spec.trunk))
        self.cls_token = nn.ParameterDict({"token": torch.zeros(spec.prefix, spec.trunk)})
        self.grid = spec.grid

    def kernel(self) -> Tensor:
        """The weights of `embedder` as a convolution's (D,3,16,16): it reads a patch channel by channel."""
        return self.embedder.weight.reshape(-1, 3, PATCH, PATCH)

    def position_table(self, height: int, width: int) -> Tensor:
        """The positions (1,D,h,w): the table resized (bilinear) to the longer side, of which the top left part counts.

        Source: `RadioPatchEmbeddings` of transformers.
        """
        side = max(height, width)
        table = self.pos_embed.transpose(1, 2).reshape(1, -1, self.grid, self.grid)
        if side != self.grid:
            table = F.interpolate(table, size=(side, side), mode="bilinear", align_corners=False)
        return table[:, :, :height, :width]

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (B,3,H,W) to tokens (B,T,D): those in front, then the patches row by row."""
        x = F.conv2d(pixels, self.kernel(), stride=PATCH)
        x = (x + self.position_table(x.shape[2], x.shape[3])).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token["token"].expand(len(x), -1, -1), x], dim=1)


class Encoder(ImageEncoder):
    """The trunk, and for masks the `sam` adaptor in front of SAM ViT-H's neck."""

    def __init__(self, spec: RadioSpec) -> None:
        super().__init__(spec.sam.out)
        self.trunk, self.prefix, self.summary = spec.trunk, spec.prefix, spec.summary
        self.patch_generator = PatchGenerator(spec)
        self.blocks = nn.ModuleList(Block(spec.trunk, spec.heads, spec.mlp_ratio) for _ in range(spec.depth))
        self.sam_adaptor = Adaptor(spec.trunk, spec.sam.hidden, spec.sam.blocks, spec.sam.out)
        self.pixel_mean = torch.tensor(spec.mean or CLIP_MEAN).view(1, 3, 1, 1)
        self.pixel_std = torch.tensor(spec.std or CLIP_STD).view(1, 3, 1, 1)

    def tokens(self, image: Tensor) -> Tensor:
        """See `ImageEncoder.tokens`: the patches, and after them the summary, the same in every cell."""
        height, width = (side // PATCH for side in image.shape[2:])
        x = self.patch_generator((image - self.pixel_mean) / self.pixel_std)
        for block in self.blocks:
            x = block(x)
        patches = x[:, self.prefix :].transpose(1, 2).reshape(len(x), -1, height, width)
        return torch.cat([patches, x[:, self.summary, :, None, None].expand_as(patches)], dim=1)

    def embedding(self, tokens: Tensor) -> Tensor:
        """See `ImageEncoder.embedding`: the `sam` adaptor on each patch, then the neck."""
        patches = tokens[:, : self.trunk].permute(0, 2, 3, 1)
        out: Tensor = self.neck(self.sam_adaptor(patches).permute(0, 3, 1, 2))
        return out

    def of_sam(self) -> dict[str, nn.Module]:
        """See `ImageEncoder.of_sam`: the neck alone, of SAM ViT-H."""
        return {"neck.": self.neck}

    @property
    def layers(self) -> nn.ModuleList:
        """See `ImageEncoder.layers`."""
        return self.blocks
