"""EfficientNet-Lite against timm's own code on the same weights, and the head of classes by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from support import TOLERANCE, off, spread
from torch.nn import functional as F

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.model.class_head import ClassHead
from samclip_edge.model.efficientnet_lite import LITE0, LITE2, Classifier, Trunk, load_classifier
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.public import start_from_classifier

PHOTO = PRESETS["photo"].model_copy(update={"text": PRESETS["tiny"].text})


def published(theirs: torch.nn.Module, depths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """A state dict of timm's under the names of `efficientnet-lite-pytorch`, which numbers its blocks in a row."""
    first = [sum(depths[:stage]) for stage in range(7)]
    state = {}
    for name, tensor in theirs.state_dict().items():
        found = re.fullmatch(r"blocks\.(\d)\.(\d+)\.(\w+)\.(\w+)", name)
        if found is None:
            part, what = name.split(".")
            part = {"conv_stem": "conv_stem", "bn1": "bn0", "conv_head": "conv_head", "bn2": "bn1"}.get(part, "fc")
            state[f"_{part}.{what}"] = tensor
            continue
        stage, block, part, what = int(found[1]), int(found[2]), found[3], found[4]
        late = {"conv_dw": "depthwise_conv", "bn1": "bn1", "conv_pw": "project_conv", "bn2": "bn2"}
        parts = {"conv_pw": "expand_conv", "bn1": "bn0", "conv_dw": "depthwise_conv", "bn2": "bn1"}
        parts |= {"conv_pwl": "project_conv", "bn3": "bn2"}
        named = (parts if stage else late)[part]
        state[f"_blocks.{first[stage] + block}._{named}.{what}"] = tensor
    return state


def of_timm(name: str) -> torch.nn.Module:
    model = timm.create_model(name, pretrained=False).eval()
    spread(model, seed=1)
    return model


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """timm's, and the file of it."""
    theirs, path = of_timm("tf_efficientnet_lite0"), tmp_path_factory.mktemp("lite0") / "lite0.pth"
    torch.save(published(theirs, LITE0.depths), path)
    return theirs, path


def normalised(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    image = 255 * torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(size))
    return image, (image - 127) / 128


@pytest.mark.parametrize("size", [64, 97])
def test_the_classifier_is_timms_at_even_and_odd_sizes(lite0: tuple[torch.nn.Module, Path], size: int) -> None:
    theirs, path = lite0
    image, x = normalised(size)
    with torch.inference_mode():
        assert off(theirs(x), load_classifier(path)(image)) < TOLERANCE


def test_lite2_is_data(tmp_path: Path) -> None:
    theirs, path = of_timm("tf_efficientnet_lite2"), tmp_path / "lite2.pth"
    torch.save(published(theirs, LITE2.depths), path)
    image, x = normalised(65)
    with torch.inference_mode():
        assert off(theirs(x), load_classifier(path, LITE2)(image)) < TOLERANCE
    with pytest.raises(InputError, match=r"lite2\.pth: a state dict, which does not fit this EfficientNet-Lite"):
        load_classifier(path)


def test_a_dense_trunk_has_the_published_map_in_every_second_cell(lite0: tuple[torch.nn.Module, Path]) -> None:
    classifier, dense = load_classifier(lite0[1]), Trunk(LITE0, norms=True).dense().eval()
    dense.load_state_dict(classifier.trunk.state_dict())
    x = normalised(96)[1]
    with torch.inference_mode():
        wanted, got = classifier.trunk(x)[-1], dense(x)[-1]
    assert got.shape == (1, 320, 6, 6)
    assert off(wanted, got[:, :, 1::2, 1::2]) < TOLERANCE


@pytest.fixture(scope="module")
def photo(lite0: tuple[torch.nn.Module, Path]) -> MergedModel:
    model = checkpoint.build(PHOTO)
    names = torch.randn(1000, PHOTO.features, generator=torch.Generator().manual_seed(3))
    start_from_classifier(model, lite0[1], names - names.mean(0))
    return model


