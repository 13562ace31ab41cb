"""The command of probing, on trees in the published layouts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trees_semantic
from PIL import Image
from support import Ran
from trees import WORDNET, save

from samclip_edge import data as shipped
from samclip_edge.benchmarks.evaluation.probing import columns, folder_name, probe_set
from samclip_edge.errors import InputError
from samclip_edge.files import sha256
from samclip_edge.train.probing.backbones import Backbone

RECIPE = "size: 64\nimages: 2\nepochs: 3\nrate: 1.0e-2\nworkers: 0\n"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """VOC2012 whose training photos are those that are measured on."""
    root = tmp_path / "VOC2012"
    trees_semantic.voc(root)
    lists = next(root.rglob("ImageSets/Segmentation"))
    shutil.copy(lists / "val.txt", lists / "train.txt")
    return root


def test_heads_are_trained_and_measured_beside_the_papers_numbers(
    run: Callable[..., Ran], voc: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE)
    out = tmp_path / "out"
    arguments = ("eval", "probe", "voc", "--data", voc, "--recipe", tmp_path / "small.yaml", "-o", out, "--json")
    ran = run(*arguments)
    assert ran.code == 0, ran.err
    assert ran.json == json.loads((out / "probe-voc-linear.json").read_text())
    assert ran.json["columns"]["tiny"]["kind"] == "merged"
    assert ran.json["columns"]["tiny"]["protocol"]["steps"] == 3
    assert ran.json["columns"]["tiny"]["measured"] == trees_semantic.COUNT
    assert 0 <= ran.json["measures"]["tiny"]["mIoU"] <= 1
    assert ran.json["paper"]["SAM"] == {"mIoU": 0.466}
    assert ran.json["columns"]["tiny"]["sha256"] == sha256(shipped.CHECKPOINTS["tiny"])
    place = next((out / "voc-linear").glob("tiny-*"))
    assert json.loads((place / "measured.json").read_text()) == ran.json, "which other backbones do not replace"
    pictures = {each.name for each in place.glob("*.jpg")}
    assert pictures == {f"{what}-{number}.jpg" for what in ("best", "worst", "drawn") for number in (1, 2)}
    with Image.open(place / "best-1.jpg") as picture:
        assert picture.width == 2 * picture.height, "the answer, and the truth beside it"
    trained = (place / "state.pt").stat().st_mtime_ns
    assert run(*arguments).json == ran.json
    assert (place / "state.pt").stat().st_mtime_ns == trained, "what is trained is not trained again"


def test_a_backbone_of_the_same_name_has_a_folder_of_its_own(tmp_path: Path) -> None:
    names = []
    for content in ("one", "one", "other"):
        file = tmp_path / "model.safetensors"
        file.write_text(content)
        names.append(folder_name(str(file), Backbone("merged", torch.nn.Identity(), file)))
    assert names[0] == names[1] != names[2]
    assert all(re.fullmatch("model-[0-9a-f]{8}", name) for name in names)


@pytest.mark.parametrize("changed", ["SegmentationClass/2007_000700.png", "JPEGImages/2007_000701.jpg"])
def test_a_changed_data_set_is_known(voc: Path, changed: str) -> None:
    before = [probe_set("voc", voc, part).photos.sha256 for part in ("train", "val")]
    assert before[0] == before[1], "the same photos"
    Image.fromarray(np.zeros((128, 128), np.uint8)).save(voc / changed, "PNG")
    assert probe_set("voc", voc, "train").photos.sha256 != before[0]


def test_clips_of_one_model_are_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / folder / "open_clip_model.safetensors" for folder in ("datacomp", "laion")]
    for file in files:
        file.parent.mkdir()
        file.touch()
    one, other = (f"ViT-B-16:{file}" for file in files)
    assert columns(["tiny", one]) == {"tiny": "tiny", one: "ViT-B-16"}
    assert columns([one, "ViT-B-16:laion2b_s34b_b88k"]) == {
        one: "ViT-B-16:open_clip_model",
        "ViT-B-16:laion2b_s34b_b88k": "ViT-B-16:laion2b_s34b_b88k",
    }
    assert columns([one, other]) == {one: one, other: other}


def test_labels_of_voc_have_the_background_as_a_class(voc: Path) -> None:
    truth = trees_semantic.voc(voc)
    read = probe_set("voc", voc, "train").photos
    assert (read.count, read.classes, read.whole) == (len(truth), 21, False)
    for number, wanted in enumerate(truth.values()):
        pixels, labels = read.read(number)
        assert pixels.shape == (*wanted.shape, 3)
        assert np.array_equal(labels, wanted)


def test_training_photos_of_imagenet_are_those_in_train(tmp_path: Path) -> None:
    for seed, name in enumerate(WORDNET):
        save(seed, tmp_path / "train" / name / f"{name}_{seed}.JPEG", format="JPEG")
        save(seed, tmp_path / "val" / name / "ILSVRC2012_val_00000001.JPEG", format="JPEG")
    read = probe_set("imagenet", tmp_path, "train").photos
    assert (read.count, read.classes, read.whole) == (3, 1000, True)
    assert [read.read(number)[1] for number in range(3)] == [0, 1, 281]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cityscapes",), "cityscapes: no such task to probe; give one of voc, ade20k, imagenet, places365"),
        (("voc", "--head", "dpt"), "--head dpt: no such head; give linear, deeplabv3, pspnet"),
        (("imagenet", "--head", "pspnet"), "--head pspnet: no such head; give linear, which is the only one"),
        (
            ("ade20k",),
            "holds no annotations/training/ and no ADEChallengeData2016/annotations/training/; images/training/, ",
        ),
        (("voc", "--backbone", "nothing.pt"), "--backbone nothing.pt: no such file; give a merged checkpoint"),
        (("voc", "--recipe", "nothing.yaml"), "--recipe nothing.yaml: cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    run: Callable[..., Ran], voc: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    ran = run("eval", "probe", *arguments, "--data", voc, "-o", tmp_path / "out")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1), ran.err
    assert told.replace("{}", str(voc)) in ran.err
    assert not (tmp_path / "out").exists()


def test_training_lists_are_named_and_must_hold_photos(run: Callable[..., Ran], voc: Path) -> None:
    listed = next(voc.rglob("ImageSets/Segmentation")) / "train.txt"
    listed.write_text("")
    ran = run("eval", "probe", "voc", "--data", voc)
    assert (ran.code, ran.err) == (2, f"error: {listed}: lists no photo; fetch it again\n")
    listed.unlink()
    ran = run("eval", "probe", "voc", "--data", voc)
    assert ran.code == 2
    assert "ImageSets/Segmentation/train.txt of VOC2012 lie in DIR" in ran.err
    assert "val.txt" not in ran.err


def test_an_output_that_is_a_file_is_one_line(run: Callable[..., Ran], voc: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE)
    ran = run("eval", "probe", "voc", "--data", voc, "--recipe", tmp_path / "small.yaml", "-o", tmp_path / "small.yaml")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1), ran.err
    assert "small.yaml" in ran.err
    assert "cannot be written" in ran.err


def test_folders_of_classes_without_a_photo_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "train" / WORDNET[0]).mkdir(parents=True)
    with pytest.raises(InputError, match="has no photo for train; fetch the data set again"):
        probe_set("imagenet", tmp_path, "train")
