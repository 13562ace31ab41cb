"""What things are worth: small objects of COCO's photos, looked for by their names, by photos alone and with things."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge.benchmarks.evaluation.instance_sets import INSTANCE_SETS
from samclip_edge.library import Library
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress

SMALL = 0.02  # of the photo's area, which the largest object of the name has less than
FIRST = 5
BOTH = "photos and things"


class Worth(NamedTuple):
    """Recall@5 over pairs of a name and a photo that shows it."""

    photos: int
    things: int
    pairs: dict[str, int]  # small, and all others
    recall: dict[str, dict[str, float]]  # by what answers, by the size of the object


def worth(model: SamClip, coco: Path, folder: Path, progress: Progress) -> Worth:
    """Index COCO's photos and look for each name that a photo shows.

    A photo is found where it is among the first `FIRST`, other photos that show the name left out. Names are asked of
    two libraries: one without things, which looks at photos in the model's `names_size`, and one with them.
    Raises InputError for a folder that is not COCO's.
    """
    found = INSTANCE_SETS["coco"](coco)
    shares = _shares(found.document)
    photos = {
        each["id"]: str(path.resolve()) for each, path in zip(found.document["images"], found.photos, strict=True)
    }
    pairs = [(name, photo, share < SMALL) for photo in photos for name, share in shares[photo].items()]
    recall: dict[str, dict[str, float]] = {}
    things = 0
    for what, with_things in (
        ("photos", False),
        ("photos, looked at as with things", True),
        (BOTH, True),
    ):
        place = folder / f"worth-{int(with_things)}.db"
        with Library.open(place, model, with_things) as library:
            library.add(list(photos.values()))
            things = library.things or things
            asked = what == BOTH
            hits: dict[bool, list[bool]] = {True: [], False: []}
            for name, photo, small in progress(pairs, what):
                others = {path for each, path in photos.items() if name in shares[each] and each != photo}
                ranked = [each.path for each in library.search(name, len(photos), asked, min_score=0).matches]
                first = [path for path in ranked if path not in others][:FIRST]
                hits[small].append(photos[photo] in first)
        recall[what] = {"small": _mean(hits[True]), "others": _mean(hits[False])}
    for place in folder.glob("worth-*.db"):
        place.unlink()
    counts = {"small": sum(small for *_, small in pairs), "others": sum(not small for *_, small in pairs)}
    return Worth(len(photos), things, counts, recall)


def _shares(document: Any) -> dict[int, dict[str, float]]:
    """By photo and by name, the share of the photo's area that its largest object of the name has."""
    names = {each["id"]: each["name"] for each in document["categories"]}
    areas = {each["id"]: each["width"] * each["height"] for each in document["images"]}
    shares: dict[int, dict[str, float]] = defaultdict(dict)
    for each in document["annotations"]:
        photo, name = each["image_id"], names[each["category_id"]]
        shares[photo][name] = max(shares[photo].get(name, 0), each["area"] / areas[photo])
    return shares


def _mean(hits: list[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0
