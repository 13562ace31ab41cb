"""The merged model: one image encoder, SAM's prompt encoder and mask decoder, the CLIP head, and CLIP's text tower.

If the spec has `clip_vision`, the same class holds SAM and CLIP side by side: CLIP's own image tower (`visual`) takes
the place of the CLIP head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.model.class_head import ClassHead
from samclip_edge.model.clip_head import ClipHead
from samclip_edge.model.clip_vision import image_tower
from samclip_edge.model.image_encoder import image_encoder
from samclip_edge.model.mask_decoder import MaskDecoder
from samclip_edge.model.prompt_encoder import PromptEncoder
from samclip_edge.model.radio_head import RadioHead
from samclip_edge.model.text_encoder import TextEncoder
from samclip_edge.text.tokenizer import Tokenizer

_HEADS: dict[str, type[ClipHead | RadioHead | ClassHead]] = {
    "layers": ClipHead,
    "adaptor": RadioHead,
    "classes": ClassHead,
}


class MergedModel(nn.Module):
    """SAM-CLIP (Fig. 2). Its parts carry the names of SAM's, so SAM's own state dict fits key for key."""

    clip_head: ClipHead | RadioHead | ClassHead
    visual: nn.Module  # CLIP's own image tower, as open_clip builds it

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.image_encoder = image_encoder(spec.encoder)
        if spec.clip_vision:
            self.visual = image_tower(spec.clip_vision, spec.features, spec.text.activation == "quick_gelu")
        else:
            self.clip_head = _HEADS[spec.clip_head.kind](spec)
        self.prompt_encoder = PromptEncoder(spec.guidance)
        self.mask_decoder = MaskDecoder(spec.decoder, prior=spec.guidance > 0)
        self.text_encoder = TextEncoder(spec)
        self.own_tokenizer: str | None = None  # the text of a `tokenizer.json`, where `spec.text` has not CLIP's

    def tokenizer(self) -> Tokenizer:
        """What makes token ids of texts for the text encoder."""
        return Tokenizer.of(self.spec.text, self.own_tokenizer)

    def decode_masks(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """The `mask_decoder` graph: low-res masks (B,4,4h,4w), logits, and predicted IoUs (B,4) for B prompts.

        embedding: (1,256,h,w); in training it may be (B,256,h,w), one for each prompt. sparse, dense: from the prompt
        encoder.
        """
        image_pe = self.prompt_encoder.grid_positions(*embedding.shape[2:])
        masks: tuple[Tensor, Tensor] = self.mask_decoder(embedding, image_pe, sparse, dense)
        return masks


_TABLES = ("pos_embed", "rel_pos_h", "rel_pos_w", "positional_embedding")


@torch.no_grad()
def random_init(model: MergedModel, seed: int) -> None:
    """Fill a model with random weights that training can start from, the same for the same seed.

    Biases are 0 and norm weights 1. Position tables and embeddings are normal with a standard deviation of 0.02, all
    other weights with one of 1 / sqrt(3 * inputs), the same as in torch's default initialisation.
    """
    generator = torch.Generator().manual_seed(seed)
    embeddings = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Embedding)}
    for name, tensor in model.state_dict().items():
        if name.endswith(("logit_scale", "logit_bias")) or not tensor.is_floating_point():  # of BatchNorm, a count
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
    """Copy the last layer of SAM's encoder into every layer of the CLIP head (Sec. 4.1), as far as it fits.

    Of a head of classes, what is to start at 0 is set to 0. C-RADIO's stays as it is.
    If that layer attends within windows, its relative positions are not copied: their tables have another length.
    """
    if isinstance(model.clip_head, ClassHead):
        model.clip_head.begin()
    if not isinstance(model.clip_head, ClipHead):
        return
    last = model.image_encoder.last_layer()
    for block in model.clip_head.blocks:
        for name, tensor in block.state_dict().items():
            if name in last and tensor.shape == last[name].shape:
                tensor.copy_(last[name])
