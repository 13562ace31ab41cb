"""Writes small trees in the layouts of Flickr30k and of COCO's captions, from rendered scenes."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

from PIL import Image

from samclip_edge.rendered import render

FIRST = 500  # seed


def captions_of(count: int) -> dict[str, list[str]]:
    """Five captions for each of `count` photos, by its name. The last of them is right for the next photo only."""
    scenes = [render(FIRST + number, 128).caption for number in range(count + 1)]
    return {
        f"{1000 + number}.jpg": [own, f"a picture of {own}", f"{own}, drawn", f'they say "{own}"', after]
        for number, (own, after) in enumerate(pairwise(scenes))
    }


def write_photos(folder: Path, names: list[str]) -> None:
    """The photos of those names. They hold PNG, which loses nothing; a photo is known by its content."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(render(FIRST + number, 128).image).save(folder / name, "PNG")


def karpathy(folder: Path, captions: dict[str, list[str]], rest: str = "train") -> None:
    """`dataset_flickr30k.json`, whose last photo is of the split `rest`, all others of the test split."""
    images = [
        {
            "filename": name,
            "imgid": number,
            "sentids": list(range(5 * number, 5 * number + 5)),
            "sentences": [{"raw": each, "tokens": each.split(), "imgid": number} for each in texts],
            "split": rest if number == len(captions) - 1 else "test",
        }
        for number, (name, texts) in enumerate(captions.items())
    ]
    (folder / "dataset_flickr30k.json").write_text(json.dumps({"images": images, "dataset": "flickr30k"}))


def table(folder: Path, captions: dict[str, list[str]], rest: str = "train") -> None:
    """`flickr_annotations_30k.csv`, with the same splits."""
    with (folder / "flickr_annotations_30k.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["raw", "sentids", "split", "filename", "img_id"])
        for number, (name, texts) in enumerate(captions.items()):
            split = rest if number == len(captions) - 1 else "test"
            writer.writerow([json.dumps(texts), list(range(5)), split, name, number])


def lines(folder: Path, captions: dict[str, list[str]]) -> None:
    """`flickr30k_test_karpathy.txt`, which lists nothing but the test split: all but the last."""
    said = [f"{name},{text}" for name, texts in list(captions.items())[:-1] for text in texts]
    (folder / "flickr30k_test_karpathy.txt").write_text("\n".join(["image,caption", *said]) + "\n")


def coco(folder: Path, captions: dict[str, list[str]]) -> None:
    """`captions_val2017.json`: the annotations in an order of their own, and a sixth caption where there are five."""
    images = [{"id": 70 + number, "file_name": name} for number, name in enumerate(captions)]
    said = [
        {"id": 10 * number + place, "image_id": 70 + number, "caption": texts[place] if place < 5 else "a sixth\n"}
        for place in range(6)
        for number, texts in enumerate(captions.values())
        if place < len(texts) or place == 5 == len(texts)
    ]
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "captions_val2017.json").write_text(json.dumps({"images": images, "annotations": said}))
