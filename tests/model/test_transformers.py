"""Weights of Hugging Face transformers: our modules answer as `SamModel` and `CLIPModel` on the same random weights."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
import transformers
from support import TOLERANCE, as_model, off, spread

from samclip_edge.bundle.encoder_spec import VitSpec
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec, DecoderSpec, ModelSpec, TextSpec
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint, layouts
from samclip_edge.model.clip_vision import ClipImageEncoder
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.public import open_clip_weights
from samclip_edge.train import teachers

# A SAM and a CLIP of every kind of layer that the public ones have, but small.
SPEC = ModelSpec(
    name="small",
    encoder=VitSpec(width=64, depth=4, heads=4, window=4, global_layers=(1, 3), mlp_ratio=2.0, grid=8),
    decoder=DecoderSpec(mlp=128),
    clip_vision=ClipVisionSpec.vit(width=64, depth=2, heads=1, patch=16, size=32),
    text=TextSpec(width=128, depth=3, heads=4, vocab=2562),
    features=96,
    sizes=(128,),
)


@pytest.fixture(scope="module")
def sam() -> transformers.SamModel:
    vision = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 128, "mlp_dim": 128}
    config = transformers.SamConfig(
        vision_config=vision | {"window_size": 4, "global_attn_indexes": [1, 3]},
        prompt_encoder_config={"image_size": 128, "image_embedding_size": 8},
        mask_decoder_config={"mlp_dim": 128, "layer_norm_eps": 1e-5},  # as in SAM; with their 1e-6 masks are 1.2e-4 off
    )
    model = transformers.SamModel(config).eval()
    spread(model, seed=1)
    with torch.no_grad():
        model.shared_image_embedding.positional_embedding.normal_(generator=torch.Generator().manual_seed(2))
    return model


@pytest.fixture(scope="module", params=["gelu", "quick_gelu"])
def clip(request: pytest.FixtureRequest) -> transformers.CLIPModel:
    text = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4}
    text |= {"vocab_size": 2562, "hidden_act": request.param, "bos_token_id": 2560, "eos_token_id": 2561}
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
    vision |= {"image_size": 32, "patch_size": 16, "hidden_act": request.param}
    model = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=96)
    ).eval()
    spread(model, seed=3)
    return model


def saved(model: transformers.PreTrainedModel, folder: Path, form: str) -> Path:
    """A file of a model, as `save_pretrained` writes it, or as `torch.save` does of all that it has."""
    if form == "safetensors":
        model.save_pretrained(folder)
        return folder / "model.safetensors"
    position_ids = {"text_model.embeddings.position_ids": torch.arange(77)[None]}  # which older versions saved
    old = position_ids if "text_projection.weight" in model.state_dict() else {}
    torch.save({**model.state_dict(), **old}, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_sam_answers_as_in_transformers(sam: transformers.SamModel, tmp_path: Path, form: str) -> None:
    """A photo, two prompts: points, and a box beside a mask."""
    ours = checkpoint.build(SPEC, sam=saved(sam, tmp_path, form))
    random = torch.Generator().manual_seed(4)
    photo = 255 * torch.rand(1, 3, 128, 128, generator=random)
    points, labels = 128 * torch.rand(1, 2, 3, 2, generator=random), torch.tensor([[[1, 0, 1], [0, 1, 1]]])
    box, mask = torch.tensor([[[10.0, 20, 90, 100]]]), torch.randn(1, 1, 32, 32, generator=random)
    pixels = (photo - ours.image_encoder.pixel_mean) / ours.image_encoder.pixel_std
    with torch.inference_mode():
        embedding = sam.get_image_embeddings(pixels)
        assert off(embedding, ours.image_encoder(photo)[1]) < TOLERANCE
        theirs = [
            sam(pixel_values=pixels, input_points=points, input_labels=labels, multimask_output=True),
            sam(image_embeddings=embedding, input_boxes=box, input_masks=mask, multimask_output=True),
        ]
        asked = [
            (torch.cat([points[0], torch.zeros(2, 1, 2)], 1), torch.tensor([[1, 0, 1, -1], [0, 1, 1, -1]]), 0.0),
            (box[0].view(1, 2, 2), torch.tensor([[2, 3]]), 1.0),
        ]
        for wanted, (where, kinds, masked) in zip(theirs, asked, strict=True):
            low = mask.expand(len(where), -1, -1, -1)
            sparse, dense = ours.prompt_encoder(where, kinds, low, torch.tensor([masked]))
            masks, ious = ours.decode_masks(embedding, sparse, dense)
            assert off(wanted.pred_masks[0], masks[:, 1:]) < TOLERANCE
            assert off(wanted.iou_scores[0], ious[:, 1:]) < TOLERANCE


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_clip_answers_as_in_transformers(clip: transformers.CLIPModel, tmp_path: Path, form: str) -> None:
    state, quick = open_clip_weights(str(saved(clip, tmp_path, form)))
    assert not quick  # which a file in float32 does not need; here the test says
    activation = clip.config.text_config.hidden_act
    spec = SPEC.model_copy(update={"text": SPEC.text.model_copy(update={"activation": activation})})
    ours = checkpoint.build(spec, clip=(state, "clip"))
    random = torch.Generator().manual_seed(5)
    photo = 255 * torch.rand(2, 3, 32, 32, generator=random)
    tokens = torch.randint(1, 2560, (2, 12), generator=random)
    tokens[0, 7:], tokens[1, 11] = 2561, 2561
    with torch.inference_mode():
        seeing = ClipImageEncoder(ours.visual, spec.clip_vision)
        wanted = clip(tokens, (photo - seeing.pixel_mean) / seeing.pixel_std)
        assert off(wanted.text_embeds, ours.text_encoder(tokens)) < TOLERANCE
        assert off(wanted.image_embeds, seeing(photo)) < TOLERANCE
    assert torch.equal(clip.logit_scale, ours.text_encoder.logit_scale)


def test_a_clip_of_transformers_is_a_teacher(clip: transformers.CLIPModel, tmp_path: Path) -> None:
    """In open_clip's own tower."""
    name = {"gelu": "hf-small", "quick_gelu": "hf-small-quickgelu"}[clip.config.text_config.hidden_act]
    text = {"context_length": 77, "vocab_size": 2562, "width": 128, "heads": 4, "layers": 3}
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 64, "patch_size": 16}
    as_model(tmp_path, name, {"embed_dim": 96, "vision_cfg": vision, "text_cfg": text})
    shown = {"preprocess_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(shown))
    teacher = teachers.OpenClip(f"{name}:{saved(clip, tmp_path, 'safetensors')}", torch.device("cpu"))
    photo = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        wanted = torch.nn.functional.normalize(clip.get_image_features(photo).pooler_output, dim=-1)
        assert off(wanted, teacher(255 * photo)) < TOLERANCE


def test_openais_weights_in_transformers_need_their_activation_said(tmp_path: Path) -> None:
    """They are of half precision there too."""
    names = {"text_model.encoder.layers.0.mlp.fc1.weight": torch.ones(2, 2)}
    state = {"text_model.embeddings.token_embedding.weight": torch.ones(2, 2), **names}
    torch.save(state, tmp_path / "a.bin")
    with pytest.raises(InputError, match="may need QuickGELU"):
        open_clip_weights(str(tmp_path / "a.bin"))


def test_a_text_tower_under_text_loads(tmp_path: Path) -> None:
    """As open_clip's `CustomTextCLIP` keeps it."""
    merged = SPEC.model_copy(update={"clip_vision": None})
    text = MergedModel(merged).text_encoder
    spread(text, seed=7)
    state = {name if name == "logit_scale" else f"text.{name}": each for name, each in text.state_dict().items()}
    ours = checkpoint.build(merged, clip=(state, "clip")).text_encoder
    assert all(torch.equal(a, b) for a, b in zip(text.state_dict().values(), ours.state_dict().values(), strict=True))


def test_the_public_ones_have_the_names_and_shapes_of_the_presets() -> None:
    """`facebook/sam-vit-base` has transformers' default sizes; `openai/clip-vit-large-patch14` has these."""
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
    vision |= {"num_attention_heads": 16, "patch_size": 14}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)
    with torch.device("meta"):
        sam = layouts.as_sam(transformers.SamModel(transformers.SamConfig()).state_dict(), "")
        clip = layouts.as_open_clip(transformers.CLIPModel(config).state_dict())
        ours = MergedModel(PRESETS["vit_b"]).state_dict()
        theirs = open_clip.get_model_config("ViT-L-14")
        openai = open_clip.CLIP(theirs["embed_dim"], theirs["vision_cfg"], theirs["text_cfg"]).state_dict()
    parts = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
    assert shapes(sam) == shapes({name: each for name, each in ours.items() if name.startswith(parts)})
    assert shapes(clip) == shapes(openai)


def shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: each.shape for name, each in state.items()}
