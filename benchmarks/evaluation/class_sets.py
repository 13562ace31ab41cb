"""Data sets of one class a photo, in the layouts in which they are published: the names of classes, and the photos."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from samclip_edge.benchmarks.evaluation.forms import FileName, Rows, checked
from samclip_edge.benchmarks.evaluation.layout import read_lines, there
from samclip_edge.benchmarks.evaluation.task import Part, Sample
from samclip_edge.errors import InputError, one_line

_IMAGES = (".jpg", ".jpeg", ".png", ".webp")

IMAGENET = (
    "ImageNet's validation photos lie in folders named by WordNet id (n01440764/...), in DIR or DIR/val; or as Kaggle "
    "has them (ILSVRC/Data/CLS-LOC/val beside LOC_val_solution.csv); or flat as published (val/ or ILSVRC2012_img_val/ "
    "beside ILSVRC2012_devkit_t12/)"
)
IMAGENET_TRAIN = "ImageNet's training photos lie in folders named by WordNet id, in DIR/train"
IMAGENET_V2 = "ImageNet-V2 is unpacked to folders 0 to 999, in DIR or DIR/imagenetv2-matched-frequency-format-val"
PLACES = (
    "Places365's photos lie in val_256/ or val_large/ beside places365_val.txt and categories_places365.txt (those for "
    "training in data_256/ or data_large/ beside places365_train_standard.txt); or in folders named by class "
    "(places365_standard/val/airfield/..., places365_standard/train/airfield/...)"
)
_PLACES = {  # by part: the list of photos, and where they lie
    "val": ("places365_val.txt", ["val_256/", "val_large/", "val/"]),
    "train": (
        "places365_train_standard.txt",
        ["data_256/", "data_256_standard/", "data_large/", "data_large_standard/"],
    ),
}


def _imagenet(data: Path, part: Part) -> tuple[list[str], list[Sample]]:
    """ImageNet's validation photos, in one of three layouts; its training photos always lie in a folder a class."""
    own = {name: number for number, name in enumerate(_wordnet_ids())}
    if part == "train":
        folder = there(data, ["train/n[0-9]*/", "ILSVRC/Data/CLS-LOC/train/n[0-9]*/"], IMAGENET_TRAIN).parent
        return _openai_names(), _folders(data, folder, own)
    if (data / "ILSVRC" / "Data" / "CLS-LOC" / "val").is_dir():
        there(data, ["LOC_val_solution.csv", "ILSVRC/Data/CLS-LOC/val/n[0-9]*/"], IMAGENET)
    for solution in data.glob("LOC_val_solution.csv"):
        return _openai_names(), _kaggle(data, solution, own)
    for devkit in data.glob("ILSVRC2012_devkit_t12/data"):
        photos = there(data, ["ILSVRC2012_img_val/", "val/"], IMAGENET)
        if not any(each.is_dir() for each in photos.iterdir()):
            return _openai_names(), _devkit(data, devkit, photos, own)
    folder = there(
        data, ["n[0-9]*/", "val/n[0-9]*/", "*/val/n[0-9]*/", "ILSVRC/Data/CLS-LOC/val/n[0-9]*/"], IMAGENET
    ).parent
    return _openai_names(), _folders(data, folder, own)


def _kaggle(data: Path, solution: Path, own: dict[str, int]) -> list[Sample]:
    """Kaggle's layout: photos in one folder, and a table of classes: `ILSVRC2012_val_00048981,n03995372 85 ...`."""
    photos = there(data, ["ILSVRC/Data/CLS-LOC/val/", "val/"], IMAGENET)
    rows = []
    try:
        for row in csv.DictReader(read_lines(solution)):
            name, said = row.get("ImageId"), (row.get("PredictionString") or "").split()
            if not name or not said:
                raise InputError(f"{solution}: has a line without ImageId and PredictionString; fetch it again")
            rows.append((f"{name}.JPEG", _class(own, said[0], solution)))
    except csv.Error as error:
        raise InputError(f"{solution}: is no table ({one_line(error)}); fetch it again") from None
    return _listed(data, photos, solution, rows)


def _devkit(data: Path, devkit: Path, photos: Path, own: dict[str, int]) -> list[Sample]:
    """The published layout: photos in one folder, and the devkit's list of their classes in its own numbering."""
    from scipy.io import loadmat

    meta = there(devkit, ["meta.mat"], IMAGENET)
    try:
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        wordnet = {str(int(each["ILSVRC2012_ID"])): str(each["WNID"]) for each in synsets}
    except Exception as error:  # a decoder raises whatever it likes
        raise InputError(f"{meta}: cannot be read ({one_line(error)}); fetch the devkit again") from None
    listed = there(devkit, ["ILSVRC2012_validation_ground_truth.txt"], IMAGENET)
    samples = []
    for place, line in enumerate(read_lines(listed), 1):
        said = line.strip()
        number = _class(own, wordnet.get(said, said), listed)
        samples.append(_sample(data, photos / f"ILSVRC2012_val_{place:08d}.JPEG", number))
    return samples


