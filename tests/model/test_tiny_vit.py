"""MobileSAM's encoder against its own code (mobilesam-mirror, imported as `mobile_sam`), on the same weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support import TOLERANCE, Ran, iou, off, spread
from torch import nn
from torch.nn import functional as F

from samclip_edge import data
from samclip_edge.bundle.encoder_spec import TinyVitSpec
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint, vit
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.tiny_vit import Encoder
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.read import read_photo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it registers its models with timm anew
    from mobile_sam import SamPredictor, sam_model_registry
    from mobile_sam.modeling import Sam
    from mobile_sam.modeling.tiny_vit_sam import TinyViT

SMALL = TinyVitSpec(widths=(16, 32, 48, 64), depths=(1, 1, 2, 1), stage_heads=(2, 3, 4), grid=8)


def scattered(model: nn.Module, seed: int) -> nn.Module:
    """Random weights and statistics under which nothing is idle; its tables of biases are gathered anew."""
    spread(model, seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.abs_()
        elif name.endswith("attention_biases"):
            tensor.normal_(generator=torch.Generator().manual_seed(seed))
    return model.train().eval()


def theirs(size: int, spec: TinyVitSpec) -> nn.Module:
    heads, windows = (1, *spec.stage_heads), (7, *spec.windows)  # the first stage has neither
    encoder = TinyViT(size, 3, 10, list(spec.widths), list(spec.depths), heads, windows, drop_path_rate=0.0)
    # Its code takes a stride of 1 into the last stage for the widths of three published models only.
    encoder.layers[2].downsample.conv2.c.stride = (1, 1)
    encoder.layers[1].downsample.conv2.c.stride = (2, 2)
    return scattered(encoder, seed=3)


def ours(reference: nn.Module, spec: TinyVitSpec) -> Encoder:
    """Our encoder with its weights, which must have its names but for those of the classifier."""
    encoder = Encoder(spec).eval()
    state = {k: v for k, v in reference.state_dict().items() if not k.startswith(("head.", "norm_head."))}
    encoder.load_state_dict(state)
    return encoder


@pytest.mark.parametrize("size", [64, 112, 224, 256])
def test_at_any_square_it_is_mobilesams(size: int) -> None:
    """Sizes with windows that are larger than the map, that fit, and that are padded."""
    reference = theirs(size, SMALL)
    image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size)) * 255
    encoder = ours(reference, SMALL)
    with torch.inference_mode():
        x = reference.patch_embed((image - encoder.pixel_mean) / encoder.pixel_std)
        for layer in reference.layers:
            x = layer(x)
        wanted = x.unflatten(1, (size // 16, size // 16)).permute(0, 3, 1, 2)
        tokens, embedding = encoder(image)
        assert off(wanted, tokens) < TOLERANCE
        assert off(reference.neck(wanted), embedding) < TOLERANCE


def test_a_map_that_is_no_square_is_padded_on_each_axis_by_itself() -> None:
    """Their code takes `input_resolution` as rows and columns, though their model only ever gives it squares."""
    reference, height, width = theirs(256, SMALL), 144, 272
    encoder = ours(reference, SMALL)
    for index, stride in enumerate((4, 8, 16, 16)):
        layer = reference.layers[index]
        for part in (*layer.blocks, *([layer.downsample] if layer.downsample else [])):
            part.input_resolution = (height // stride, width // stride)
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255
    with torch.inference_mode():
        x = reference.patch_embed((image - encoder.pixel_mean) / encoder.pixel_std)
        for layer in reference.layers:
            x = layer(x)
        wanted = x.unflatten(1, (height // 16, width // 16)).permute(0, 3, 1, 2)
        assert off(wanted, encoder.tokens(image)) < TOLERANCE


@pytest.fixture(scope="module")
def mobile_sam() -> Sam:
    model = sam_model_registry["vit_t"]()
    scattered(model, seed=4)
    return model


@pytest.fixture(scope="module")
def model(mobile_sam: Sam) -> MergedModel:
    """`mobile` of the reference's own state dict, beside a small text tower."""
    spec = PRESETS["mobile"].model_copy(update={"text": PRESETS["tiny"].text})
    made = MergedModel(spec).eval()
    checkpoint.load_sam(made, mobile_sam.state_dict(), "mobile_sam.pt")
    return made


