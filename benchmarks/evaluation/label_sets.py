"""The data sets whose pixels have classes, in the layouts in which they are published.

`names/*.json` has what pixels hold and what that is called: of VOC and Pascal Context from their lists of classes, of
COCO-Stuff from its `labels.txt`, less 1, without the 11 that COCO does not annotate. ADE20k and COCO-Panoptic bring
their names along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from samclip_edge.benchmarks.evaluation.forms import FileName, Id, Rows, checked, each_once, read_form
from samclip_edge.benchmarks.evaluation.label_maps import IDS, IGNORED, MOST, LabelMap
from samclip_edge.benchmarks.evaluation.layout import read_document, read_lines, there
from samclip_edge.benchmarks.evaluation.task import Part, Sample
from samclip_edge.errors import InputError
from samclip_edge.text.names import spoken

NAMES = Path(__file__).parent / "names"

VOC = (
    "JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/val.txt of VOC2012 lie in DIR, DIR/VOC2012 or "
    "DIR/VOCdevkit/VOC2012"
)
CONTEXT = (
    "VOC2010's JPEGImages/ lies in DIR, DIR/VOC2010 or DIR/VOCdevkit/VOC2010 beside SegmentationClassContext/ and "
    "ImageSets/SegmentationContext/val.txt; or beside ImageSets/Main/val.txt, with trainval/*.mat and labels.txt in DIR"
)
ADE20K = (
    "images/validation/, annotations/validation/ and objectInfo150.txt of ADEChallengeData2016 lie in DIR or in "
    "DIR/ADEChallengeData2016"
)
COCO_STUFF = (
    "COCO's photos lie in val2017/ or images/val2017/, and the maps of labels of stuffthingmaps_trainval2017.zip in "
    "stuffthingmaps_trainval2017/val2017/, stuffthingmaps/val2017/, annotations/val2017/, or beside the photos"
)
COCO_PANOPTIC = (
    "COCO's photos lie in val2017/ or images/val2017/, and panoptic_val2017.json and the folder panoptic_val2017/ in "
    "DIR or in DIR/annotations"
)


class _Category(TypedDict):
    id: Id
    name: str


class _Image(TypedDict):
    id: Id
    file_name: FileName


class _Segment(TypedDict):
    id: Annotated[int, Field(ge=0, lt=IDS)]
    category_id: Id


class _Segments(TypedDict):
    """Of a photo."""

    image_id: Id
    file_name: FileName
    segments_info: Rows[_Segment]


class _Panoptic(TypedDict):
    """COCO's panoptic format."""

    images: Rows[_Image]
    annotations: Rows[_Segments]
    categories: Rows[_Category]


class LabelSet(NamedTuple):
    """A data set of classes of pixels."""

    names: list[str]  # of the K classes
    ways: Mapping[str, bool]  # by what is said behind a measure's name: whether the background is class K
    samples: list[Sample]  # the truth of each is a LabelMap


def voc(data: Path, part: Part = "val") -> LabelSet:
    """Pascal VOC 2012: 0 is the background, and the border of a thing, 255, belongs to nothing."""
    lies = VOC.replace("val", part)
    listed = there(data, [f"{root}ImageSets/Segmentation/{part}.txt" for root in _roots("VOC2012")], lies)
    root = listed.parents[2]
    photos, maps = (there(root, [each], lies) for each in ("JPEGImages/", "SegmentationClass/"))
    names, classes = _listed("voc")
    classes |= {0: len(names), IGNORED: IGNORED}
    keys = _keys(listed)
    return LabelSet(names, _both_ways(names), _samples(keys, photos, maps, ".png", classes))


