"""SAM beside any CLIP of open_clip, and merged models that follow any: from pixels and from text as open_clip answers.

Small models of each kind: their towers are of the same classes as those of MobileCLIP, SigLIP2 and the others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file
from support import TEMPLATES, TOLERANCE, Ran, as_model, off
from tokenizers import Tokenizer, models, normalizers, processors, trainers

from samclip_edge import SamClip
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec, TextSpec
from samclip_edge.errors import InputError
from samclip_edge.export.forms.neural_engine import TextEncoder
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint
from samclip_edge.model.open_clips import described, side_by_side
from samclip_edge.model.public import merged
from samclip_edge.photo.resize import clip_square
from samclip_edge.text.judge import odds_against
from samclip_edge.train.teachers import OpenClip

SENTENCES = ["a photo of a dog.", "Two CUPS of coffee, on a wooden table!", "", "x " * 200, "naïve_café & “quotes”"]
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SIGLIP_TEXT = {
    **{"context_length": 16, "vocab_size": 700, "width": 32, "heads": 2, "layers": 2, "mlp_ratio": 3.7362},
    **{"hf_tokenizer_name": "org/name", "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True},
    **{"proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"}},
}
TIMM = {"timm_model_pretrained": False, "image_size": 64, "timm_drop": 0.0}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}
PLAIN = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "interpolation": "bilinear", "resize_mode": "shortest"}
# What open_clip builds, and how photos are prepared for it.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "small-vit-quickgelu": (
        {
            **{"embed_dim": 32, "quick_gelu": True, "text_cfg": TEXT},
            "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
        },
        {},
    ),
    "small-mobileclip": (
        {
            **{"embed_dim": 32, "custom_text": True, "text_cfg": {**TEXT, "no_causal_mask": True}},
            "vision_cfg": {**TIMM, "timm_model_name": "fastvit_t8", "timm_pool": "avg", "timm_proj": None},
        },
        PLAIN,
    ),
    "small-siglip2": (
        {
            **{"embed_dim": 64, "custom_text": True, "init_logit_bias": -10, "text_cfg": SIGLIP_TEXT},
            "vision_cfg": {
                **TIMM,
                **{"timm_model_name": "test_vit", "image_size": 160, "timm_pool": "map", "timm_proj": "none"},
            },
        },
        HALF,
    ),
    "small-convnext": (
        {
            **{"embed_dim": 32, "text_cfg": TEXT},
            "vision_cfg": {**TIMM, "timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear"},
        },
        {},
    ),
}


class Given(NamedTuple):
    """What a user has: a model of open_clip, as its hub page holds it."""

    name: str
    model: Any
    prepare: Any
    tokenize: Any
    file: Path

    @property
    def clip(self) -> str:
        """As `--clip` takes it."""
        return f"{self.name}:{self.file}"


@torch.no_grad()
def stir(model: torch.nn.Module) -> None:
    """Move weights off what they start as, so that each is felt, and features stay finite and apart."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif "gamma" in name:
            tensor.copy_(0.3 + 0.05 * noise)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.add_(0.1 * noise)
        elif tensor.ndim > 1:
            tensor.add_(tensor.std() * noise)


