"""The bases: SAM's three files key for key, small ones against SAM's code, and what the list says of each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling.image_encoder import ImageEncoderViT
from support import TOLERANCE, Ran, off, spread
from torch.utils.flop_counter import FlopCounterMode

from samclip_edge.bundle.bases import BASES, SIDE_BY_SIDE
from samclip_edge.bundle.encoder_spec import VitSpec
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.model.image_encoder import image_encoder
from samclip_edge.model.merged import MergedModel

META = torch.device("meta")


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_a_base_has_the_names_and_shapes_of_sams_file(name: str) -> None:
    with META:
        theirs, ours = sam_model_registry[name]().state_dict(), MergedModel(PRESETS[name])
    parts = ("image_encoder", "prompt_encoder", "mask_decoder")
    wanted = {f"{part}.{key}": each for part in parts for key, each in getattr(ours, part).state_dict().items()}
    assert {key: each.shape for key, each in theirs.items()} == {key: each.shape for key, each in wanted.items()}


# A head of 80 channels, as ViT-H's, and of 64 as the others'; at 128 x 128 pixels windows are padded.
@pytest.mark.parametrize(("width", "heads"), [(160, 2), (128, 2)])
def test_a_small_one_answers_as_sams_code(width: int, heads: int) -> None:
    theirs = ImageEncoderViT(
        img_size=128, embed_dim=width, depth=3, num_heads=heads, out_chans=256, use_rel_pos=True, window_size=5,
        global_attn_indexes=(2,), norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6),
    ).eval()  # fmt: skip
    spread(theirs, seed=1)
    spec = VitSpec(width=width, depth=3, heads=heads, window=5, global_layers=(2,), grid=8)
    ours = image_encoder(spec).eval()
    ours.load_state_dict(theirs.state_dict())
    image = 255 * torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert off(theirs((image - ours.pixel_mean) / ours.pixel_std), ours(image)[1]) < TOLERANCE


@pytest.mark.parametrize("name", BASES)
def test_the_list_says_what_a_base_costs(name: str) -> None:
    """Counted on torch's meta device, of the form that is exported."""
    spec = PRESETS[name].encoder
    with META, torch.inference_mode(), FlopCounterMode(display=False) as counter:
        encoder = image_encoder(spec).eval()
        import_module(f"samclip_edge.export.forms.{spec.kind}").fixed(encoder, 64, 64)(torch.zeros(1, 3, 1024, 1024))
    parameters = sum(each.numel() for each in encoder.parameters())
    assert BASES[name].parameters == pytest.approx(parameters / 1e6, abs=0.05)
    assert BASES[name].multiply_adds == pytest.approx(counter.get_total_flops() / 2e9, rel=0.01)


def test_every_preset_is_listed_by_help(run: Callable[..., Ran]) -> None:
    assert {*BASES, SIDE_BY_SIDE} == set(PRESETS)
    told = run("init", "--help").out
    for name, base in BASES.items():
        assert f"  {name} " in told
        assert f"{base.parameters:.1f} M, {base.multiply_adds:,.0f} G" in told
