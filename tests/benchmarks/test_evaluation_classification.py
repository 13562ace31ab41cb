"""Zero-shot classification: every published layout, CLIP's own way of cutting photos, top-k by others' arithmetic."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchmetrics.classification import MulticlassAccuracy
from trees import WORDNET, save, scene

from samclip_edge import SamClip
from samclip_edge.accuracy import synthetic
from samclip_edge.benchmarks.evaluation import run
from samclip_edge.benchmarks.evaluation.class_sets import CLASS_SETS
from samclip_edge.benchmarks.evaluation.classification import Classification
from samclip_edge.benchmarks.evaluation.photos import reader
from samclip_edge.benchmarks.evaluation.task import Asked, Sample
from samclip_edge.data import TINY
from samclip_edge.errors import InputError
from samclip_edge.rendered import NAMES

NUMBERS = {"n01440764": 0, "n01443537": 1, "n02123045": 281}


def in_folders(root: Path) -> dict[str, int]:
    for seed, name in enumerate(WORDNET):
        save(seed, root / name / f"ILSVRC2012_val_0000000{seed}.JPEG", format="JPEG")
    return {f"{name}/ILSVRC2012_val_0000000{seed}.JPEG": NUMBERS[name] for seed, name in enumerate(WORDNET)}


def in_val(root: Path) -> dict[str, int]:
    return {f"val/{key}": number for key, number in in_folders(root / "val").items()}


def of_kaggle(root: Path) -> dict[str, int]:
    place = "ILSVRC/Data/CLS-LOC/val"
    for seed in range(3):
        save(seed, root / place / f"ILSVRC2012_val_0000000{seed}.JPEG", format="JPEG")
    with (root / "LOC_val_solution.csv").open("w", newline="") as file:
        rows = [(f"ILSVRC2012_val_0000000{seed}", f"{WORDNET[seed]} 1 2 3 4 ") for seed in range(3)]
        csv.writer(file).writerows([("ImageId", "PredictionString"), *rows])
    return {f"{place}/ILSVRC2012_val_0000000{seed}.JPEG": NUMBERS[WORDNET[seed]] for seed in range(3)}


def as_published(root: Path) -> dict[str, int]:
    for seed in range(3):
        save(seed, root / f"ILSVRC2012_img_val/ILSVRC2012_val_{seed + 1:08d}.JPEG", format="JPEG")
    devkit = root / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    synsets = np.array([(90, WORDNET[2]), (7, WORDNET[0]), (8, WORDNET[1])], [("ILSVRC2012_ID", "i4"), ("WNID", "O")])
    savemat(devkit / "meta.mat", {"synsets": synsets})
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("8\n90\n7\n")
    return {f"ILSVRC2012_img_val/ILSVRC2012_val_{n:08d}.JPEG": own for n, own in ((1, 1), (2, 281), (3, 0))}


@pytest.mark.parametrize("write", [in_folders, in_val, of_kaggle, as_published])
def test_imagenet_is_read_in_each_layout(tmp_path: Path, write: Callable[[Path], dict[str, int]]) -> None:
    wanted = write(tmp_path)
    names, samples = CLASS_SETS["imagenet"](tmp_path, "val")
    assert {sample.key: sample.truth for sample in samples} == wanted
    assert all(sample.photo.is_file() for sample in samples)
    assert (len(names), names[0], names[1], names[281]) == (1000, "tench", "goldfish", "tabby cat")


def test_imagenet_v2_has_folders_of_numbers(tmp_path: Path) -> None:
    for number in (0, 10, 2):
        save(number, tmp_path / "imagenetv2-matched-frequency-format-val" / str(number) / "a.jpeg")
    names, samples = CLASS_SETS["imagenet-v2"](tmp_path, "val")
    assert sorted(sample.truth for sample in samples) == [0, 2, 10]
    assert len(names) == 1000


def test_places365_is_read_from_its_lists_and_from_folders(tmp_path: Path) -> None:
    for seed in (1, 2):
        save(seed, tmp_path / "val_256" / f"Places365_val_0000000{seed}.jpg")
    (tmp_path / "places365_val.txt").write_text("Places365_val_00000001.jpg 1\nPlaces365_val_00000002.jpg 0\n")
    (tmp_path / "categories_places365.txt").write_text("/a/airfield 0\n/a/apartment_building/outdoor 1\n")
    save(3, tmp_path / "data_256" / "a" / "airfield" / "00000001.jpg")
    (tmp_path / "places365_train_standard.txt").write_text("/a/airfield/00000001.jpg 0\n")
    names, samples = CLASS_SETS["places365"](tmp_path, "val")
    assert names == ["airfield", "apartment building outdoor"]
    assert [(sample.photo.name[-5], sample.truth) for sample in samples] == [("1", 1), ("2", 0)]
    (trained,) = CLASS_SETS["places365"](tmp_path, "train")[1]
    assert (trained.photo.is_file(), trained.truth) == (True, 0)
    easy = tmp_path / "easy"
    save(1, easy / "places365_standard" / "val" / "airfield" / "1.jpg")
    save(2, easy / "places365_standard" / "val" / "zen_garden" / "2.jpg")
    names, samples = CLASS_SETS["places365"](easy, "val")
    assert names == ["airfield", "zen garden"]
    assert [sample.truth for sample in samples] == [0, 1]


KAGGLE, SOLUTION = "ILSVRC/Data/CLS-LOC/val/x", "LOC_val_solution.csv"
DEVKIT, TRUTHS = (
    "ILSVRC2012_devkit_t12/data/meta.mat",
    "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
)
CATEGORIES, LISTED = "categories_places365.txt", "places365_val.txt"


@pytest.mark.parametrize(
    ("task", "files", "told"),
    [
        ("places365", {CATEGORIES: b"/a/airfield 0", LISTED: b"1.jpg"}, r"places365_val.txt: '1.jpg' is no name and n"),
        ("places365", {CATEGORIES: b"/a/airfield 0", LISTED: "1.jpg ²".encode()}, "places365_val.txt: '1.jpg ²' is no"),
        ("places365", {CATEGORIES: b"/a/airfield 0", LISTED: b"1.jpg " + b"9" * 5000}, "is no name and number"),
        ("places365", {CATEGORIES: b"/a/airfield 0", LISTED: b"1.jpg 1"}, "1.jpg is of class 1, and categories_"),
        (
            "places365",
            {CATEGORIES: b"/a/airfield 0", LISTED: b"../1.jpg 0"},
            f"{LISTED}: .*0: is no name of a file in the",
        ),
        ("places365", {CATEGORIES: b"", LISTED: b"1.jpg 0"}, f"{CATEGORIES}: does not number its classes 0, 1, 2"),
        ("places365", {CATEGORIES: b"/a/a 0\n/b/b 2", LISTED: b"1.jpg 0"}, "does not number its classes 0, 1, 2"),
        ("places365", {CATEGORIES: b"/a/a 0\n/b/b 0", LISTED: b"1.jpg 0"}, "does not number its classes 0, 1, 2"),
        ("imagenet", {KAGGLE: b"", SOLUTION: b"Image,Class\na,n01440764"}, "without ImageId and PredictionString"),
        ("imagenet", {KAGGLE: b"", SOLUTION: b"ImageId,PredictionString\na, "}, "without ImageId and PredictionString"),
        ("imagenet", {KAGGLE: b"", SOLUTION: b"ImageId,PredictionString\na,n1 2"}, "'n1' is none of ImageNet's"),
        (
            "imagenet",
            {KAGGLE: b"", SOLUTION: b"ImageId,PredictionString\n/a,n01440764"},
            "0: is no name of a file",
        ),
        ("imagenet", {KAGGLE: b"", SOLUTION: b"ImageId\xff"}, f"{SOLUTION}: cannot be read"),
        ("imagenet", {"val/x": b"", DEVKIT: b"7", TRUTHS: b"7"}, "meta.mat: cannot be read"),
        ("imagenet", {"val": b""}, "holds no n"),
        ("imagenet", {"val/n01440764": b""}, "holds no n"),
    ],
)
def test_a_damaged_list_is_named(tmp_path: Path, task: str, files: dict[str, bytes], told: str) -> None:
    (tmp_path / "val_256").mkdir()
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told):
        CLASS_SETS[task](tmp_path, "val")


@pytest.mark.parametrize("number", ["6", "x", "²", "-1"])
def test_a_number_that_the_devkit_does_not_have_is_named(tmp_path: Path, number: str) -> None:
    as_published(tmp_path)
    (tmp_path / TRUTHS).write_text(f"8\n{number}\n7\n")
    with pytest.raises(InputError, match=f"ground_truth.txt: '{number}' is none of ImageNet's 1,000 classes"):
        CLASS_SETS["imagenet"](tmp_path, "val")


def test_a_file_among_the_folders_of_classes_is_passed_over(tmp_path: Path) -> None:
    wanted = in_val(tmp_path)
    (tmp_path / "val" / "n01484850").write_bytes(b"")
    assert len(CLASS_SETS["imagenet"](tmp_path, "val")[1]) == len(wanted)


@pytest.mark.parametrize("kind", ["grey", "CMYK", "turned", "wide"])
def test_photos_are_cut_as_open_clip_cuts_them(tmp_path: Path, kind: str) -> None:
    wide = scene(4, 256, 3).image[40:200]
    image = Image.fromarray(wide)
    path = tmp_path / f"{kind}.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn, clockwise
    modes = {"grey": "L", "CMYK": "CMYK"}
    image.convert(modes.get(kind, "RGB")).save(path, quality=95, **({"exif": exif} if kind == "turned" else {}))
    pixels, truth = reader(96)(Sample("a", path, 5))
    upright = Image.open(path).convert("RGB")
    upright = upright.transpose(Image.Transpose.ROTATE_270) if kind == "turned" else upright
    preprocess = open_clip.image_transform(96, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    wanted = preprocess(upright).numpy().transpose(1, 2, 0) * 255
    assert truth == 5
    assert np.abs(pixels - wanted).max() < (2 if kind == "CMYK" else 1e-3)


def test_top_1_and_top_5_are_those_of_torchmetrics(tiny: SamClip, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    similarities, true = random.normal(size=(200, 20)), random.integers(20, size=200)
    outcomes = [{"place": int((row > row[own]).sum())} for row, own in zip(similarities, true, strict=True)]
    found = Classification(Asked(tiny, tmp_path), 128, NAMES, []).measures(outcomes)
    for name, k in (("top-1", 1), ("top-5", 5)):
        metric = MulticlassAccuracy(20, top_k=k, average="micro")
        assert found[name] == pytest.approx(float(metric(torch.from_numpy(similarities), torch.from_numpy(true))))


def test_the_shipped_model_gives_the_numbers_of_eval_synthetic(tmp_path: Path) -> None:
    """Where the protocol is the same: squares of the input's size, the same names and templates."""
    model, count = SamClip.load(TINY), 40
    samples = []
    for number, drawn in enumerate(synthetic.scenes(10_000, count, 128, most=1)):
        Image.fromarray(drawn.image).save(tmp_path / f"{number}.png")
        samples.append(Sample(str(number), tmp_path / f"{number}.png", NAMES.index(drawn.things[0].kind)))
    asked = Asked(model, tmp_path)
    found = run.measure(Classification(asked, 128, NAMES, samples), asked)
    assert found.measures["top-1"] == synthetic.classification(model, count)
    assert 0.5 < found.measures["top-1"] <= found.measures["top-5"] <= 1
