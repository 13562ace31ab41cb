"""The data sets of photos with captions, in the layouts in which they are published: what is said of each photo."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import Json
from typing_extensions import TypedDict

from samclip_edge.benchmarks.evaluation.forms import FileName, Id, Rows, checked, each_once, read_form
from samclip_edge.benchmarks.evaluation.layout import read_lines, there
from samclip_edge.benchmarks.evaluation.task import Sample
from samclip_edge.errors import InputError, one_line

_CAPTIONS = 5  # of a photo: the first, where there are more

_JSON, _CSV, _TEXT = "dataset_flickr30k.json", "flickr_annotations_30k.csv", "flickr30k_test_karpathy.txt"
FLICKR = (
    "Flickr30k's photos lie in flickr30k-images/, flickr30k_images/ or images/ beside the list of Karpathy's split: "
    f"his {_JSON}, or {_CSV} (raw,sentids,split,filename,img_id), or {_TEXT}"
)
COCO = "COCO's photos lie in val2017/ beside annotations/captions_val2017.json"


class _Sentence(TypedDict):
    raw: str


class _KarpathyImage(TypedDict):
    filename: FileName
    split: str
    sentences: Rows[_Sentence]


class _Karpathy(TypedDict):
    images: Rows[_KarpathyImage]


class _Row(TypedDict):
    """Of the csv."""

    filename: FileName
    split: str
    raw: Json[list[str]]


class _Image(TypedDict):
    id: Id
    file_name: FileName


class _Caption(TypedDict):
    image_id: Id
    caption: str


class _Coco(TypedDict):
    images: Rows[_Image]
    annotations: Rows[_Caption]


class Captions(NamedTuple):
    """What a sample's truth is."""

    number: int  # of the photo in its data set
    texts: tuple[str, ...]  # at least one


def _flickr30k(data: Path) -> list[Sample]:
    """The photos of Karpathy's test split, as one of three files lists them."""
    forms = {_JSON: _karpathy, _CSV: _table, _TEXT: _text}
    listed = next((data / form for form in forms if (data / form).is_file()), None)
    if listed is None and [*data.glob("results.csv"), *data.glob("*/results.csv")]:
        raise InputError(f" {data}: results.csv does not say which photos are Karpathy's test split; {FLICKR}", "data")
    listed = listed or there(data, list(forms), FLICKR)
    folders = ("flickr30k-images/", "flickr30k_images/flickr30k_images/", "flickr30k_images/", "images/")
    photos = there(data, folders, FLICKR)
    try:
        found = {name: list(texts) for name, texts in forms[listed.name](listed)}
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{listed}: is not as it was published ({one_line(error)}); fetch it again") from None
    return _samples(data, photos, found)


def _karpathy(listed: Path) -> Iterable[tuple[str, Iterable[str]]]:
    for each in read_form(listed, _Karpathy)["images"]:
        if each["split"] == "test":
            yield each["filename"], (sentence["raw"] for sentence in each["sentences"])


def _table(listed: Path) -> Iterable[tuple[str, Iterable[str]]]:
    with listed.open(newline="", encoding="utf-8") as file:
        rows = checked(Rows[_Row], list(csv.DictReader(file)))
    return [(row["filename"], row["raw"]) for row in rows if row["split"] == "test"]


def _text(listed: Path) -> Iterable[tuple[str, Iterable[str]]]:
    """A caption a line, after a head: `1007129816.jpg,The man with pierced ears is wearing glasses.`"""
    found: dict[str, list[str]] = {}
    for line in read_lines(listed)[1:]:
        name, mark, text = line.partition(".jpg,")
        if not mark:
            raise ValueError(f"{line[:60]!r} is no photo with a caption")
        found.setdefault(f"{name}.jpg", []).append(text)
    return zip(checked(Rows[FileName], list(found)), found.values(), strict=True)


def _coco(data: Path) -> list[Sample]:
    """The photos of val2017, with their captions in the order of the file."""
    listed = there(data, ["annotations/captions_val2017.json", "captions_val2017.json"], COCO)
    photos = there(data, ["val2017/"], COCO)
    said = read_form(listed, _Coco)
    each_once(listed, "images", said["images"], "id", "file_name")
    texts: dict[int, list[str]] = {}
    for each in said["annotations"]:
        texts.setdefault(each["image_id"], []).append(each["caption"])
    return _samples(data, photos, {each["file_name"]: texts.get(each["id"], []) for each in said["images"]})


CAPTION_SETS: dict[str, Callable[[Path], list[Sample]]] = {
    "flickr30k": _flickr30k,
    "coco-captions": _coco,
}  # of a folder: samples, whose truth is `Captions`


def _samples(data: Path, photos: Path, found: dict[str, list[str]]) -> list[Sample]:
    """A sample for each photo that has captions."""
    folder = photos.relative_to(data)
    held = [(name, tuple(text.strip() for text in texts)[:_CAPTIONS]) for name, texts in found.items() if texts]
    return [
        Sample((folder / name).as_posix(), photos / name, Captions(number, texts))
        for number, (name, texts) in enumerate(held)
    ]
