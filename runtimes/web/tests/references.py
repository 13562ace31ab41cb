"""Writes what Python says, by which the tests of this folder hold the runtime: `references.py FOLDER`.

texts.json: texts with their cleanings and token ids. manifests.json: manifests, and why Python refuses them.
questions.json: prompts and names, and what Python makes of them, or why it refuses them. page.json: what the page's
buttons are to answer of `page-photo.png` and `page-tiny.png`.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any, get_args, get_type_hints

sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))
import numpy as np
from hard_texts import NASTY, random_strings, strings_of_tests
from manifest_cases import Case, bases, everywhere
from PIL import Image

from samclip_edge import Mask, SamClip, data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.spec import TextSpec
from samclip_edge.errors import InputError
from samclip_edge.photo.frame import Frame
from samclip_edge.tasks.everything import Settings
from samclip_edge.tasks.prompts import prepare
from samclip_edge.text.names import check_labels
from samclip_edge.text.tokenizer import Tokenizer, cleaned

CASES = 150  # of each kind of manifest


def texts() -> list[dict[str, Any]]:
    """The strings of Python's tests, hard ones, and 10,000 random ones."""
    # Characters of Unicode 3.2: of some that are newer the tokenizers library does not know the order of marks.
    category = unicodedata.ucd_3_2_0.category
    known = [chr(code) for code in range(0x110000) if category(chr(code)) not in ("Cn", "Cs", "Co")]
    all_texts = dict.fromkeys([*strings_of_tests(), *NASTY, *random_strings(known)])
    read = Tokenizer(data.TOKENIZER.read_text("utf-8"), TextSpec(width=64, depth=1, heads=1))
    ways: tuple[Any, ...] = get_args(get_type_hints(cleaned)["how"])
    return [
        {"text": text, "ids": read([text])[0].tolist(), "cleaned": {how: cleaned(text, how) for how in ways}}
        for text in all_texts
    ]


def manifests() -> list[dict[str, Any]]:
    """Manifests of every kind, and what may be wrong with them."""
    told = []
    with tempfile.TemporaryDirectory() as folder:
        for name, fields in bases().items():
            spoilt = random.Random(name).sample(list(everywhere(fields)), CASES)
            for case in [Case(name, json.dumps(fields)), *spoilt]:
                (Path(folder) / "manifest.json").write_text(case.text)
                error = None
                try:
                    Bundle.open(folder)
                except InputError as refused:
                    error = str(refused).replace(folder, "bundle")
                told.append({"what": case.what, "text": case.text, "error": error})
    return told


PROMPTS: list[dict[str, Any]] = [
    {}, {"points": []}, {"points": [[]]}, {"points": [1, 2]}, {"points": [[1, 2, 3]]}, {"points": [[[[1, 2]]]]},
    {"points": [[225, 150]]}, {"points": [[-0.5, 300.5]]}, {"points": [[-0.6, 3]]}, {"points": [[1e7, 3]]},
    {"points": [[451.25, 0.00001234]]}, {"points": [[452, 1]]}, {"points": [[[1, 2]], [[3, 4]]]},
    {"points": [[1, 2], [3, 4]], "labels": [1, 0]}, {"points": [[1, 2]], "labels": [1, 0]}, {"labels": [1]},
    {"points": [[1, 2]], "labels": [2]}, {"points": [[[1, 2]], [[3, 4]]], "labels": [[1], [0]]},
    {"points": [[1, 2]], "labels": [[[1]]]},
    {"boxes": []}, {"boxes": [1, 2, 3]}, {"boxes": [1, 2, 3, 4]}, {"boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]},
    {"boxes": [3, 2, 1, 4]}, {"boxes": [1, 4, 3, 4]}, {"boxes": [-5, -5, 900, 900]}, {"boxes": [500, 0, 600, 10]},
    {"boxes": [[[1, 2, 3, 4]]]}, {"points": [[1, 2]], "boxes": [1, 2, 3, 4]},
    {"points": [[[1, 2]], [[3, 4]]], "boxes": [1, 2, 3, 4]},
]  # fmt: skip
NAMES: list[Any] = [
    [], ["cat"], [" cat ", "Cat", "dog"], [""], ["cat", "  "], "cat", ["a\0b"], ["it's", "\n\t"], [1], ["<|x|>"],
    ["x" * 100], ["'\"", '"'], ["\x1b[31m"], ["caf\u00e9", "cafe\u0301"],
]  # fmt: skip


def questions() -> dict[str, list[dict[str, Any]]]:
    """Prompts to a photo of 451 x 300 at 256, and lists of names."""
    prompts, names = [], []
    for given in PROMPTS:
        told: dict[str, Any] = {"given": given, "error": None}
        try:
            made = prepare(Frame(300, 451, 256), **given)
            told |= {"points": made.points.ravel().tolist(), "labels": made.labels.ravel().tolist()}
            told |= {"ambiguous": made.ambiguous}
        except InputError as refused:
            told["error"] = str(refused)
        prompts.append(told)
    for given in NAMES:
        told = {"given": given, "error": None}
        try:
            told["names"] = check_labels(given)
        except InputError as refused:
            told["error"] = str(refused)
        names.append(told)
    return {"prompts": prompts, "names": names}


def page(folder: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """A click in the middle, the names that are there, and every mask, with the settings of the page."""
    vectors = Path(__file__).parents[3] / "build" / "vectors"
    with Image.open(data.FOLDER / "photos" / "chelsea.jpg") as photo:
        photo.save(folder / "page-photo.png")
    scene_of_tiny = np.fromfile(vectors / "tiny-fp32" / "vectors" / "pipeline.photo.bin", np.uint8)
    Image.fromarray(scene_of_tiny.reshape(144, 160, 3)).save(folder / "page-tiny.png")
    told = {}
    for name in ("photo", "tiny-fp32", "tiny-fp16", "tiny-int8"):
        model = SamClip.load(data.PHOTO if name == "photo" else vectors / name)
        offered = json.loads((Path(model.bundle.folder) / "rivals.json").read_text("utf-8"))
        scene = model.look(folder / f"page-{name.partition('-')[0]}.png")
        height, width = scene.pixels.shape[:2]
        click = scene.name(scene.segment(points=[[width / 2, height / 2]]), offered)
        there = [str(mask.label) for mask in scene.find(offered[:40])]
        settings = Settings(points_per_side=16, predicted_iou=0.6, stability=0.7)
        answers = {
            "click": click,
            "find": scene.find([*there, "zebra"]),
            "everything": scene.everything(offered, settings),
        }
        told[name] = {question: [_mask(each) for each in masks] for question, masks in answers.items()}
    _large(folder / "large" / "bundle")
    return told


def _large(folder: Path) -> None:
    """The manifest of a bundle whose encoder says that it has 400 MB: enough to be refused by."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((data.PHOTO / "manifest.json").read_text("utf-8"))
    for graph in manifest["graphs"]:
        if graph["name"] == "image_encoder":
            graph["files"][-1]["bytes"] = 400_000_000
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def _mask(mask: Mask) -> dict[str, Any]:
    return {"label": mask.label, "score": mask.score, "segmentation": mask.rle}


def main(folder: Path) -> None:
    """Write them as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    every = (("texts", texts()), ("manifests", manifests()), ("questions", questions()), ("page", page(folder)))
    for name, told in every:
        (folder / f"{name}.json").write_text(json.dumps(told), "ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
