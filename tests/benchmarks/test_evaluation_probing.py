"""The command of probing, on trees in the published layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trees_semantic
from support import Ran
from trees import WORDNET, save

from samclip_edge.benchmarks.evaluation.probing import photos

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
    assert run(*arguments).json == ran.json, "what is trained is not trained again"


def test_labels_of_voc_have_the_background_as_a_class(voc: Path) -> None:
    truth = trees_semantic.voc(voc)
    read = photos("voc", voc, "train")
    assert (read.count, read.classes, read.whole) == (len(truth), 21, False)
    for number, wanted in enumerate(truth.values()):
        pixels, labels = read.read(number)
        assert pixels.shape == (*wanted.shape, 3)
        assert np.array_equal(labels, wanted)


def test_training_photos_of_imagenet_are_those_in_train(tmp_path: Path) -> None:
    for seed, name in enumerate(WORDNET):
        save(seed, tmp_path / "train" / name / f"{name}_{seed}.JPEG", format="JPEG")
        save(seed, tmp_path / "val" / name / "ILSVRC2012_val_00000001.JPEG", format="JPEG")
    read = photos("imagenet", tmp_path, "train")
    assert (read.count, read.classes, read.whole) == (3, 1000, True)
    assert [read.read(number)[1] for number in range(3)] == [0, 1, 281]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cityscapes",), "cityscapes: no such task to probe; give one of voc, ade20k, imagenet, places365"),
        (("voc", "--head", "dpt"), "--head dpt: no such head; give linear, deeplabv3, pspnet"),
        (("imagenet", "--head", "pspnet"), "--head pspnet: no such head; give linear, which is the only one"),
        (("ade20k",), "--data {}: holds no annotations/training/"),
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
