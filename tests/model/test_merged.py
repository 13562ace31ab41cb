"""The merged model against segment_anything and open_clip, on the same weights."""

from __future__ import annotations

import copy

import numpy as np
import open_clip
import pytest
import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.image_encoder import Attention as SamAttention
from segment_anything.modeling.image_encoder import ImageEncoderViT, get_rel_pos
from support import TOLERANCE, off, spread
from torch.nn import functional as F
from vit_b import VitB

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sizes import grid
from samclip_edge.model.clip_head import ClipHead
from samclip_edge.model.vit import Attention, relative_positions
from samclip_edge.photo.frame import Frame


@pytest.mark.parametrize("side", [1, 5, 14, 32, 64, 70])
def test_relative_positions_are_those_of_sam(side: int) -> None:
    table = torch.randn(127, 8, generator=torch.Generator().manual_seed(side))
    torch.testing.assert_close(relative_positions(table, side, side), get_rel_pos(side, side, table), rtol=0, atol=0)


@pytest.mark.parametrize("side", [6, 4, 7])
def test_attention_is_that_of_sam(side: int) -> None:
    theirs = SamAttention(32, num_heads=4, use_rel_pos=True, input_size=(6, 6))
    ours = Attention(32, heads=4, side=6)
    spread(theirs, seed=1)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, side, side, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert off(theirs(x), ours(x)) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(4, 6), (6, 3)])
