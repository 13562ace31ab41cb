"""C-RADIO: the trunk as transformers has it, the adaptors by hand, and the folder that it is read from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import radio
import torch
import transformers
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from support import TOLERANCE, off
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipHeadSpec, ModelSpec
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel, start_clip_head
from samclip_edge.model.radio_files import read_radio


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return radio.write(tmp_path_factory.mktemp("hub") / "C-RADIO", radio.state())


def built(folder: Path) -> MergedModel:
    read = read_radio(folder)
    model = checkpoint.build(read.spec(radio.SPEC))
    read.load(model)
    return model


@pytest.fixture(scope="module")
def model(folder: Path) -> MergedModel:
    return built(folder)


@pytest.fixture(scope="module")
def trunk(folder: Path) -> transformers.RadioModel:
    """transformers' own, which renames the released files' tensors by itself."""
    config = transformers.RadioConfig(
        hidden_size=radio.WIDTH,
        num_hidden_layers=radio.DEPTH,
        num_attention_heads=2,
        max_img_size=16 * radio.GRID,
        num_cls_tokens=4,
        num_registers=4,
        summary_idxs=[0, 1, 2],
    )
    loaded, said = transformers.RadioModel.from_pretrained(folder, config=config, output_loading_info=True)
    # C-RADIO has no layer scale: theirs stays 1
    assert {name for name in said["missing_keys"] if "layer_scale" not in name} == set()
    return loaded.eval()


@pytest.mark.parametrize(("height", "width"), [(128, 128), (64, 64), (208, 208), (112, 176), (160, 48)])
def test_tokens_are_those_of_transformers(
    model: MergedModel, trunk: transformers.RadioModel, height: int, width: int
) -> None:
    image = 255 * torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    with torch.inference_mode():
        wanted = trunk(image / 255)
        tokens = model.image_encoder.tokens(image)
    patches = wanted.features.transpose(1, 2).reshape(2, radio.WIDTH, height // 16, width // 16)
    assert off(patches, tokens[:, : radio.WIDTH]) < TOLERANCE
    summary = wanted.last_hidden_state[:, 0, :, None, None].expand_as(patches)  # of the teacher "clip"
    assert off(summary, tokens[:, radio.WIDTH :]) < TOLERANCE


def by_hand(state: dict[str, Tensor], mlp: str, x: Tensor) -> Tensor:
    """An adaptor's MLP as the papers describe it, of the file's own tensors."""
    of = {name.removeprefix(f"radio_model.adaptors.{mlp}."): each for name, each in state.items()}

    def block(name: str, x: Tensor) -> Tensor:
        x = F.layer_norm(x, (x.shape[-1],), of[f"{name}.0.weight"], of[f"{name}.0.bias"])
        return F.gelu(x) @ of[f"{name}.2.weight"].T + of[f"{name}.2.bias"]

    x = x @ of["fc1.weight"].T + of["fc1.bias"]
    for index in range(2):
        x = x + block(f"blocks.{index}", x)
    return block("final", x)


def test_masks_come_of_the_sam_adaptors_features(model: MergedModel) -> None:
    tokens = torch.randn(1, 2 * radio.WIDTH, 3, 5, generator=torch.Generator().manual_seed(1))
    patches = tokens[:, : radio.WIDTH].permute(0, 2, 3, 1)
    features = by_hand(radio.state(), "sam.feat_mlp", patches).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert off(model.image_encoder.neck(features), model.image_encoder.embedding(tokens)) < TOLERANCE


@pytest.mark.parametrize("side", [8, 9])
def test_names_come_of_the_text_adaptor_on_the_summary_and_on_each_patch(model: MergedModel, side: int) -> None:
    tokens = torch.randn(2, 2 * radio.WIDTH, side, 6, generator=torch.Generator().manual_seed(2))
    tokens[:, radio.WIDTH :] = tokens[:, radio.WIDTH :, :1, :1]
    patches, summary = tokens[:, : radio.WIDTH], tokens[:, radio.WIDTH :, 0, 0]
    if side > 8:  # more than `max_grid`: the last row of nine is averaged with nothing below it
        pairs = torch.cat([patches[:, :, 0:8:2] + patches[:, :, 1:8:2], 2 * patches[:, :, 8:]], dim=2)
        patches = (pairs[..., 0::2] + pairs[..., 1::2]) / 4
    with torch.inference_mode():
        image, each = model.clip_head(tokens)
        assert off(image, model.clip_head.image_features(tokens)) < TOLERANCE
    wanted = by_hand(radio.state(), "clip.head_mlp", patches.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert off(F.normalize(by_hand(radio.state(), "clip.head_mlp", summary), dim=-1), image) < TOLERANCE
    assert off(F.normalize(wanted, dim=1), each) < TOLERANCE


def test_the_papers_start_leaves_the_adaptor_alone(model: MergedModel) -> None:
    before = {name: each.clone() for name, each in model.state_dict().items()}
    start_clip_head(model)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_several_files_are_one_model(folder: Path, tmp_path: Path) -> None:
    state = radio.state()
    whole = read_radio(folder)
    indexed = read_radio(radio.write(tmp_path / "indexed", state, files=3))
    adaptors = {name: each for name, each in state.items() if ".adaptors." in name}
    apart = radio.write(tmp_path / "apart", {name: each for name, each in state.items() if name not in adaptors})
    save_file(adaptors, apart / "adaptors.safetensors")
    for other in (indexed, read_radio(apart)):
        assert other[:4] == whole[:4]
        assert other.state.keys() == whole.state.keys()
        assert all(torch.equal(each, other.state[name]) for name, each in whole.state.items())


def test_what_the_folder_says_goes_into_the_spec(folder: Path) -> None:
    read = read_radio(folder)
    wanted = radio.SPEC.encoder.model_copy(update={"mean": read.encoder.mean, "std": read.encoder.std})
    assert read.spec(radio.SPEC) == radio.SPEC.model_copy(update={"encoder": wanted})


def test_pixels_are_normalised_by_the_files_own_numbers(tmp_path: Path) -> None:
    state = radio.state()
    state["radio_model.input_conditioner.norm_mean"] = torch.tensor([0.5, 0.25, 0.75]).view(3, 1, 1)
    read = read_radio(radio.write(tmp_path / "other", state))
    assert read.encoder.mean == (127.5, 63.75, 191.25)
    encoder = checkpoint.build(read.spec(radio.SPEC)).image_encoder
    assert encoder.pixel_mean.flatten().tolist() == [127.5, 63.75, 191.25]


@pytest.mark.parametrize(
    ("clip", "adaptor", "summary", "features"),
    [
        ("ViT-H-14-378-quickgelu", "clip", 0, 80),
        ("ViT-H-14-quickgelu", "clip", 0, 80),
        ("ViT-gopt-16-SigLIP2-384", "siglip2-g", 1, 112),
    ],
)
def test_the_text_tower_chooses_the_adaptor(folder: Path, clip: str, adaptor: str, summary: int, features: int) -> None:
    read = read_radio(folder, clip)
    assert (read.adaptor, read.encoder.summary, read.features) == (adaptor, summary, features)
    assert torch.equal(
        read.state["clip_head.adaptor.fc1.weight"], radio.state()[f"radio_model.adaptors.{adaptor}.head_mlp.fc1.weight"]
    )


def without(part: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        kept = {name: each for name, each in radio.state().items() if part not in name}
        save_file(kept, folder / "model.safetensors")

    return change


def configured(**changes: object) -> Callable[[Path], None]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(radio.config() | changes)) and None


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(radio.state(), folder / "c-radio_v3-b_half.pth.tar")


def misnamed(folder: Path) -> None:
    torch.save(radio.state(), folder / "model.safetensors")


def outside(folder: Path) -> None:
    index = {"weight_map": {"radio_model.summary_idxs": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def nan_mean(folder: Path) -> None:
    name = "radio_model.input_conditioner.norm_mean"
    save_file(radio.state() | {name: torch.full((3, 1, 1), torch.nan)}, folder / "model.safetensors")


def doubled(folder: Path) -> None:
    save_file({"radio_model.summary_idxs": torch.zeros(1)}, folder / "more.safetensors")


BAD = [
    (lambda folder: (folder / "config.json").unlink(), r"holds no config.json; pass the folder of C-RADIO's hub page"),
    (lambda folder: (folder / "config.json").write_text("{"), r"config.json: is no JSON \(.*\); fetch it again"),
    (configured(args={"teachers": []}), r"config.json: lists no args.teachers with names; fetch it again"),
    (configured(args={}), r"config.json: lists no args.teachers with names; fetch it again"),
    (
        configured(args={"teachers": [{"name": "sam"}]}),
        r"has no text adaptor for ViT-H-14-378-quickgelu; it was taught by sam",
    ),
    (configured(vitdet_window_size=16), r"config.json: sets vitdet_window_size, which is not built here; set it to"),
    (
        without(".adaptors."),
        r"holds no head_mlp of the adaptor clip, none at all: its safetensors hold the trunk alone",
    ),
    (without("clip.head_mlp"), r"holds no head_mlp of the adaptor clip, only those of clip, sam, siglip2-g; add a"),
    (without("sam.feat_mlp"), r"holds no feat_mlp of the adaptor sam, only those of clip, sam, siglip2-g; add a"),
    (without("pos_embed"), r"has no pos_embed of 3 dimensions; pass the folder of C-RADIO's hub page"),
    (without("blocks.1.mlp.fc1"), r"a C-RADIO, which does not fit the preset radio. 2 missing: .*mlp.fc1.bias"),
    (nan_mean, r"is no C-RADIO that is known here \(mean.0: Input should be a finite number\); fetch it again"),
    (pickled, r"holds no safetensors, and c-radio_v3-b_half.pth.tar is a pickle, which is not read; fetch model.safe"),
    (misnamed, r"model.safetensors: is a pickle, which is not read; fetch the safetensors of C-RADIO's hub page"),
    (outside, r"index.json: names ../model.safetensors, which is no file beside it; fetch it again"),
    (doubled, r"more.safetensors: holds radio_model.summary_idxs, as another file beside it does; keep one of them"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_folders_get_one_line(tmp_path: Path, change: Callable[[Path], None], message: str) -> None:
    folder = radio.write(tmp_path / "hub", radio.state())
    change(folder)
    with pytest.raises(InputError, match=message) as raised:
        built(folder)
    assert "\n" not in str(raised.value)


def test_a_file_beside_those_of_the_index_is_read_too(tmp_path: Path) -> None:
    state = radio.state()
    apart = {name: each for name, each in state.items() if ".adaptors." in name}
    folder = radio.write(tmp_path, {name: each for name, each in state.items() if name not in apart}, files=2)
    assert (folder / "model.safetensors.index.json").exists()
    save_file(apart, folder / "adaptors.safetensors")
    assert read_radio(folder).features == 80


def test_a_text_tower_of_another_width_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="its adaptor siglip2-g makes 112 features, and the text tower makes 80; pass"):
        read_radio(folder, "ViT-gopt-16-SigLIP2-384").spec(radio.SPEC)


def test_specs_that_name_no_kind_of_head_have_the_papers() -> None:
    data = radio.SPEC.model_dump()
    assert ModelSpec(**data) == radio.SPEC
    data["clip_head"] = {"depth": 2, "hidden": 64, "max_grid": 32}
    assert ModelSpec(**data).clip_head == ClipHeadSpec(depth=2, hidden=64)


def test_the_preset_takes_the_neck_and_the_decoder_of_sam_vit_h() -> None:
    with torch.device("meta"):
        theirs, ours = sam_model_registry["vit_h"]().state_dict(), MergedModel(PRESETS["radio"])
    parts = {f"image_encoder.{prefix}": part for prefix, part in ours.image_encoder.of_sam().items()}
    parts |= {"prompt_encoder.": ours.prompt_encoder, "mask_decoder.": ours.mask_decoder}
    wanted = {f"{prefix}{key}": each.shape for prefix, part in parts.items() for key, each in part.state_dict().items()}
    own = {key: each.shape for key, each in theirs.items() if key.startswith(tuple(parts))}
    assert wanted == own
