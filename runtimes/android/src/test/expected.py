"""What the Python package answers, for the tests in Java: `expected.py FOLDER` writes it, a folder for each bundle.

answers.tsv has a record a line: its kind, then its values. A mask's bits are in TASK-INDEX.mask, a byte a pixel.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from samclip_edge import InputError, Mask, SamClip
from samclip_edge.data import PHOTO
from samclip_edge.tasks.everything import Settings

DATA = Path(PHOTO).parent
SIZE = 256
LABELS = ["cat", "coffee cup", "日本の猫", "tabby 🐈", "Küche", "blue heart", "orange star"]
SHAPES = Path(__file__).parents[4] / "docs" / "shapes.jpg"  # which `tiny` knows: a heart, a star above it
PHOTOS = [DATA / "photos" / f"{name}.jpg" for name in ("chelsea", "coffee", "astronaut")]
# What a bundle is asked of its first photo: a point on the thing, one elsewhere, and a box around the thing.
ASKED: dict[str, tuple[list[Path], list[float], list[float], list[float]]] = {
    "photo": (PHOTOS, [210, 130], [40, 40], [100, 30, 330, 290]),
    "tiny": ([SHAPES, *PHOTOS], [150, 270], [100, 100], [0, 150, 315, 440]),
}


def photo_of(path: Path) -> np.ndarray:
    """A photo (H,W,3) with sides that are even, for NV21."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])


def nv21_of(photo: np.ndarray) -> tuple[np.ndarray, int, int, np.ndarray]:
    """A photo as a front camera's sensor would give it: turned by 90 degrees, then mirrored, it is the photo.

    Returns the bytes, width and height, and the photo (H,W,3) that they hold, whose colours are coarser. Both ways of
    Pillow's YCbCr are BT.601 of full range.
    """
    sensor = np.rot90(photo[:, ::-1])
    height, width = sensor.shape[:2]
    ycc = np.array(Image.fromarray(np.ascontiguousarray(sensor)).convert("YCbCr"))
    chroma = ycc[..., 1:].reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3)).round().astype(np.uint8)
    ycc[..., 1:] = chroma.repeat(2, axis=0).repeat(2, axis=1)
    held = np.asarray(Image.fromarray(ycc, "YCbCr").convert("RGB"))
    return np.concatenate([ycc[..., 0].ravel(), chroma[..., ::-1].ravel()]), width, height, np.rot90(held, -1)[:, ::-1]


def error_of(call: Callable[[], object]) -> str:
    """The line of the InputError that a call raises."""
    try:
        call()
    except InputError as error:
        return str(error)
    raise AssertionError("no error")


class Answers:
    """The records of one bundle."""

    def __init__(self, folder: Path) -> None:
        """folder: is made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.lines: list[str] = []

    def record(self, kind: str, *values: object) -> None:
        """A line. None is empty."""
        self.lines.append("\t".join([kind, *("" if value is None else str(value) for value in values)]))

    def masks(self, task: str, masks: Iterable[Mask]) -> None:
        """A record of each mask, and its bits."""
        for index, mask in enumerate(masks):
            x, y = mask.point or (None, None)
            named = (mask.label, mask.score, mask.similarity)
            self.record(f"mask {task}", mask.area, *mask.box, mask.predicted_iou, *named, x, y)
            mask.bits.astype(np.uint8).tofile(self.folder / f"{task}-{index}.mask")

    def write(self) -> None:
        """Write answers.tsv."""
        (self.folder / "answers.tsv").write_text("\n".join(self.lines) + "\n", encoding="utf-8")


def answer(name: str, folder: Path) -> None:
    """Write what a bundle that ships answers."""
    answers, model = Answers(folder / name), SamClip.load(DATA / name)
    paths, click, other, box = ASKED[name]
    photos = [photo_of(path) for path in paths]
    photo = photos[0]
    height, width = photo.shape[:2]
    for index, each in enumerate(photos):
        each.tofile(answers.folder / f"{index}.rgb")
        answers.record("photo", each.shape[1], each.shape[0])
    nv21, across, down, held = nv21_of(photo)
    nv21.tofile(answers.folder / "0.nv21")
    answers.record("nv21", across, down)
    answers.record("click", *click)
    answers.record("other", *other)
    answers.record("box", *box)
    answers.record("bundle", DATA / name)
    answers.record("sizes", *model.sizes)
    answers.record("names size", model.names_size)

    scene = model.look(photo, SIZE)
    for guess in scene.classify(LABELS):
        answers.record("guess", *guess)
    clicked = scene.segment(points=[click])
    grid = Settings(points_per_side=8, predicted_iou=0.4, stability=0.8)
    answers.masks("click", clicked)
    coarse = model.look(held, SIZE)
    answers.masks("coarse", coarse.segment(points=[click]))
    answers.record("coarse features", *coarse.image_features)
    answers.masks("box", scene.segment(boxes=box))
    answers.masks("two", scene.segment(points=[[click, other], [other, click]], labels=[[1, 0], [1, 0]]))
    answers.masks("again", scene.segment(points=[click], mask=clicked[0].logits))
    answers.masks("all", scene.segment_all(points=[click])[0])
    answers.masks("find", scene.find(LABELS))
    answers.masks("map", scene.find(LABELS, refine=False, min_score=0.1))
    answers.masks("everything", scene.everything(settings=grid))
    answers.masks("every name", scene.everything(LABELS, settings=grid, min_score=0.01, background=["wall"]))
    answers.masks("named", scene.name(clicked, LABELS, min_score=0.01))
    answers.record("image features", *scene.image_features)
    answers.record("mask features", *scene.features_under(clicked[0].bits))
    for row in model.embed(photos, SIZE):
        answers.record("embed", *row)
    for row in model.embed_text(LABELS):
        answers.record("embed text", *row)
    for index, similarity in model.rank(photos, "a cup of coffee", SIZE):
        answers.record("rank", index, similarity)

    answers.record("error", "outside", error_of(lambda: scene.segment(points=[[width + 1.0, height / 2]])))
    answers.record("error", "no label", error_of(lambda: scene.classify([])))
    answers.record("error", "size", error_of(lambda: model.look(photo, 304)))
    hub = ", or name a repository"  # which only Python opens
    answers.record("error", "folder", error_of(lambda: SamClip.load("no such folder")).partition(hub)[0])
    answers.write()


if __name__ == "__main__":
    for bundle in ("photo", "tiny"):
        answer(bundle, Path(sys.argv[1]))