def write_tokenizer(folder: Path) -> None:
    """A tokenizer.json with byte fallback, as SigLIP2's is, and what lies beside it."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    made.train_from_iterator(["a photo of a dog", "two cups of coffee on a wooden table"], trainer)
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "right", "model_max_length": 16}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **special}), "utf-8")


@pytest.fixture(scope="module", params=KINDS)
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp(request.param)
    config, shown = KINDS[request.param]
    name = as_model(folder, request.param, config)
    model = open_clip.create_model(name).eval()
    stir(model)
    file = folder / "open_clip_model.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, file)
    if shown:
        (folder / "open_clip_config.json").write_text(json.dumps({"preprocess_cfg": shown}), "utf-8")
    prepare = image_transform_v2(PreprocessCfg(size=config["vision_cfg"]["image_size"], **shown), is_train=False)
    if "hf_tokenizer_name" not in config["text_cfg"]:
        return Given(name, model, prepare, open_clip.get_tokenizer(name), file)
    write_tokenizer(folder)
    tokenize = open_clip.tokenizer.HFTokenizer(str(folder), context_length=16, clean="canonicalize")
    return Given(name, model, prepare, tokenize, file)


@pytest.fixture(scope="module")
def two(given: Given) -> SamClip:
    """It beside `tiny`'s SAM, by way of a checkpoint, in a bundle without SAM's graphs, which take long to trace."""
    sam = given.file.with_name("sam.pth")
    parts = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
    tiny = checkpoint.build(PRESETS["tiny"]).state_dict()
    torch.save({name: tensor for name, tensor in tiny.items() if name.startswith(parts)}, sam)
    model = merged("sam+clip", sam=str(sam), clip=given.clip)
    assert model.spec.encoder == PRESETS["tiny"].encoder  # found from the tensors
    path = checkpoint.save(model, given.file.with_name("two.safetensors"), checkpoint.Origin(note="random"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("samclip_edge.bundle.manifest.sized", lambda _: ())
        own = [("clip_image_encoder", None), ("text_encoder", None)]
        patch.setattr("samclip_edge.export.export._steps", lambda *_: own)
        return SamClip.load(export_onnx(path, given.file.with_name("bundle"), [256], templates=TEMPLATES).folder)


def test_pixels_and_words_are_answered_as_open_clip_does(
    two: SamClip, given: Given, photos: dict[str, np.ndarray]
) -> None:
    seen = [photos["landscape"], photos["portrait"]]
    with torch.no_grad():
        images = [given.model.encode_image(given.prepare(Image.fromarray(each))[None], True)[0] for each in seen]
        texts = given.model.encode_text(given.tokenize(SENTENCES), normalize=True)
    assert off(images[0], images[1]) > 0.1  # else a wrong photo would do
    for pixels, wanted in zip(seen, images, strict=True):
        assert off(wanted, two.look(pixels).image_features) < TOLERANCE
    assert off(texts, two.words.encode(SENTENCES)) < TOLERANCE
    text = two.sessions.bundle.manifest.text
    assert text.logit_scale == pytest.approx(given.model.logit_scale.exp().item())
    assert text.logit_bias == (None if given.model.logit_bias is None else pytest.approx(given.model.logit_bias.item()))


def test_as_a_teacher_it_sees_photos_as_its_own_preprocessing_says(given: Given, photos: dict[str, np.ndarray]) -> None:
    teacher = OpenClip(given.clip, torch.device("cpu"))
    side = PreprocessCfg().size if not given.model.visual.image_size else given.model.visual.image_size[0]
    crop = Image.fromarray(photos["landscape"][:400, :400]).resize((side, side))
    with torch.no_grad():
        wanted = given.model.encode_image(given.prepare(crop)[None], normalize=True)
    pixels = torch.from_numpy(np.array(crop, np.float32)).permute(2, 0, 1)[None]
    assert teacher.size == side
    assert off(wanted, teacher(pixels)) < TOLERANCE


def test_a_merged_model_follows_its_teachers_text_tower(given: Given) -> None:
    """In torch, and in the form for the Neural Engine."""
    model = merged("tiny", clip=given.clip)
    assert model.spec.features == given.model.visual(torch.zeros(1, 3, *given.model.visual.image_size)).shape[1]
    tokens = torch.from_numpy(model.tokenizer()(SENTENCES))
    with torch.no_grad():
        wanted = given.model.encode_text(given.tokenize(SENTENCES), normalize=True)
        assert off(wanted, model.text_encoder(tokens)) < TOLERANCE
        assert off(wanted, TextEncoder(model)(tokens)) < TOLERANCE
        assert model.clip_head(torch.zeros(1, 128, 8, 8))[0].shape == (1, wanted.shape[1])


@pytest.mark.parametrize("shape", ["landscape", "portrait", "tiny"])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_photo_is_resized_as_open_clip_resizes_it(
    photos: dict[str, np.ndarray], shape: str, mode: Any, interpolation: str
) -> None:
    cfg = PreprocessCfg(size=96, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=mode, interpolation=interpolation)
    wanted = image_transform_v2(cfg, is_train=False)(Image.fromarray(photos[shape])).numpy() * 255
    ours = clip_square(photos[shape], 96, mode, interpolation == "bicubic")
    np.testing.assert_allclose(ours, wanted, atol=1e-3)


def test_a_sigmoid_judges_each_name_by_itself(two: SamClip, given: Given, photos: dict[str, np.ndarray]) -> None:
    """As SigLIP's own loss does, whatever rivals the bundle has; a softmax against them remains for other CLIPs."""
    feature = two.look(photos["landscape"]).image_features
    names, words = ["a dog", "coffee"], two.words
    logits = words.logit_scale * (words.features(names) @ feature)
    odds = two.judge.log_odds(feature, names)
    if words.logit_bias is None:
        rivals = words.logit_scale * (two.judge.rivals.features @ feature)
        competes = words.features(names) @ two.judge.rivals.features.T <= two.judge.rivals.same
        np.testing.assert_allclose(odds, odds_against(logits, rivals, competes), atol=1e-4)
    else:
        np.testing.assert_allclose(odds, logits + words.logit_bias, atol=1e-4)
        rival = words.logit_scale * float(words.features(["a cup"])[0] @ feature) + words.logit_bias
        against = two.judge.log_odds(feature, names, ["a cup"])
        np.testing.assert_allclose(against, logits + words.logit_bias - np.log1p(np.exp(rival)), atol=1e-4)


