"""Writes small trees in the layouts of COCO's instances and of LVIS, from rendered scenes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask

from samclip_edge.photo.masks import encode_rle, mask_box
from samclip_edge.rendered import SHAPES, RenderedScene

Bits = npt.NDArray[np.bool_]
SHAPE_IDS = {shape: 3 * number + 2 for number, shape in enumerate(SHAPES)}  # with holes, as COCO's have


def compressed(bits: Bits) -> Any:
    return encode_rle(bits)


def runs(bits: Bits) -> Any:
    """Run-length encoded and not compressed, as COCO has crowds."""
    flat = bits.flatten(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1]))
    return {"size": list(bits.shape), "counts": np.diff(edges, prepend=0).tolist()}


def polygon(bits: Bits) -> Any:
    """A box as a polygon: the mask has to be one."""
    x0, y0, x1, y1 = mask_box(bits)
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def annotation(number: int, image: int, category: int, bits: Bits, form: Callable[[Bits], Any] = compressed) -> Any:
    x0, y0, x1, y1 = mask_box(bits)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": int(bits.sum()),
        "segmentation": form(bits),
    }


def of_scenes(scenes: Sequence[RenderedScene], category: Callable[[str], int]) -> dict[str, Any]:
    """The annotations of rendered scenes. category: the id of the category of a shape."""
    images, annotations = [], []
    for image, scene in enumerate(scenes, 1):
        height, width, _ = scene.image.shape
        images.append({"id": image, "file_name": f"{image:012d}.jpg", "height": height, "width": width})
        for thing in scene.things:
            annotations.append(annotation(len(annotations) + 1, image, category(thing.shape), thing.mask))
    categories = [{"id": own, "name": name} for name, own in SHAPE_IDS.items()]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}, *categories]}


def write_coco(folder: Path, document: dict[str, Any], photos: Sequence[npt.NDArray[np.uint8]]) -> Path:
    """A tree of COCO's. Photos hold PNG, which loses nothing; a photo is known by its content."""
    for part in ("val2017", "annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for each, photo in zip(document["images"], photos, strict=True):
        Image.fromarray(photo).save(folder / "val2017" / each["file_name"], "PNG")
    said = document | {"annotations": [{"iscrowd": 0} | each for each in document["annotations"]]}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(said))
    return folder


def as_lvis(document: dict[str, Any], folders: Sequence[str] = ("val2017", "train2017")) -> dict[str, Any]:
    """The same annotations as LVIS lists them: photos by address, categories by how frequent they are."""
    images = []
    for number, each in enumerate(document["images"]):
        own = {key: value for key, value in each.items() if key != "file_name"}
        url = f"http://images.cocodataset.org/{folders[number % len(folders)]}/{each['id']:012d}.jpg"
        images.append({"coco_url": url, "neg_category_ids": [], "not_exhaustive_category_ids": []} | own)
    categories = [each | {"frequency": "rcf"[place % 3]} for place, each in enumerate(document["categories"])]
    return document | {"images": images, "categories": categories}


def write_lvis(folder: Path, document: dict[str, Any], photos: Sequence[npt.NDArray[np.uint8]]) -> Path:
    for each, photo in zip(document["images"], photos, strict=True):
        path = folder / "coco" / "/".join(each["coco_url"].split("/")[-2:])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(path, "PNG")
    (folder / "lvis_v1_val.json").write_text(json.dumps(document))
    return folder


def result(image: int, category: int, bits: Bits, score: float) -> dict[str, Any]:
    """A mask in COCO's result format, encoded by pycocotools."""
    rle = coco_mask.encode(np.asfortranarray(bits.astype(np.uint8)))
    rle["counts"] = rle["counts"].decode("ascii")
    return {"image_id": image, "category_id": category, "segmentation": rle, "score": score}
