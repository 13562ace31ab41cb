"""OpenAI's weights of CLIP are told from others, and get the activation that they were trained with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from support import TOLERANCE, Ran, as_model, off, spread

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.model import checkpoint
from samclip_edge.model.public import merged
from samclip_edge.text.tokenizer import Tokenizer
from samclip_edge.train.teachers import OpenClip

MEAN, STD = (
    torch.tensor(each).view(1, 3, 1, 1) for each in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
)
MARKS = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(77), "vocab_size": torch.tensor(2562)}
State = dict[str, torch.Tensor]


# A CLIP of open_clip whose text tower has the sizes of `tiny`.
SMALL = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 2562, "width": 128, "heads": 4, "layers": 3},
}


def small(quick_gelu: bool) -> open_clip.CLIP:
    return open_clip.CLIP(**SMALL, quick_gelu=quick_gelu).eval()


@pytest.fixture(scope="module", autouse=True)
def known(tmp_path_factory: pytest.TempPathFactory) -> None:
    """open_clip knows it by two names, as it does ViT-L-14."""
    folder = tmp_path_factory.mktemp("configs")
    for name, quick in (("Small", False), ("Small-quickgelu", True)):
        as_model(folder, name, {**SMALL, "quick_gelu": quick})


@pytest.fixture(scope="module")
def openai() -> open_clip.CLIP:
    """Random weights as OpenAI published its own: trained with QuickGELU, the matrices in half precision."""
    model = small(quick_gelu=True)
    spread(model, seed=3)
    open_clip.model.convert_weights_to_fp16(model)
    return model.float()


@pytest.fixture(scope="module")
def other() -> open_clip.CLIP:
    """Random weights as LAION's: trained with GELU, in float32."""
    model = small(quick_gelu=False)
    spread(model, seed=3)
    return model


def in_half(state: State) -> State:
    """As the archive has it: what half precision holds is in half."""
    return {name: each.half() if torch.equal(each, each.half().float()) else each for name, each in state.items()}


def saved(path: Path, state: State) -> Path:
    torch.save(state, path)
    return path


def check(clip: str, model: open_clip.CLIP) -> None:
    """The text tower answers as open_clip's model does."""
    encoder = merged("tiny", clip=clip).text_encoder
    tokens = torch.from_numpy(Tokenizer.of(PRESETS["tiny"].text)(["a red dog", "", "two cups of coffee"]))
    padded = torch.nn.functional.pad(tokens, (0, 77 - tokens.shape[1]))
    with torch.inference_mode():
        assert off(model.encode_text(padded, normalize=True), encoder(tokens)) < TOLERANCE


def test_the_activation_makes_a_difference(openai: open_clip.CLIP, tmp_path: Path) -> None:
    """So that what is below can fail."""
    path = saved(tmp_path / "openai.pt", openai.state_dict())
    with pytest.raises(AssertionError):
        check(f"Small:{path}", openai)


def test_openais_weights_are_known_by_their_marks_and_get_quick_gelu(openai: open_clip.CLIP, tmp_path: Path) -> None:
    path = saved(tmp_path / "clip.pt", {**in_half(openai.state_dict()), **MARKS})
    for name in (str(path), f"Small:{path}", f"Small-quickgelu:{path}"):
        check(name, openai)


def test_weights_of_half_precision_without_marks_are_refused_until_their_activation_is_said(
    openai: open_clip.CLIP, other: open_clip.CLIP, tmp_path: Path, run: Callable[..., Ran]
) -> None:
    """As they are stored, or in float32 with the same values; OpenAI's and others in half look alike."""
    half = small(quick_gelu=False)
    half.load_state_dict(other.state_dict())
    open_clip.model.convert_weights_to_fp16(half)
    half.float()
    for model, said in ((openai, "Small-quickgelu"), (half, "Small")):
        for name, state in {"half.pt": in_half(model.state_dict()), "wide.pt": model.state_dict()}.items():
            path = saved(tmp_path / name, state)
            ran = run("init", "--preset", "tiny", "--clip", path, "-o", tmp_path / "out.safetensors")
            assert (ran.code, ran.err.count("\n")) == (2, 1)
            assert f"ViT-L-14-quickgelu:{path}" in ran.err
            assert not (tmp_path / "out.safetensors").exists()
            check(f"{said}:{path}", model)


def test_weights_of_full_precision_are_read_with_gelu(
    other: open_clip.CLIP, tmp_path: Path, run: Callable[..., Ran]
) -> None:
    path, out = saved(tmp_path / "clip.pt", other.state_dict()), tmp_path / "out.safetensors"
    check(str(path), other)
    assert run("init", "--preset", "tiny", "--clip", path, "-o", out).code == 0
    assert checkpoint.load(out)[0].spec.text.activation == "gelu"


@pytest.mark.parametrize("marks", [{}, MARKS], ids=["named", "known by their marks"])
def test_the_teacher_gets_the_activation_too(openai: open_clip.CLIP, tmp_path: Path, marks: State) -> None:
    path = saved(tmp_path / "clip.pt", {**openai.state_dict(), **marks})
    teacher = OpenClip(f"Small{'' if marks else '-quickgelu'}:{path}", torch.device("cpu"))
    pixels = 255 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = copy.deepcopy(openai).encode_image((pixels / 255 - MEAN) / STD, normalize=True)
    assert off(wanted, teacher(pixels)) < TOLERANCE