def _class(own: dict[str, int], said: str, listed: Path) -> int:
    """The number of a class that a list names."""
    if said not in own:
        raise InputError(f"{listed}: {said[:60]!r} is none of ImageNet's 1,000 classes; fetch it again")
    return own[said]


def _imagenet_v2(data: Path, part: Part) -> tuple[list[str], list[Sample]]:
    """ImageNet-V2: folders named by the number of the class. It has no training photos."""
    folder = there(data, ["0/", "imagenetv2-matched-frequency*/0/", "*/0/"], IMAGENET_V2).parent
    return _openai_names(), _folders(data, folder, {str(number): number for number in range(1000)})


def _places365(data: Path, part: Part) -> tuple[list[str], list[Sample]]:
    """Places365: a list of files with the numbers of their classes, or a folder a class."""
    table, folders = _PLACES[part]
    if any((data / each).is_dir() for each in folders if each != "val/"):
        there(data, [table], PLACES)
    if (data / table).is_file():
        listed = there(data, ["categories_places365.txt"], PLACES)
        names = _categories(listed)
        photos = there(data, folders, PLACES)
        rows = [_pair(data / table, line) for line in read_lines(data / table)]
        for name, number in rows:
            if number >= len(names):
                why = f"{name} is of class {number}, and {listed.name} ends with {len(names) - 1}"
                raise InputError(f"{data / table}: {why}; fetch both again")
        return names, _listed(data, photos, data / table, [(name.lstrip("/"), number) for name, number in rows])
    inside = [f"places365_standard/{part}/airfield/", f"{part}/airfield/", *(["airfield/"] if part == "val" else [])]
    folder = there(data, inside, PLACES).parent
    own = {each.name: place for place, each in enumerate(sorted(each for each in folder.iterdir() if each.is_dir()))}
    return [_spoken(name) for name in own], _folders(data, folder, own)


CLASS_SETS: dict[str, Callable[[Path, Part], tuple[list[str], list[Sample]]]] = {
    "imagenet": _imagenet,
    "imagenet-v2": _imagenet_v2,
    "places365": _places365,
}  # of a folder and a part: what the classes are called, and samples, whose truth is the number of their class


def _wordnet_ids() -> list[str]:
    """The WordNet ids of ImageNet's classes, in the order of their numbers."""
    import timm.data

    return list(timm.data.ImageNetInfo("imagenet-1k").label_names())


def _openai_names() -> list[str]:
    """What OpenAI calls ImageNet's classes."""
    from open_clip import IMAGENET_CLASSNAMES

    return list(IMAGENET_CLASSNAMES)


def _folders(data: Path, folder: Path, own: dict[str, int]) -> list[Sample]:
    """The photos in folders that are named as classes are."""
    classes = sorted(each for each in folder.iterdir() if each.name in own and each.is_dir())
    found = [(each, own[inside.name]) for inside in classes for each in sorted(inside.iterdir())]
    return [_sample(data, each, number) for each, number in found if each.suffix.lower() in _IMAGES]


def _sample(data: Path, photo: Path, number: int) -> Sample:
    return Sample(photo.relative_to(data).as_posix(), photo, number)


def _listed(data: Path, photos: Path, listed: Path, rows: Sequence[tuple[str, int]]) -> list[Sample]:
    """The photos that a list names, and their classes. Raises InputError for one that is not in the folder `photos`."""
    try:
        names = checked(Rows[FileName], [name for name, _ in rows])
    except ValueError as error:
        raise InputError(f"{listed}: is not as it was published ({error}); fetch it again") from None
    return [_sample(data, photos / name, number) for name, (_, number) in zip(names, rows, strict=True)]


def _categories(listed: Path) -> list[str]:
    """Places365's names of classes, in the order of their numbers: `/a/apartment_building/outdoor 8`."""
    pairs = [_pair(listed, line) for line in read_lines(listed)]
    names = {number: _spoken(own.split("/", 2)[-1]) for own, number in pairs}
    if not names or sorted(number for _, number in pairs) != list(range(len(names))):
        raise InputError(f"{listed}: does not number its classes 0, 1, 2 and so on; fetch it again")
    return [names[number] for number in range(len(names))]


def _pair(path: Path, line: str) -> tuple[str, int]:
    """A name and a number in a line of text."""
    found = re.fullmatch(r"(.+) ([0-9]{1,9})\s*", line)
    if not found:
        raise InputError(f"{path}: {line[:60]!r} is no name and number; fetch it again")
    return found[1], int(found[2])


def _spoken(own: str) -> str:
    """A class's own name in words: `apartment_building/outdoor` becomes "apartment building outdoor"."""
    return own.replace("_", " ").replace("/", " ").replace("-", " ")