def _context(data: Path) -> LabelSet:
    """Pascal Context: 59 classes, and 0, which is all that is rarer; as it circulates, or as published."""
    names, classes = _listed("context")
    ways, background = _both_ways(names), len(names)
    roots = list(_roots("VOC2010"))
    if data.is_dir() and not any((data / root / "SegmentationClassContext").is_dir() for root in roots):
        maps, listed = there(data, ["trainval/"], CONTEXT), there(data, ["labels.txt"], CONTEXT)
        parted = there(data, [f"{root}ImageSets/Main/val.txt" for root in roots], CONTEXT)
        keys = [key for key in _keys(parted) if (maps / f"{key}.mat").is_file()]
        photos = there(parted.parents[2], ["JPEGImages/"], CONTEXT)
        return LabelSet(names, ways, _samples(keys, photos, maps, ".mat", _of_459(listed, names)))
    parted = there(data, [f"{root}ImageSets/SegmentationContext/val.txt" for root in roots], CONTEXT)
    root = parted.parents[2]
    photos, maps = (there(root, [each], CONTEXT) for each in ("JPEGImages/", "SegmentationClassContext/"))
    keys = _keys(parted)
    return LabelSet(names, ways, _samples(keys, photos, maps, ".png", classes | {0: background}))


def _of_459(listed: Path, names: Sequence[str]) -> dict[int, int]:
    """The classes of the published 459 labels of Pascal Context, whose `labels.txt` says `12: aeroplane`."""
    numbers = {name.replace(" ", ""): place for place, name in enumerate(names)}
    rows = [line.partition(":") for line in read_lines(listed)]
    try:
        classes = {_label(number): numbers.get(name.replace(" ", ""), len(names)) for number, _, name in rows}
    except ValueError:
        raise InputError(f"{listed}: has a line without a number in front; fetch it again") from None
    missing = set(range(len(names))) - set(classes.values())
    if missing:
        raise InputError(f"{listed}: does not have {names[min(missing)]!r}; fetch it again")
    return {0: len(names)} | classes


def ade20k(data: Path, part: Part = "val") -> LabelSet:
    """ADE20k's 150 classes; 0 is what has none of them. A class is called by the first of its synonyms."""
    roots = ("", "ADEChallengeData2016/")
    folder = {"val": "validation", "train": "training"}[part]
    lies = ADE20K.replace("validation", folder)
    maps = there(data, [f"{root}annotations/{folder}/" for root in roots], lies)
    root = maps.parents[1]
    photos, info = (there(root, [each], lies) for each in (f"images/{folder}/", "objectInfo150.txt"))
    rows = [line.split("\t") for line in read_lines(info)[1:]]
    try:
        classes = {_label(number): place for place, (number, *_, _) in enumerate(rows)} | {0: IGNORED}
    except ValueError:
        raise InputError(f"{info}: is no table of classes; fetch it again") from None
    names = _counted([row[-1].split(",")[0].strip() for row in rows], info)
    return LabelSet(names, {"": False}, _samples(_stems(maps), photos, maps, ".png", classes))


def _coco_stuff(data: Path) -> LabelSet:
    """COCO-Stuff: things and stuff, 171 classes; 255 is what has none of them."""
    choices = ("stuffthingmaps_trainval2017/val2017/", "stuffthingmaps/val2017/", "annotations/val2017/", "val2017/")
    photos = there(data, ["val2017/", "images/val2017/"], COCO_STUFF)
    maps = next((data / choice for choice in choices if any((data / choice).glob("0*[0-9].png"))), None)
    if maps is None:
        sought = "maps of labels, called as their photos are (000000000139.png)"
        raise InputError(f" {data}: holds no {sought}, in {', '.join(choices)}; {COCO_STUFF}", "data")
    names, classes = _listed("coco-stuff")
    samples = _samples(_stems(maps), photos, maps, ".png", classes | {IGNORED: IGNORED})
    return LabelSet([spoken(name) for name in names], {"": False}, samples)