def test_it_starts_by_naming_as_conse_does(lite0: tuple[torch.nn.Module, Path], photo: MergedModel) -> None:
    """The chances that timm's own head gives to patches of our map, times the features of the names."""
    head = photo.clip_head
    names = (head.names.weight - head.names.weight.mean(dim=1, keepdim=True)).T  # rounded, their mean is not quite 0
    with torch.inference_mode():
        tokens = photo.image_encoder.tokens(normalised(96)[0])
        hidden = lite0[0].bn2(lite0[0].conv_head(tokens[:, :320]))
        image, patches = head(tokens)
        wanted = lite0[0].classifier(hidden.mean(dim=(2, 3))).softmax(-1) @ names
        assert off(F.normalize(wanted, dim=-1), image) < TOLERANCE
        assert off(image, head.image_features(tokens)) < TOLERANCE
        wanted = lite0[0].classifier(hidden[0, :, 2, 3]).softmax(-1) @ names
        assert off(F.normalize(wanted, dim=-1), patches[0, :, 2, 3]) < TOLERANCE


def small_head() -> ClassHead:
    """Two hidden channels that are the first two of the tokens, two classes, two features."""
    spec: ModelSpec = PHOTO.model_copy(
        update={"clip_head": PHOTO.clip_head.model_copy(update={"classes": 2, "hidden": 2}), "features": 2}
    )
    head = ClassHead(spec).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.conv_head.weight[[0, 1], [0, 1]] = 1.0
        head.names.weight[:] = torch.tensor([[1.0, -1.0], [0.0, 0.0]])  # the two names, opposite
        head.sharpness.fill_(2.0)
    return head


def test_features_by_hand() -> None:
    """Sharpness 2 and logits 0 and ln 3 / 2: chances 1/4 and 3/4, so the names give -1/2; (0, 1/2) comes on top."""
    head, tokens = small_head(), torch.zeros(1, 576, 1, 2)
    tokens[0, 0] = 1.0
    tokens[0, 1, 0, 1] = 9.0  # which ReLU6 cuts; nothing but `beyond` reads it
    with torch.no_grad():
        head.fc.weight[1, 0] = 0.5 * torch.log(torch.tensor(3.0))
        head.beyond.weight[1] = torch.tensor([0.5, 0.25]) * 2**0.5  # divided by the root of its two inputs
        image, patches = head(tokens)
    root = 0.5**0.5
    assert torch.allclose(patches[0, :, 0, 0], torch.tensor([-root, root]))
    assert torch.allclose(patches[0, :, 0, 1], F.normalize(torch.tensor([-0.5, 2.0]), dim=0))
    assert torch.allclose(image[0], F.normalize(torch.tensor([-0.5, 1.25]), dim=0))


def test_a_gate_leaves_patches_out_and_so_does_the_trainer() -> None:
    head, tokens = small_head(), torch.zeros(1, 576, 1, 2)
    tokens[0, :2, 0, 0], tokens[0, :2, 0, 1] = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    with torch.no_grad():
        assert head.pooled(head.hidden(tokens)).tolist() == [[1.0, 2.0]]
        left_out = torch.tensor([[[False, True]]])
        assert head.pooled(head.hidden(tokens), left_out).tolist() == [[2.0, 0.0]]
        head.gate.weight[0, 1] = -20.0  # the second patch counts e^-80
        assert torch.allclose(head.pooled(head.hidden(tokens)), torch.tensor([[2.0, 0.0]]))


def test_a_checkpoint_keeps_it(photo: MergedModel, tmp_path: Path) -> None:
    path = checkpoint.save(photo, tmp_path / "photo.safetensors", checkpoint.Origin(note="a test"))
    loaded, _ = checkpoint.load(path)
    assert loaded.spec == PHOTO
    assert all(torch.equal(each, loaded.state_dict()[name]) for name, each in photo.state_dict().items())


def test_a_classifier_has_the_parameters_that_are_published() -> None:
    assert sum(each.numel() for each in Classifier(LITE0).parameters()) == 4_652_008