def test_its_own_size_encodes_and_masks_a_photo_as_mobilesam(mobile_sam: Sam, model: MergedModel) -> None:
    pixels = read_photo(data.photos()[0])
    frame = Frame.of(pixels, 1024)
    predictor = SamPredictor(mobile_sam)
    predictor.set_image(pixels)
    with torch.inference_mode():
        tokens, embedding = model.image_encoder(torch.from_numpy(frame.image(pixels)))
        assert tokens.shape == (1, 320, 64, 64)
        assert off(predictor.features, embedding) < TOLERANCE
        assert off(predictor.features, mobile_sam.image_encoder.neck(tokens)) < TOLERANCE
        height, width = pixels.shape[:2]
        for x, y in ((0.3, 0.4), (0.7, 0.6)):
            point = np.array([[x * width, y * height]])
            masks, scores, low = predictor.predict(point, np.array([1]), multimask_output=True)
            scaled = torch.from_numpy(predictor.transform.apply_coords(point, (height, width))).float()
            given = torch.cat([scaled, torch.zeros(1, 2)])[None], torch.tensor([[1, -1]])
            sparse, dense = model.prompt_encoder(*given, torch.zeros(1, 1, 256, 256), torch.zeros(1))
            got, ious = model.decode_masks(embedding, sparse, dense)
            assert off(low, got[0, 1:]) < 1e-3
            assert off(scores, ious[0, 1:]) < 1e-3
            for theirs_, logits in zip(masks, got[0, 1:], strict=True):
                large = F.interpolate(logits[None, None], (1024, 1024), mode="bilinear", align_corners=False)
                rows, columns = predictor.input_size
                cut = F.interpolate(large[..., :rows, :columns], (height, width), mode="bilinear", align_corners=False)
                assert iou(theirs_, (cut[0, 0] > 0).numpy()) >= 0.99


def test_it_has_the_parameters_that_are_claimed(mobile_sam: Sam, model: MergedModel) -> None:
    claimed = sum(each.numel() for each in mobile_sam.image_encoder.parameters())
    classifier = 320 * 2 + 320 * 1000 + 1000  # norm_head, and head for a thousand classes
    assert sum(each.numel() for each in model.image_encoder.parameters()) == claimed - classifier == 5_743_892


def test_a_clip_head_layer_starts_as_the_last_block_without_its_window() -> None:
    """On one window, with its learned biases and convolution taken out, the last block is a layer of `vit`."""
    encoder = Encoder(SMALL).eval()
    scattered(encoder, seed=5)
    last, layer = encoder.stages[-1].blocks[-1], vit.Block(64, heads=4, mlp_ratio=4.0, window=0, side=8).eval()
    given = encoder.last_layer()
    missing, unexpected = layer.load_state_dict(given, strict=False)
    assert (missing, unexpected) == (["attn.rel_pos_h", "attn.rel_pos_w"], [])
    nn.init.zeros_(last.attn.attention_biases)
    last.local_conv = nn.Identity()
    x = torch.randn(2, 64, 7, 7, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        assert off(last(x), layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)) < TOLERANCE  # but for its norms' epsilon


def test_training_may_recompute_each_block() -> None:
    encoder = Encoder(SMALL)
    assert len(encoder.layers) == sum(SMALL.depths)
    assert {id(each) for each in encoder.layers} == {
        id(block) for stage in encoder._modules["layers"] for block in stage.blocks
    }


def test_init_makes_the_checkpoint_of_mobilesams_file(
    mobile_sam: Sam, tmp_path: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "mobile", PRESETS["mobile"].model_copy(update={"text": PRESETS["tiny"].text}))
    weights, made = tmp_path / "mobile_sam.pt", tmp_path / "mobile.safetensors"
    torch.save(mobile_sam.state_dict(), weights)
    ran = run("init", "--preset", "mobile", "--sam", weights, "-o", made)
    assert ran.code == 0, ran.err
    model, origin = checkpoint.load(made)
    assert origin.trained_at == (1024,)
    for name, tensor in mobile_sam.state_dict().items():
        if name in model.state_dict():
            assert torch.equal(tensor, model.state_dict()[name]), name
    ran = run("init", "--preset", "tiny", "--sam", weights, "-o", tmp_path / "tiny.safetensors")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "MobileSAM, which does not fit the preset tiny" in ran.err


def test_what_does_not_fit_names_the_file_that_does() -> None:
    state = {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}
    model = MergedModel(PRESETS["mobile"].model_copy(update={"text": PRESETS["tiny"].text}))
    with pytest.raises(InputError, match=r"SAM ViT-B, which does not fit.*Pass MobileSAM's mobile_sam\.pt"):
        checkpoint.load_sam(model, state, "sam.pth")
