"""Photos with every thing and surface on them marked, as COCO's panoptic format has them: a json and a map for each.

`Layers` is what such a photo is once it is read: each pixel belongs to one segment or to none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError, one_line
from samclip_edge.json_files import read_json
from samclip_edge.photo.masks import encode_rle, mask_box
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Pixels
from samclip_edge.text.names import fault_of, spoken

Labels = npt.NDArray[np.int32]


class Segment(NamedTuple):
    """One segment of a photo."""

    name: str
    thing: bool  # False: stuff, as sky and grass
    crowd: bool = False  # many things in one segment, which nobody told apart


class Layers(NamedTuple):
    """A photo and the segments on it."""

    pixels: Pixels  # (H,W,3) RGB
    labels: Labels  # (H,W): 0 where there is no segment, k where it is `segments[k - 1]`
    segments: list[Segment]

    def annotations(self, least: int = 1) -> dict[str, Any]:
        """The json of SA-1B for it: every segment of at least so many pixels, with its `name`, and whether it is a
        `thing`. As in COCO, `iscrowd` marks a crowd."""
        height, width = self.labels.shape
        areas = np.bincount(self.labels.ravel(), minlength=len(self.segments) + 1)[1:]
        found = []
        for number, (segment, area) in enumerate(zip(self.segments, areas.tolist(), strict=True), 1):
            if area < least:
                continue
            bits = self.labels == number
            x0, y0, x1, y1 = mask_box(bits)
            mask = {"segmentation": encode_rle(bits), "area": area, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            named = {"name": segment.name, "thing": segment.thing, "iscrowd": int(segment.crowd)}
            found.append({"id": number, **mask, **named})
        return {"image": {"width": width, "height": height}, "annotations": found}


class Panoptic(NamedTuple):
    """A photo in the panoptic format, not read yet."""

    photo: Path
    map: Path  # a picture whose colours are the numbers of segments
    segments: dict[int, Segment]

    def read(self) -> Layers:
        """Read it. Raises InputError where photo or map cannot be read, or they do not fit together."""
        pixels, colours = read_photo(self.photo), read_photo(self.map)
        if pixels.shape != colours.shape:
            (height, width), (rows, columns) = pixels.shape[:2], colours.shape[:2]
            raise InputError(f"{self.map}: has {columns} x {rows} pixels, its photo {width} x {height}; fetch it again")
        numbers, places = np.unique(colours.astype(np.int32) @ np.array([1, 256, 65536], np.int32), return_inverse=True)
        order = {number: place for place, number in enumerate(self.segments, 1)}
        table = np.array([order.get(number, 0) for number in numbers.tolist()], np.int32)
        return Layers(pixels, table[places.reshape(pixels.shape[:2])], list(self.segments.values()))


def read_panoptic(listed: Path, maps: Path, photos: Path) -> list[Panoptic]:
    """The photos that a json in COCO's panoptic format lists, by name. Categories are called as people say them.

    maps, photos: the folders that they lie in. Raises InputError where the json is another, or a file is not there.
    """
    try:
        held = read_json(listed, strict=False)
        kinds = {each["id"]: (_name(each["name"]), bool(each["isthing"])) for each in held["categories"]}
        files = {each["id"]: each["file_name"] for each in held["images"]}
        found = []
        for each in held["annotations"]:
            segments = {
                int(segment["id"]): Segment(*kinds[segment["category_id"]], bool(segment.get("iscrowd", 0)))
                for segment in each["segments_info"]
            }
            found.append(Panoptic(photos / files[each["image_id"]], maps / each["file_name"], segments))
    except OSError as error:
        raise InputError(f"{listed}: cannot be read ({error.strerror}); name the json of panoptic masks") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{listed}: is not in COCO's panoptic format ({one_line(error)}); fetch it again") from None
    for each in found:
        for path in (each.photo, each.map):
            if not path.is_file():
                raise InputError(f"{path}: is not there, though {listed.name} lists it; name the folder that holds it")
    return sorted(found, key=lambda each: each.photo)


def _name(own: str) -> str:
    if fault := fault_of(own):
        raise ValueError(f"a category's name {fault}")
    return spoken(own)
