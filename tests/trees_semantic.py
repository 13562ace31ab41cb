"""Small data sets of labelled pixels in the layouts in which the real ones are published, written from rendered scenes.

Each writer gives the class of each pixel by the name of the photo: 0 to K-1, K for the background, 255 for what is not
counted. The kinds of rendered things stand for classes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from samclip_edge.rendered import NAMES, RenderedScene, render

IGNORED = 255
COUNT = 2
Truth = dict[str, np.ndarray]


def scene(seed: int, size: int = 128) -> RenderedScene:
    return render(seed, size, most=4)


def kinds(seed: int, classes: int, size: int = 128) -> np.ndarray:
    """The class of each pixel of a scene: the number of a thing's kind, modulo `classes`; `classes` around things."""
    labels = np.full((size, size), classes)
    for thing in scene(seed, size).things:
        labels[thing.mask] = NAMES.index(thing.kind) % classes
    return labels


def save_photo(path: Path, seed: int, size: int = 128) -> None:
    """PNG, which loses nothing, in a file called .jpg: a photo is known by its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(seed, size).image).save(path, "PNG")


def save_labels(path: Path, labels: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    if palette:
        image.putpalette([number * 7 % 256 for number in range(768)])  # VOC's has colours too
    image.save(path)


def bordered(labels: np.ndarray, background: int) -> np.ndarray:
    """With a border around things that belongs to nothing, as VOC has it."""
    inside = labels != background
    edge = inside & ~(np.roll(inside, 2, 0) & np.roll(inside, -2, 0) & np.roll(inside, 2, 1) & np.roll(inside, -2, 1))
    return np.where(edge, IGNORED, labels)


def voc(root: Path, classes: int = 20, size: int = 128, border: bool = True, first: int = 700) -> Truth:
    """VOC2012: palettes, 0 for the background, 255 for borders."""
    truth = {}
    for seed in range(first, first + COUNT):
        key = f"2007_{seed:06d}"
        labels = kinds(seed, classes, size)
        truth[key] = bordered(labels, classes) if border else labels
        held = np.where(truth[key] == IGNORED, IGNORED, (truth[key] + 1) % (classes + 1))
        save_photo(root / "JPEGImages" / f"{key}.jpg", seed, size)
        save_labels(root / "SegmentationClass" / f"{key}.png", held, palette=True)
    return listed(root / "ImageSets" / "Segmentation" / "val.txt", truth)


def context(root: Path) -> Truth:
    """Pascal Context as it circulates: 0 for the background, 1 to 59."""
    truth = {}
    for seed in range(700, 700 + COUNT):
        key = f"2008_{seed:06d}"
        truth[key] = kinds(seed, 59)
        save_photo(root / "JPEGImages" / f"{key}.jpg", seed)
        save_labels(root / "SegmentationClassContext" / f"{key}.png", (truth[key] + 1) % 60)
    return listed(root / "ImageSets" / "SegmentationContext" / "val.txt", truth)


def context_of_matlab(root: Path, names: list[str]) -> Truth:
    """Pascal Context as published: 459 labels, of which every seventh is one of the 59 here, backwards."""
    truth = {}
    numbers = {place: 7 * (59 - place) for place in range(59)}
    said = {number: names[place].replace(" ", "") for place, number in numbers.items()}
    lines = [f"{number}: {said.get(number, f'rare thing {number}')}" for number in range(1, 460)]
    (root / "trainval").mkdir(parents=True)
    (root / "labels.txt").write_text("\n".join(lines) + "\n")
    for seed in range(700, 700 + COUNT):
        key = f"2008_{seed:06d}"
        truth[key] = kinds(seed, 59)
        held = np.vectorize(lambda place: numbers.get(place, 12))(truth[key]).astype(np.uint16)
        save_photo(root / "VOC2010" / "JPEGImages" / f"{key}.jpg", seed)
        savemat(root / "trainval" / f"{key}.mat", {"LabelMap": held})
    listed(root / "VOC2010" / "ImageSets" / "Main" / "val.txt", truth | {"2008_999999": np.zeros(0)})
    return truth


def ade20k(root: Path, classes: int = 150) -> Truth:
    """ADEChallengeData2016: 0 for what has no class, 1 to 150, and a table of names with synonyms."""
    truth = {}
    lines = [f"{number}\t0.1\t10\t1\tkind {number}, sort {number}" for number in range(1, classes + 1)]
    root.mkdir(parents=True, exist_ok=True)
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *lines]) + "\n")
    for seed in range(700, 700 + COUNT):
        key = f"ADE_val_{seed:08d}"
        labels = kinds(seed, classes)
        truth[key] = np.where(labels == classes, IGNORED, labels)
        save_photo(root / "images" / "validation" / f"{key}.jpg", seed)
        save_labels(root / "annotations" / "validation" / f"{key}.png", (labels + 1) % (classes + 1))
    return truth


def coco_stuff(root: Path, maps: str = "stuffthingmaps_trainval2017/val2017", photos: str = "val2017") -> Truth:
    """COCO-Stuff: 0 to 181 with holes, 255 for what has no class. Things are backpacks here, and the rest is wood."""
    truth = {}
    for seed in range(700, 700 + COUNT):
        key = f"{seed:012d}"
        inside = kinds(seed, 80) < 80
        truth[key] = np.where(inside, 24, 170)  # the 25th and the last of 171 classes: backpack and wood
        held = np.where(inside, 26, 181)  # label 25 would be the hat, which COCO gave up
        truth[key][:8], held[:8] = IGNORED, 255
        save_photo(root / photos / f"{key}.jpg", seed)
        save_labels(root / maps / f"{key}.png", held)
    return truth


def coco_panoptic(root: Path, within: str = "annotations") -> Truth:
    """COCO-Panoptic: segments by colours, and what they are in a json; 0 is in none."""
    categories = [(1, "person"), (3, "car"), (171, "wall-brick"), (187, "sky-other-merged"), (200, "rug-merged")]
    truth, images, annotations = {}, [], []
    for seed in range(700, 700 + COUNT):
        key = f"{seed:012d}.png"
        truth[key], ids = np.full((128, 128), IGNORED), np.zeros((128, 128), int)
        segments = []
        for number, thing in enumerate(scene(seed).things):
            own, place = 70_001 + 65_793 * number + seed, (seed + number) % 5
            ids[thing.mask], truth[key][thing.mask] = own, place
            segments.append({"id": own, "category_id": categories[place][0], "iscrowd": 0, "area": 1})
        path = root / within / "panoptic_val2017" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
        Image.fromarray(colours.astype(np.uint8)).save(path)
        save_photo(root / "val2017" / f"{seed:012d}.jpg", seed)
        images.append({"id": seed, "file_name": f"{seed:012d}.jpg"})
        annotations.append({"image_id": seed, "file_name": key, "segments_info": segments})
    held = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "isthing": 0} for number, name in reversed(categories)],
    }
    (root / within / "panoptic_val2017.json").write_text(json.dumps(held))
    return truth


def listed(path: Path, truth: Truth) -> Truth:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} \n" for key in truth))  # some copies have spaces at the ends of lines
    return truth