def test_a_map_that_is_no_square_has_the_relative_positions_of_a_part_of_one(height: int, width: int) -> None:
    """SAM's own code stretches the table of a shorter axis, so that a step would mean more there. It gets a cut one."""
    ours = Attention(32, heads=4, side=6)
    spread(ours, seed=1)
    theirs = SamAttention(32, num_heads=4, use_rel_pos=True, input_size=(height, width))
    state = ours.state_dict()
    for name, count in (("rel_pos_h", height), ("rel_pos_w", width)):  # row 5 is that of an offset of 0
        state[name] = state[name][5 - (count - 1) : 5 + count]
    theirs.load_state_dict(state)
    x = torch.randn(2, height, width, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert off(theirs(x), ours(x)) < 1e-5


def test_encoder_at_1024_is_that_of_sam(vit_b: VitB, sam: Sam, photos: dict[str, np.ndarray]) -> None:
    pixels = photos["landscape"]
    image = torch.from_numpy(Frame.of(pixels, 1024).image(pixels))
    with torch.inference_mode():
        tokens, embedding = vit_b.torch.image_encoder(image)
        theirs = sam.image_encoder((image - sam.pixel_mean) / sam.pixel_std)
        assert off(theirs, embedding) < TOLERANCE
        assert off(theirs, sam.image_encoder.neck(tokens)) < TOLERANCE  # tokens are what goes into the neck


@pytest.mark.parametrize("size", [224, 336, 448])
def test_encoder_at_smaller_sizes_is_sams_with_positions_resized(vit_b: VitB, sam: Sam, size: int) -> None:
    """SAM's own code resizes relative positions and pads windows; only its absolute positions are fixed to 1024."""
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(size)) * 255
    encoder = ImageEncoderViT(
        embed_dim=768, depth=12, num_heads=12, out_chans=256, use_rel_pos=True, window_size=14,
        global_attn_indexes=(2, 5, 8, 11), norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6),
    ).eval()  # fmt: skip
    encoder.load_state_dict(sam.image_encoder.state_dict())
    table = encoder.pos_embed.detach().permute(0, 3, 1, 2)
    table = F.interpolate(table, (size // 16, size // 16), mode="bicubic", antialias=True, align_corners=False)
    encoder.pos_embed = torch.nn.Parameter(table.permute(0, 2, 3, 1))
    with torch.inference_mode():
        theirs = encoder((image - sam.pixel_mean) / sam.pixel_std)
        assert off(theirs, vit_b.torch.image_encoder(image)[1]) < TOLERANCE


@pytest.mark.parametrize("with_box", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_prompt_encoder_is_that_of_sam(vit_b: VitB, sam: Sam, with_box: bool, with_mask: bool) -> None:
    random = torch.Generator().manual_seed(3)
    points, kinds = torch.rand(2, 3, 2, generator=random) * 1000, torch.tensor([[1, 0, 1], [0, 1, 1]])
    corners = torch.tensor([[[10.0, 20.0], [500.0, 600.0]], [[0.0, 0.0], [1024.0, 1024.0]]])
    mask = torch.randn(2, 1, 256, 256, generator=random)
    last = (corners, torch.tensor([[2, 3], [2, 3]])) if with_box else (torch.zeros(2, 1, 2), -torch.ones(2, 1))
    with torch.inference_mode():
        boxes = corners.reshape(2, 4) if with_box else None
        theirs = sam.prompt_encoder(points=(points, kinds), boxes=boxes, masks=mask if with_mask else None)
        sparse, dense = vit_b.torch.prompt_encoder(
            torch.cat([points, last[0]], dim=1),
            torch.cat([kinds, last[1]], dim=1),
            mask,
            torch.tensor([float(with_mask)]),
        )
    assert off(theirs[0], sparse) < 1e-5
    assert off(theirs[1], dense.expand(2, -1, 64, 64)) < 1e-5


def test_mask_decoder_is_that_of_sam(vit_b: VitB, sam: Sam) -> None:
    random = torch.Generator().manual_seed(4)
    embedding, dense = (torch.randn(b, 256, 64, 64, generator=random) for b in (1, 3))
    sparse = torch.randn(3, 5, 256, generator=random)
    with torch.inference_mode():
        image_pe = sam.prompt_encoder.get_dense_pe()
        theirs = sam.mask_decoder.predict_masks(embedding, image_pe, sparse, dense)
        ours = vit_b.torch.decode_masks(embedding, sparse, dense)
    for a, b in zip(theirs, ours, strict=True):
        assert off(a, b) < TOLERANCE


@pytest.mark.parametrize("quick", [False, True])
def test_text_encoder_is_that_of_open_clip(clip: open_clip.CLIP, quick: bool) -> None:
    from samclip_edge.model.text_encoder import TextEncoder

    spec = PRESETS["vit_b"]
    if quick:
        text = {"width": 64, "heads": 4, "layers": 2, "context_length": 77, "vocab_size": 49408}
        vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16}
        clip = open_clip.CLIP(embed_dim=768, vision_cfg=vision, text_cfg=text, quick_gelu=True).eval()
        spread(clip, seed=8)
        small = spec.text.model_copy(update={"width": 64, "heads": 4, "depth": 2, "activation": "quick_gelu"})
        spec = spec.model_copy(update={"text": small})
    ours = TextEncoder(spec).eval()
    ours.load_state_dict({k: v for k, v in clip.state_dict().items() if not k.startswith("visual.")})
    tokens = open_clip.get_tokenizer("ViT-L-14")(["a dog", "", "x " * 200, "two <end_of_text> ends", "café 😀"])
    with torch.inference_mode():
        assert off(clip.encode_text(tokens, normalize=True), ours(tokens)) < TOLERANCE


def test_clip_head_pools_norms_and_projects() -> None:
    """With its transformer layers taken out, against the words of Sec. 4.1 and Appendix A spelled out."""
    head = ClipHead(PRESETS["tiny"]).eval()
    spread(head, seed=9)
    head.blocks = torch.nn.ModuleList()
    head.max_grid = 4
    tokens = torch.randn(2, 128, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        image, patches = head(tokens)
        small = tokens.reshape(2, 128, 4, 2, 4, 2).mean(dim=(3, 5))

        def project(x: torch.Tensor) -> torch.Tensor:
            x = F.layer_norm(x, (128,), head.norm.weight, head.norm.bias, 1e-6)
            for index, layer in enumerate(head.mlp.layers):
                x = F.gelu(layer(x)) if index < 2 else layer(x)
            return x / x.norm(dim=-1, keepdim=True)

        torch.testing.assert_close(image, project(small.flatten(2).max(dim=2).values))
        torch.testing.assert_close(patches.permute(0, 2, 3, 1), project(small.permute(0, 2, 3, 1)))
    assert len(head.mlp.layers) == 3, "two hidden layers"


def test_clip_head_starts_from_sams_last_layer(vit_b: VitB, sam: Sam) -> None:
    from samclip_edge.model.merged import start_clip_head

    model = copy.deepcopy(vit_b.torch)  # which other tests look at
    start_clip_head(model)
    last = sam.image_encoder.blocks[-1].state_dict()
    assert len(model.clip_head.blocks) == 3
    for block in model.clip_head.blocks:
        assert {k: v.tolist() for k, v in block.state_dict().items() if v.ndim == 1} == {
            k: v.tolist() for k, v in last.items() if v.ndim == 1
        }
        assert all(torch.equal(value, last[name]) for name, value in block.state_dict().items())


def test_vit_b_has_the_sizes_of_the_paper() -> None:
    spec = PRESETS["vit_b"]
    assert [spec.feature_grid(size) for size in spec.sizes] == [(14, 14), (21, 21), (28, 28), (32, 32)]
    assert grid(1024) == (64, 64)
