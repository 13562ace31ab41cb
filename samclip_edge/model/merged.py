"""The merged model: one image encoder, SAM's prompt encoder and mask decoder, the CLIP head, CLIP's text tower.

Or, where the spec says so, SAM and CLIP side by side: `visual`, an image tower of CLIP's own, in place of the head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.model.clip_head import ClipHead
from samclip_edge.model.clip_vision import ClipVision
from samclip_edge.model.image_encoder import ImageEncoder
from samclip_edge.model.mask_decoder import MaskDecoder
from samclip_edge.model.prompt_encoder import PromptEncoder
from samclip_edge.model.text_encoder import TextEncoder


class MergedModel(nn.Module):
    """SAM-CLIP (Fig. 2). Its parts carry the names of SAM's, so SAM's own state dict fits key for key."""

    clip_head: ClipHead
    visual: ClipVision

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.image_encoder = ImageEncoder(spec.encoder)
        if spec.clip_vision:
            self.visual = ClipVision(spec)
        else:
            self.clip_head = ClipHead(spec)
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder(spec.decoder)
        self.text_encoder = TextEncoder(spec)

    def decode_masks(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """The `mask_decoder` graph: masks (B,4,4h,4w) and scores (B,4) for B prompts on one embedding (1,256,h,w).

        In training the embedding may be (B,256,h,w), one for each prompt.
        """
        image_pe = self.prompt_encoder.grid_positions(*embedding.shape[2:])
        masks: tuple[Tensor, Tensor] = self.mask_decoder(embedding, image_pe, sparse, dense)
        return masks


_TABLES = ("pos_embed", "rel_pos_h", "rel_pos_w", "positional_embedding")


@torch.no_grad()
def random_init(model: MergedModel, seed: int) -> None:
    """Fill a model with what training can start from, the same for the same seed.

    Biases are 0 and norms 1; tables of positions and embeddings come from a normal of 0.02, all other weights from one
    of 1 / sqrt(3 * inputs), which is as wide as torch's own.
    """
    generator = torch.Generator().manual_seed(seed)
    embeddings = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Embedding)}
    for name, tensor in model.state_dict().items():
        if name.endswith(("logit_scale", "num_batches_tracked")):
            continue
        if "gaussian_matrix" in name:
            tensor.normal_(generator=generator)
        elif name.endswith(("bias", "running_mean")):
            tensor.zero_()
        elif name.endswith("class_embedding"):
            tensor.normal_(std=0.02, generator=generator)
        elif tensor.ndim == 1:
            tensor.fill_(1.0)
        elif name in embeddings or name.endswith(_TABLES):
            tensor.normal_(std=0.02, generator=generator)
        else:
            tensor.normal_(std=(3 * tensor[0].numel()) ** -0.5, generator=generator)


@torch.no_grad()
def start_clip_head(model: MergedModel) -> None:
    """Copy the last layer of SAM's encoder into every layer of the CLIP head (Sec. 4.1).

    A last layer with windows gives everything but its relative positions, whose tables are of another length.
    """
    last = model.image_encoder.blocks[-1].state_dict()
    for block in model.clip_head.blocks:
        for name, tensor in block.state_dict().items():
            if tensor.shape == last[name].shape:
                tensor.copy_(last[name])