def _coco_panoptic(data: Path) -> LabelSet:
    """COCO-Panoptic: 133 classes of segments; what is in no segment, id 0, is not counted."""
    listed = there(data, ["annotations/panoptic_val2017.json", "panoptic_val2017.json"], COCO_PANOPTIC)
    maps = there(data, ["annotations/panoptic_val2017/", "panoptic_val2017/"], COCO_PANOPTIC)
    photos = there(data, ["val2017/", "images/val2017/"], COCO_PANOPTIC)
    held = read_form(listed, _Panoptic)
    each_once(listed, "images", held["images"], "id")
    each_once(listed, "annotations", held["annotations"], "file_name")
    each_once(listed, "categories", held["categories"], "id")
    categories = sorted(held["categories"], key=lambda each: each["id"])
    names = _counted([spoken(each["name"]) for each in categories], listed)
    numbers = {each["id"]: place for place, each in enumerate(categories)}
    of_photo = {each["id"]: each["file_name"] for each in held["images"]}
    samples = []
    try:
        for each in held["annotations"]:
            classes = {segment["id"]: numbers[segment["category_id"]] for segment in each["segments_info"]}
            labels = LabelMap(maps / each["file_name"], classes | {0: IGNORED}, segments=True)
            samples.append(Sample(each["file_name"], photos / of_photo[each["image_id"]], labels))
    except KeyError as error:
        why = f"{each['file_name']} is of image or category {error}"
        raise InputError(f"{listed}: {why}, which it does not list; fetch it again") from None
    return LabelSet(names, {"": False}, samples)


PROBED = {"voc": voc, "ade20k": ade20k}  # those whose training photos are read too, for heads to be trained on
LABEL_SETS: dict[str, Callable[[Path], LabelSet]] = {
    "voc": voc,
    "context": _context,
    "ade20k": ade20k,
    "coco-stuff": _coco_stuff,
    "coco-panoptic": _coco_panoptic,
}  # of a folder: the data set that lies there


def _roots(name: str) -> tuple[str, ...]:
    """Where a part of the VOC devkit lies in the folder of a data set."""
    return "", f"{name}/", f"VOCdevkit/{name}/"


def _keys(listed: Path) -> list[str]:
    """The photos of a list; some copies have more behind each name. Raises InputError where it is no list of names."""
    try:
        keys = checked(Rows[FileName], [line.split()[0] for line in read_lines(listed)])
    except ValueError as error:
        raise InputError(f"{listed}: line {error}; fetch it again") from None
    if not keys:
        raise InputError(f"{listed}: lists no photo; fetch it again")
    return list(dict.fromkeys(keys))


def _listed(name: str) -> tuple[list[str], dict[int, int]]:
    """The names of a list of ours, and the number of each by the label that pixels hold."""
    held = read_document(NAMES / f"{name}.json")
    return list(held.values()), {int(label): place for place, label in enumerate(held)}


def _label(text: str) -> int:
    """The number of a class in a list. Raises ValueError where it is none."""
    label = int(text)
    if not 0 <= label < IDS:
        raise ValueError
    return label


def _counted(names: list[str], listed: Path) -> list[str]:
    """The same names. Raises InputError where there are none, or too many."""
    if not 0 < len(names) <= MOST:
        raise InputError(f"{listed}: has {len(names)} classes, and 1 to {MOST} can be measured; fetch it again")
    return names


def _both_ways(names: Sequence[str]) -> dict[str, bool]:
    """With the background as a class more, which is how the paper's tables are taken to be, and without it."""
    return {"": True, f", {len(names)} classes": False}


def _stems(maps: Path) -> list[str]:
    """The names of the maps in a folder. Others may lie beside them, such as mmsegmentation's `..._labelTrainIds`."""
    return sorted(each.stem for each in maps.glob("*.png") if not each.stem.endswith("_labelTrainIds"))


def _samples(keys: Iterable[str], photos: Path, maps: Path, suffix: str, classes: Mapping[int, int]) -> list[Sample]:
    """Photos and maps of the same names."""
    return [Sample(key, photos / f"{key}.jpg", LabelMap(maps / f"{key}{suffix}", classes)) for key in keys]
