"""Probing: frozen backbones against open_clip and MobileSAM, heads, what a head learns, and a run that was stopped."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import yaml
from PIL import Image
from probes import RECIPE, drawn, mapped, read_class, read_labels, silent
from support import as_model, off, spread
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from samclip_edge.errors import InputError
from samclip_edge.photo.resize import Pixels
from samclip_edge.rendered import COLOURS
from samclip_edge.train.probing.backbones import Backbone, backbone
from samclip_edge.train.probing.data import IGNORED, Photos, Steps, Truth, cut
from samclip_edge.train.probing.heads import HEADS, head
from samclip_edge.train.probing.probe import Probe
from samclip_edge.train.probing.recipe import read_probe_recipe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it registers its models with timm anew
    import mobile_sam

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
TEXT = {"context_length": 8, "vocab_size": 600, "width": 32, "heads": 2, "layers": 1}


def test_patches_of_clip_are_open_clips_own(tmp_path: Path) -> None:
    name = as_model(tmp_path, "probed", {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT})
    model = open_clip.create_model(name).eval()
    spread(model, seed=3)
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    frozen = backbone(f"{name}:{tmp_path / 'clip.pt'}", 32)
    image = torch.rand(2, 3, 32, 32) * 255
    mean, std = (
        torch.tensor(each).view(1, 3, 1, 1) for each in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    model.visual.output_tokens = True
    with torch.no_grad():
        tokens = model.visual((image / 255 - mean) / std)[1]
    assert frozen.kind == "CLIP"
    assert off(tokens.transpose(1, 2).reshape(2, 64, 2, 2), frozen(image)) < 1e-4
    larger = backbone(f"{name}:{tmp_path / 'clip.pt'}", 64)
    assert larger(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 4, 4)


def test_sams_encoder_is_loaded_whole_and_read_before_its_neck(tmp_path: Path) -> None:
    sam = mobile_sam.build_sam_vit_t().eval()
    spread(sam, seed=4)
    torch.save(sam.state_dict(), tmp_path / "mobile_sam.pt")
    frozen = backbone(str(tmp_path / "mobile_sam.pt"), 64)
    own = frozen.module.state_dict()
    assert frozen.kind == "SAM"
    assert own.keys() >= {"neck.0.weight", "layers.3.blocks.1.attn.qkv.weight"}
    assert all(torch.equal(each, sam.image_encoder.state_dict()[name]) for name, each in own.items())
    assert frozen(torch.zeros(1, 3, 64, 64)).shape == (1, 320, 4, 4), "not the neck's 256"


def test_a_frozen_backbone_learns_nothing() -> None:
    frozen = backbone("tiny", 64)
    assert frozen.kind == "merged"
    frozen.train()
    assert not any(module.training for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


@pytest.mark.parametrize("kind", HEADS)
def test_heads_answer_for_each_patch(kind: str) -> None:
    made = head(kind, 32, 5, whole=False).eval()
    patches = torch.randn(2, 32, 12, 12)
    patches.requires_grad_(True)
    logits = made(patches)
    assert logits.shape == (2, 5, 12, 12)
    logits[0, 0, 0, 0].backward()
    reach = patches.grad[0].abs().sum(dim=0) > 0
    assert reach[0, 0]
    assert reach.all() == (kind != "linear"), "the others see the whole photo from each patch"
    assert not patches.grad[1].any()


def test_a_crop_takes_its_labels_along() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    labels = np.zeros((40, 60), np.uint8)
    pixels[10:30, 20:50], labels[10:30, 20:50] = 255, 3
    for seed in range(5):
        part, own = cut(pixels, labels, 120, 0.3, random.Random(seed))
        inside, outside = part.min(axis=2) > 250, part.max(axis=2) < 5
        assert (own[inside] == 3).mean() > 0.98
        assert (own[outside] == 0).mean() > 0.98
        assert inside.any()
    with pytest.raises(InputError, match="labels of"):
        cut(pixels, labels[:, 1:], 120, 0.3, random.Random(0))


def test_every_photo_comes_once_an_epoch_over_all_processes() -> None:
    seen: list[int] = []

    def read(number: int) -> tuple[Pixels, Truth]:
        seen.append(number)
        return np.zeros((8, 8, 3), np.uint8), 0

    photos = Photos(16, read, 2, whole=True)
    orders = []
    for epoch in range(2):
        seen.clear()
        for rank in range(2):
            list(map(Steps(photos, RECIPE, range(2 * epoch, 2 * epoch + 2), (rank, 2)).__getitem__, range(2)))
        orders.append(list(seen))
        assert sorted(seen) == list(range(16))
    assert orders[0] != orders[1]


def test_a_linear_head_learns_colours_and_counts_as_torchmetrics_does(tmp_path: Path) -> None:
    probe = Probe(RECIPE.model_copy(update={"epochs": 10}), backbone("tiny", 64), "linear", drawn(64), tmp_path, silent)
    before = probe.measure(drawn(40)).measures
    probe.train()
    whole = probe.measure(drawn(40))
    found = whole.measures
    assert whole.skipped == {}
    assert before["top-1"] < 0.4 < 0.7 < found["top-1"] <= found["top-5"]
    read = [read_class(number) for number in range(40)]
    pixels = torch.from_numpy(np.stack([photo for photo, _ in read]).transpose(0, 3, 1, 2))
    with torch.no_grad():
        logits = probe.head(probe.backbone(pixels.float()))
    true = torch.tensor([each for _, each in read])
    for name, k in (("top-1", 1), ("top-5", 5)):
        metric = MulticlassAccuracy(len(COLOURS), top_k=k, average="micro")
        assert found[name] == pytest.approx(float(metric(logits, true)))


def test_labels_of_pixels_are_counted_as_torchmetrics_counts_them(tmp_path: Path) -> None:
    probe = Probe(RECIPE, backbone("tiny", 64), "deeplabv3", mapped(8), tmp_path, silent)
    probe.train()
    found = probe.measure(mapped(6)).measures
    metric = MulticlassJaccardIndex(2, ignore_index=IGNORED)
    for number in range(6):
        pixels, labels = read_labels(number)
        with torch.no_grad():
            patches = probe.backbone(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float())
            logits = torch.nn.functional.interpolate(probe.head(patches), size=(64, 64), mode="bilinear")
        metric.update(logits.argmax(dim=1)[0], torch.from_numpy(np.asarray(labels)))
    assert found["mIoU"] == pytest.approx(float(metric.compute()), abs=1e-6)


def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    class Stop(Exception): ...

    def stop(_: str, step: int, __: int) -> None:
        if step == 5:
            raise Stop

    made: Backbone = backbone("tiny", 64)
    new = partial(Probe, RECIPE, made, "pspnet", mapped(16))
    whole = new(tmp_path / "whole", silent)
    whole.train()
    with pytest.raises(Stop):
        new(tmp_path / "stopped", stop).train()
    again = new(tmp_path / "stopped", silent)
    again.train()
    assert whole.steps == 8
    for name, wanted in whole.head.state_dict().items():
        assert torch.equal(wanted, again.head.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"recipe": RECIPE.model_copy(update={"rate": 0.01})}, "other settings"),
        ({"kind": "pspnet"}, "other head"),
        ({"photos": replace(mapped(8), sha256="b")}, "other training photos or labels"),
        ({"backbone": "other weights"}, "other backbone"),
    ],
)
def test_another_probe_in_the_folder_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    given = {"recipe": RECIPE, "backbone": backbone("tiny", 64), "kind": "linear", "photos": mapped(8)}
    Probe(**given, folder=tmp_path, report=silent)
    Probe(**given | {"recipe": RECIPE.model_copy(update={"workers": 1})}, folder=tmp_path, report=silent)
    if "backbone" in change:
        (tmp_path / "other").write_text(change["backbone"])
        change = {"backbone": Backbone("merged", given["backbone"].module, tmp_path / "other")}
    with pytest.raises(InputError, match=f"holds a probe with {told}; name another folder"):
        Probe(**given | change, folder=tmp_path, report=silent)


@pytest.mark.parametrize("held", [b"", b"a text", [1], {"step": None}, {"step": 99}, {"step": "2"}, {"head": {}}])
def test_a_state_that_cannot_be_read_is_one_line(tmp_path: Path, held: Any) -> None:
    probe = Probe(RECIPE, backbone("tiny", 64), "linear", mapped(8), tmp_path, silent)
    if isinstance(held, bytes):
        (tmp_path / "state.pt").write_bytes(held)
    else:
        whole = {"head": probe.head.state_dict(), "optimizer": probe.optimizer.state_dict()}
        torch.save({**whole, **held} if isinstance(held, dict) else held, tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt: cannot be read \(.*\); remove it to begin anew$"):
        probe.train()


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda number: (np.zeros((8, 8, 3), np.uint8), np.full((8, 8), IGNORED, np.uint8)), "all their pixels"),
        (lambda number: _raise(f"photo {number} is damaged"), "photo 0 is damaged"),
    ],
)
def test_nothing_to_measure_is_no_number(tmp_path: Path, read: Any, why: str) -> None:
    probe = Probe(RECIPE, backbone("tiny", 64), "linear", mapped(8), tmp_path, silent)
    with pytest.raises(InputError, match=rf"no photo can be measured \({why}.*\); fetch the data set again"):
        probe.measure(Photos(2, read, 2, whole=False))


def _raise(text: str) -> Any:
    raise InputError(text)


def test_the_recipes_are_read_and_a_wrong_key_is_named(tmp_path: Path) -> None:
    assert read_probe_recipe("segmentation").size == 448
    assert read_probe_recipe("classification").size == 224
    path = tmp_path / "mine.yaml"
    path.write_text("size: 448\nimages: 16\nepochs: 1\nrate: 0.1\nbatch: 3\n")
    with pytest.raises(InputError, match=r"recipe .*mine\.yaml: batch: "):
        read_probe_recipe(str(path))


@pytest.mark.parametrize(
    "line",
    ["epochs: .inf", "epochs: 1.0e300", "epochs: .nan", "seed: -1", f"seed: {10**30}", "rate: .nan",
     "weight_decay: .inf", "gradient_norm: .inf", "size: 40", "size: 1000000000", "images: 1000000000000"],
)  # fmt: skip
def test_settings_that_no_run_can_have_are_one_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RECIPE.model_dump() | yaml.safe_load(line)))
    with pytest.raises(InputError, match=rf"recipe .*mine\.yaml: {line.split(':')[0]}: "):
        read_probe_recipe(str(path))


@pytest.mark.parametrize(
    ("vision", "size", "told"),
    [
        (VISION, 40, "patches of 16 pixels do not divide 40; put size: 32 or 48 into"),
        ({**VISION, "patch_size": 32}, 16, "patches of 32 pixels do not divide 16; put size: 32 into"),
        ({**VISION, "patch_size": 14}, 512, "patches of 14 pixels do not divide 512; put size: 448 or 560 into"),
        ({"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}, 64, "is a ResNet, which has no patches"),
    ],
)  # fmt: skip
def test_a_clip_that_shows_no_patches_at_a_size_is_one_line(
    tmp_path: Path, vision: dict[str, Any], size: int, told: str
) -> None:
    name = as_model(tmp_path, "probed", {"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT})
    torch.save(open_clip.create_model(name).state_dict(), tmp_path / "clip.pt")
    with pytest.raises(InputError, match=told):
        backbone(f"{name}:{tmp_path / 'clip.pt'}", size)


def test_what_is_no_backbone_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="no such file; give a merged checkpoint"):
        backbone(str(tmp_path / "nothing.pt"), 64)
    with pytest.raises(InputError, match="a picture"):
        backbone(str(tmp_path / "a.png"), 64)
