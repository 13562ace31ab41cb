"""How `segment` gives its masks: as JSON, as a data set of COCO, as PNG files, as tables.

Imports Pillow, so the verb imports this inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge.cli.common import table
from samclip_edge.cli.photos import Failed, Pictures
from samclip_edge.errors import InputError
from samclip_edge.photo.masks import Mask
from samclip_edge.photo.pictures import draw_masks, save_picture
from samclip_edge.scene import Scene

_FORMATS = ("rle", "polygons", "coco", "png")
_UNNAMED = "thing"  # the category of COCO of a mask without a label
_COLUMNS = ("label", "score", "similarity", "predicted IoU", "area", "box")
Fields = dict[str, Any]


def check_format(form: str, output: Path | None) -> None:
    """Raise InputError for a format that there is not, and for one that lacks a folder to write into."""
    if form not in _FORMATS:
        raise InputError(f"--format {form}: give {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}")
    if form == "png" and output is None:
        raise InputError("--format png: writes a file for each mask; name a folder with -o")


def written(scene: Scene, masks: Sequence[Mask], form: str, pictures: Pictures, number: int, photo: str) -> Fields:
    """What JSON says of a photo and its masks, after the pictures of it that were asked for were written.

    A PNG of a mask is 255 on the mask and 0 off it. number, photo: of the photo, as it was given.
    """
    found = [mask.to_json() for mask in masks]
    for place, (mask, fields) in enumerate(zip(masks, found, strict=True), 1):
        if form == "polygons":
            fields["segmentation"] = mask.polygons
        if form == "png" and (path := pictures.file(number, f".{place:03}.png")):
            save_picture(mask.bits.view(np.uint8) * np.uint8(255), path)
            fields["png"] = str(path)
    if form != "png" and (path := pictures.file(number)):
        save_picture(draw_masks(scene.pixels, masks), path)
    frame = scene.frame
    return {"photo": photo, "width": frame.width, "height": frame.height, "size": frame.size, "masks": found}


def document(form: str, ran: Fields, answers: Sequence[Fields], failed: Sequence[Failed], several: bool) -> Fields:
    """The answer as JSON: of one photo its own fields, of several a list of such. ran: the bundle, in words."""
    if form == "coco":
        return _coco(answers)
    if not several:
        return ran | answers[0]
    return {**ran, "photos": list(answers), "failed": [each._asdict() for each in failed]}


def _coco(answers: Sequence[Fields]) -> Fields:
    """A data set of COCO, of which annotations have a `score` as results do: https://cocodataset.org/#format-data."""
    labels = dict.fromkeys(mask.get("label", _UNNAMED) for answer in answers for mask in answer["masks"])
    categories = {label: number for number, label in enumerate(labels, 1)}
    images: list[Fields] = []
    annotations: list[Fields] = []
    for number, answer in enumerate(answers, 1):
        sides = {"width": answer["width"], "height": answer["height"]}
        images.append({"id": number, "file_name": answer["photo"], **sides})
        for mask in answer["masks"]:
            x0, y0, x1, y1 = mask["box"]
            score = mask.get("score", mask["predicted_iou"])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[mask.get("label", _UNNAMED)],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": mask["area"],
                    "segmentation": mask["segmentation"],
                    "iscrowd": 0,
                    "score": score,
                }
            )
    named = [{"id": number, "name": label} for label, number in categories.items()]
    return {"images": images, "annotations": annotations, "categories": named}


def tables(answers: Sequence[Fields]) -> None:
    """The answer for people: a table, in which each row names its photo where there are several."""
    several = len(answers) > 1
    rows = []
    for answer in answers:
        photo = (answer["photo"],) if several else ()
        rows += [(*photo, *_row(mask)) for mask in answer["masks"]]
        if several:
            rows += [(*photo, name, "not there", "", "", "", "") for name in answer["absent"]]
    count = sum(len(answer["masks"]) for answer in answers)
    title = f"{count} mask{'s' * (count != 1)} in "
    if several:
        title += f"{len(answers)} photos"
    for answer in () if several else answers:
        title += f"a photo of {answer['width']}x{answer['height']}"
        title += "".join(f"; not there: {name}" for name in answer["absent"])
    table((*(("photo",) if several else ()), *_COLUMNS), rows, title)


def _row(mask: Fields) -> tuple[str, ...]:
    numbers = (mask.get("score"), mask.get("similarity"), mask["predicted_iou"])
    shown = ("" if value is None else f"{value:.3f}" for value in numbers)
    return (mask.get("label", ""), *shown, str(mask["area"]), ",".join(map(str, mask["box"])))
