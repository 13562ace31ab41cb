"""Weights that do not fit are described: what they are, what is missing and left over, and what to pass instead.

The names and shapes are those of each model's own code where a package here has it, and else the few that tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import transformers
from segment_anything import sam_model_registry
from support import Ran

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint, recognise
from samclip_edge.model.merged import MergedModel

State = dict[str, torch.Tensor]


def shapes_of(make: Callable[[], Any]) -> State:
    """The names and shapes of a model, which takes no memory."""
    with torch.device("meta"):
        return make().state_dict()


def open_clip_of(name: str) -> Callable[[], Any]:
    config = open_clip.get_model_config(name)
    return lambda: open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])


REAL: dict[str, Callable[[], Any]] = {
    "SAM ViT-B": sam_model_registry["vit_b"],
    "SAM ViT-L": sam_model_registry["vit_l"],
    "SAM ViT-H": sam_model_registry["vit_h"],
    "a SAM ViT-B of Hugging Face transformers": lambda: transformers.SamModel(transformers.SamConfig()),
    "a SAM-HQ of Hugging Face transformers": lambda: transformers.SamHQModel(transformers.SamHQConfig()),
    "a SAM 2 of Hugging Face transformers": lambda: transformers.Sam2Model(transformers.Sam2Config()),
    "a CLIP ViT-B-32 of Hugging Face transformers": lambda: transformers.CLIPModel(transformers.CLIPConfig()),
    "a SigLIP of Hugging Face transformers": lambda: transformers.SiglipModel(transformers.SiglipConfig()),
    "an OpenCLIP ViT-B-32": open_clip_of("ViT-B-32"),
    "an OpenCLIP ViT-B-16": open_clip_of("ViT-B-16"),
    "an OpenCLIP ViT-L-14": open_clip_of("ViT-L-14"),
    "an OpenCLIP ViT-H-14": open_clip_of("ViT-H-14"),
    "an OpenCLIP ResNet": open_clip_of("RN50"),
    "a merged checkpoint of samclip-edge": lambda: MergedModel(PRESETS["tiny"]),
}


@pytest.mark.parametrize("what", REAL)
def test_models_are_known_by_their_own_code(what: str) -> None:
    assert recognise.of_tensors(shapes_of(REAL[what])) == what


NAMED = {
    "SAM-HQ": {"mask_decoder.hf_token.weight": (1, 256), "image_encoder.pos_embed": (1, 64, 64, 768)},
    "MobileSAM": {"image_encoder.patch_embed.seq.0.c.weight": (32, 3, 3, 3), "mask_decoder.iou_token.weight": (1, 256)},
    "EdgeSAM": {"image_encoder.features.0.0.c.weight": (24, 3, 3, 3), "mask_decoder.iou_token.weight": (1, 256)},
    "EfficientSAM": {
        "prompt_encoder.bbox_top_left_embeddings.weight": (1, 256),
        "image_encoder.pos_embed": (1, 197, 192),
    },
    "SAM 2": {"sam_mask_decoder.iou_token.weight": (1, 256), "image_encoder.trunk.pos_embed": (1, 96, 7, 7)},
    "OpenAI's CLIP ViT-B-32": {"visual.conv1.weight": (768, 3, 32, 32), "input_resolution": ()},
    "a LoRA adapter": {"base_model.vision_encoder.layers.0.attn.qkv.lora_A.weight": (8, 768)},
    "a model that is not known here": {"weight": (3,)},
}


@pytest.mark.parametrize("what", NAMED)
def test_models_are_known_by_the_names_that_tell_them(what: str, tmp_path: Path, run: Callable[..., Ran]) -> None:
    torch.save({"model": {name: torch.zeros(shape) for name, shape in NAMED[what].items()}}, tmp_path / "a.pth")
    for option in ("--sam", "--clip"):
        named = tmp_path / "a.pth"
        ran = run("init", "--preset", "tiny", option, named, "-o", tmp_path / "out.safetensors")
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert ran.err.startswith(f"error: {named}: {what}, which does not fit the preset tiny. ")


def test_what_does_not_fit_is_counted_and_three_of_each_are_named() -> None:
    """SAM ViT-H has 20 layers more than vit_b, of 14 tensors each."""
    with torch.device("meta"):
        model = MergedModel(PRESETS["vit_b"])
    with pytest.raises(InputError) as caught:
        checkpoint.load_sam(model, shapes_of(REAL["SAM ViT-H"]), "sam_vit_h_4b8939.pth")
    first, _, second = str(caught.value).partition(". ")
    assert first == "sam_vit_h_4b8939.pth: SAM ViT-H, which does not fit the preset vit_b"
    assert second.startswith(
        "280 left over: image_encoder.blocks.12.attn.proj.bias, image_encoder.blocks.12.attn.proj.weight, "
        "image_encoder.blocks.12.attn.qkv.bias and others; "
    )
    assert "of another shape: image_encoder.blocks.0.attn.proj.bias (1280,), not (768,), " in second
    assert second.endswith(
        ". Pass SAM ViT-B, from segment_anything or transformers, or build the preset vit_h, which takes this file"
    )


def test_a_clip_that_does_not_fit_says_which_does() -> None:
    with torch.device("meta"):
        merged, beside = MergedModel(PRESETS["vit_b"]), MergedModel(PRESETS["sam+clip"])
    state = shapes_of(REAL["an OpenCLIP ViT-B-32"])
    with pytest.raises(InputError, match=r"b\.pt: an OpenCLIP ViT-B-32, which .*\. Pass a CLIP ViT-L-14, from"):
        checkpoint.load_clip(merged, state, "b.pt")
    with pytest.raises(InputError, match=r"visual.conv1.weight \(768, 3, 32, 32\), not .*\. Pass a CLIP ViT-B-16"):
        checkpoint.load_clip(beside, state, "b.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(
    value: float, tmp_path: Path, tiny_checkpoint: Path, run: Callable[..., Ran]
) -> None:
    model, origin = checkpoint.load(tiny_checkpoint)
    with torch.no_grad():
        model.image_encoder.neck[1].bias[:2] = value
        model.mask_decoder.iou_token.weight[0, 0] = value
        model.text_encoder.ln_final.bias[5] = value
    out = tmp_path / "out.safetensors"
    sam = {n: v for n, v in model.state_dict().items() if not n.startswith(("text_encoder", "clip_head"))}
    torch.save(sam, tmp_path / "sam.pth")
    torch.save(model.text_encoder.state_dict(), tmp_path / "clip.pt")
    for option, name, said in (
        (
            "--sam",
            "sam.pth",
            "3 of its values are NaN or infinite, in 2 tensors, the first in image_encoder.neck.1.bias",
        ),
        ("--clip", "clip.pt", "1 of its values are NaN or infinite, in 1 tensor, the first in ln_final.bias"),
    ):
        ran = run("init", "--preset", "tiny", option, tmp_path / name, "-o", out)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert f"{tmp_path / name}: {said};" in ran.err
    with pytest.raises(InputError, match="4 of its values are NaN or infinite, in 3 tensors"):
        checkpoint.load(checkpoint.save(model, out, origin))


def test_weights_of_whole_numbers_are_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """As quantised checkpoints keep them, which would be loaded as if they were the weights."""
    state = checkpoint.load(tiny_checkpoint)[0].state_dict()
    sam = {n: v for n, v in state.items() if not n.startswith(("text_encoder", "clip_head"))}
    sam["mask_decoder.iou_token.weight"] = sam["mask_decoder.iou_token.weight"].to(torch.int8)
    torch.save(sam, tmp_path / "sam.pth")
    with pytest.raises(InputError, match=r"1 no floating-point numbers: mask_decoder.iou_token.weight int8\."):
        checkpoint.build(PRESETS["tiny"], sam=tmp_path / "sam.pth")