def test_an_own_tokenizer_must_lie_beside_the_weights(
    run: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = as_model(tmp_path, "lone-siglip2", KINDS["small-siglip2"][0])
    (tmp_path / "weights.safetensors").write_bytes(b"")
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    weights = tmp_path / "weights.safetensors"
    ran: Ran = run("init", "--preset", "tiny", "--clip", f"{name}:{weights}", "-o", tmp_path / "out.safetensors")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "put tokenizer.json and tokenizer_config.json of org/name beside" in ran.err
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer.json: not a tokenizer.json"):
        described(name, str(weights))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("no-such-model", "open_clip knows no such model"),
        ("coca_ViT-B-32", "is a CoCa"),
        ("xlm-roberta-base-ViT-B-32", r"transformers \(xlm-roberta-base\)"),
        ("ViT-L-14-CLIPA", "has strip_sep_token"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_line(model: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        described(model)
    assert error.value.argument == "clip"
    assert "\n" not in str(error.value)


def test_every_other_model_of_open_clip_is_described() -> None:
    refused = set()
    for name in open_clip.list_models():
        try:
            described(name)
        except InputError:
            refused.add(name)
    foreign = ("coca_", "xlm-", "mt5-", "roberta-", "nllb-")
    assert all(name.startswith(foreign) or "CLIPA" in name for name in refused)


@pytest.mark.parametrize("preset", ["vit_b", "mobile"])
def test_the_spec_beside_a_base_is_the_bases(preset: str) -> None:
    spec = side_by_side(preset, "MobileCLIP2-S0")
    assert (spec.encoder, spec.decoder, spec.kind) == (PRESETS[preset].encoder, PRESETS[preset].decoder, "sam+clip")
    assert spec.clip_vision == ClipVisionSpec(
        tower=open_clip.get_model_config("MobileCLIP2-S0")["vision_cfg"],
        **{"size": 256, "mean": (0, 0, 0), "std": (255, 255, 255), "interpolation": "bilinear"},
    )
    assert spec.text == TextSpec(width=512, depth=12, heads=8, causal=False)


def test_older_files_say_their_vit_by_its_numbers() -> None:
    """As manifests and checkpoints of 0.1 hold it, key for key."""
    old = {"width": 768, "depth": 12, "heads": 12, "patch": 16, "size": 224}
    assert ClipVisionSpec.model_validate(old) == described("ViT-B-16").vision == PRESETS["sam+clip"].clip_vision


def test_a_tower_is_never_fetched() -> None:
    with pytest.raises(ValueError, match="is an address"):
        ClipVisionSpec(tower={"timm_model_name": "hf-hub:org/name"})
    assert ClipVisionSpec(tower={"timm_model_name": "x", "timm_model_pretrained": True}).tower == {
        "timm_model_name": "x",
        "timm_model_pretrained": False,
    }
