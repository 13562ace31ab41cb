"""Test vectors of the whole pipeline: a photo, what it is asked, and what this package answers on the bundle's graphs.

A runtime in another language is held to them: it runs the same graphs, so its answers are the same to rounding. The
index, `vectors/pipeline.json`, is a list of steps (docs/bundle.md, "Test vectors"); `given` of a step has the names of
the arguments of the method of `Scene` that `ask` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions, runs_here
from samclip_edge.bundle.sizes import Size
from samclip_edge.export.vectors import PHOTO, Vectors
from samclip_edge.photo.masks import Mask
from samclip_edge.photo.read import read_photo
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress
from samclip_edge.rendered import NAMES, render
from samclip_edge.scene import Scene
from samclip_edge.tasks.everything import Settings
from samclip_edge.text.names import BACKGROUND_NAMES, check_labels
from samclip_edge.text.tokenizer import Tokenizer

# What another runtime's answer may differ by. Two masks: the least IoU, or the most pixels that differ, of small ones;
# scores, predicted IoUs, similarities and shares: the most difference; log-odds: the same, which a chance multiplies;
# features: the least cosine; logits: the most difference, over the standard deviation of ours.
HOLDS = {"iou": 0.995, "pixels": 2, "score": 0.001, "log_odds": 0.01, "cosine": 0.9999, "logits": 0.01}
TEXTS = [
    "caf\u00e9 &amp; cr\u00e8me",
    "  two  spaces ",
    "\u65e5\u672c\u8a9e",
    "it's 3 o'clock",
    "\U0001f600 smile",
    "\u201cquoted\u201d \uff26\uff35\uff2c\uff2c \ufb01sh",
    "",
    " ".join(f"word{number}" for number in range(100)),  # longer than any context
]
_COUNT = 8  # of names, at most
_SEED = 30_026  # of a rendered scene of four things that lie apart
_FEWEST, _MOST = 3, 40  # masks of `everything`


class Shown(NamedTuple):
    """A photo, and what is on it."""

    pixels: npt.NDArray[np.uint8]  # (H,W,3) RGB
    names: list[str]  # some of what is there, some of what is not
    click: tuple[float, float]  # on a thing
    other: tuple[float, float]  # off it
    box: tuple[float, float, float, float]  # around it


def photographed() -> Shown:
    """A photo that ships with the package."""
    names = ["cat", "dog", "fur", "eye", "temple", "sky", "tree", "elephant"]
    return Shown(read_photo(PHOTO), names, (225, 150), (430, 20), (90, 20, 380, 290))


def drawn() -> Shown:
    """A rendered scene, wider than high."""
    scene = render(_SEED, 160, most=4)
    thing = scene.things[0]
    y, x = np.nonzero(thing.mask)
    there = list(dict.fromkeys(each.kind for each in scene.things))
    names = [*there, *(name for name in NAMES if name not in there)][:_COUNT]
    box = float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)
    click = float(np.median(x)), float(np.median(y))
    return Shown(scene.image[:144], names, click, (3.0, 3.0), box)


def write_pipeline(bundle: Bundle, vectors: Vectors, rendered: bool, progress: Progress) -> None:
    """Ask a bundle at its smallest and its largest size, and write what it answers.

    rendered: whether its weights were trained on rendered scenes. The graphs run in the engine that they were made for,
    or in its interpreter where it is not here.
    """
    model = SamClip(bundle, SessionOptions(interpreted=not runs_here(bundle)))
    shown = drawn() if rendered else photographed()
    vocabulary = model.words.vocabulary
    names = shown.names if vocabulary is None else [each for each in shown.names if each in vocabulary] + vocabulary
    names = check_labels(names)[:_COUNT]
    notes = _Notes(vectors)
    _words(model, notes, names)
    sizes = list(dict.fromkeys((model.sizes[0], model.sizes[-1])))
    for size in progress(sizes, "asking the pipeline"):
        _Asked(model.look(shown.pixels, size), notes).all(shown, names)
    photo = vectors.array("pipeline.photo", shown.pixels)
    vectors.listed("pipeline", {"format": 1, "holds": HOLDS, "photo": photo, "steps": notes.steps})


def _words(model: SamClip, notes: _Notes, names: Sequence[str]) -> None:
    """Ask for tokens and for features of words, which no photo changes."""
    text, spec = model.bundle.manifest.text, model.bundle.manifest.spec.text
    sentences = list(names[:3])
    if text.tokenizer is not None:
        tokenizer = Tokenizer.read(model.bundle.checked(text.tokenizer), spec)
        sentences = [f"a photo of a {name}" for name in sentences]
        texts = [*TEXTS, *sentences]
        notes.add("tokens", None, {"texts": texts}, [tokenizer([each])[0].tolist() for each in texts])
    notes.add("embed_text", None, {"texts": sentences}, notes.array("features", model.embed_text(sentences)))
    notes.add("name_features", None, {"names": list(names)}, notes.array("features", model.words.features(names)))


class _Notes:
    """The steps that were asked so far."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self.steps: list[dict[str, Any]] = []

    def array(self, name: str, values: npt.NDArray[Any]) -> dict[str, Any]:
        """Write an array of the step that is added next."""
        return self._vectors.array(f"pipeline.{len(self.steps)}.{name}", values)

    def add(self, ask: str, size: Size | None, given: dict[str, Any], answers: Any) -> None:
        """Add a step. given, answers: as JSON."""
        at = {} if size is None else {"at": size}
        self.steps.append({"ask": ask, **at, "given": given, "answers": answers})


class _Asked:
    """Asks one scene, and notes each question with its answers."""

    def __init__(self, scene: Scene, notes: _Notes) -> None:
        self._scene, self._notes = scene, notes
        self._points = scene.model.sessions.bundle.graph("prompt_encoder", scene.size).taken("N")

    def all(self, shown: Shown, names: Sequence[str]) -> None:
        """Ask everything that the bundle answers."""
        self._look()
        self._classify(list(names), BACKGROUND_NAMES)
        if len(names) > 1:
            self._classify(list(names[:-1]), (names[-1],))
        if self._takes(2):  # a click and the point after it, or the corners of a box
            self._segment(shown, list(names))
            settings = grid_of(self._scene)
            self._masks("everything", settings=settings)
            self._masks("everything", labels=list(names), settings=settings, min_score=0.0)
            self._find(list(names), settings)

    def _takes(self, points: int) -> bool:
        """Whether the bundle takes prompts of so many points."""
        return self._points is None or points in self._points

    def _look(self) -> None:
        scene, array = self._scene, self._notes.array
        answers = {"image_features": array("image_features", scene.image_features)}
        if scene.encoded.has_patch_features:
            answers["patch_features"] = array("patch_features", scene.patch_features)
        self._notes.add("look", scene.size, {}, answers)

    def _classify(self, labels: list[str], background: Sequence[str]) -> None:
        scene = self._scene
        odds = scene.model.judge.log_odds(scene.image_features, labels, background)
        answers = [
            {**each._asdict(), "log_odds": float(odds[labels.index(each.label)])}
            for each in scene.classify(labels, background=background)
        ]
        self._notes.add("classify", scene.size, {"labels": labels, "background": list(background)}, answers)

    def _segment(self, shown: Shown, names: list[str]) -> None:
        ask, x1 = self._masks, shown.pixels.shape[1] + 9.0
        ask("segment", True, points=[shown.click])
        step, (three,) = len(self._notes.steps), ask("segment_all", True, points=[shown.click])
        ask("segment", points=[[shown.click], [shown.other]])
        (boxed,) = ask("segment", True, boxes=[shown.box])
        ask("segment", True, boxes=[shown.box], mask=boxed.logits)
        ask("segment", boxes=[shown.box, (*shown.other, x1, shown.box[3])])  # cut off at the border of the photo
        if self._takes(3):
            ask("segment", True, points=[shown.click, shown.other], labels=[1, 0])
        for labels, least in ((names, 0.0), (names[-1:], 0.5)):
            masks = self._scene.name(three, labels, min_score=least)
            given = {"masks": {"step": step}, "labels": labels, "min_score": least}
            self._note("name", given, masks, False)

    def _find(self, labels: list[str], settings: Settings) -> None:
        given = {"labels": labels, "settings": settings, "points": 3 if self._takes(4) else 1}
        self._masks("find", min_score=0.5, refine=True, **given)
        self._masks("find", True, min_score=0.0, refine=True, **given)
        if self._scene.encoded.has_patch_features:
            self._masks("find", min_score=0.0, refine=False, **given)

    def _masks(self, ask: str, logits: bool = False, /, **given: Any) -> Any:
        """Ask a method of the scene for masks, and note them. logits: theirs too."""
        answers = getattr(self._scene, ask)(**given)
        self._note(ask, {name: self._told(name, value) for name, value in given.items()}, answers, logits)
        return answers

    def _note(self, ask: str, given: dict[str, Any], answers: Any, logits: bool) -> None:
        """Note a question that masks answer, or lists of them."""

        def noted(place: str, each: Any) -> Any:
            if isinstance(each, Mask):
                return self._mask(place, each, logits)
            return [noted(f"{place}.{k}", one) for k, one in enumerate(each)]

        self._notes.add(ask, self._scene.size, given, noted("logits", answers))

    def _told(self, name: str, value: Any) -> Any:
        """An argument as JSON."""
        if isinstance(value, Settings):
            return asdict(value)
        return self._notes.array(name, value) if isinstance(value, np.ndarray) else value

    def _mask(self, place: str, mask: Mask, logits: bool) -> dict[str, Any]:
        """A mask as JSON. place: of its logits."""
        names = "rle", "area", "box", "predicted_iou", "label", "score", "similarity", "point"
        told = {name: getattr(mask, name) for name in names}
        if logits and mask.logits is not None:
            told["logits"] = self._notes.array(place, mask.logits)
        return told


def grid_of(scene: Scene) -> Settings:
    """Settings by which `everything` keeps 3 to 40 masks of a few clicks, however little a model has learned.

    The least predicted IoU lies in the widest gap of those that there are, so that rounding adds and takes no mask:
    suppression goes from the best mask down, so what a higher least one drops changes none of the masks before.
    """
    for stability, overlap in ((0.9, 0.7), (0.7, 0.7), (0.5, 0.7), (0.5, 1.0), (0.0, 1.0)):
        loose = Settings(8, -1000.0, stability, overlap=overlap)
        known = np.array([each.predicted_iou for each in scene.everything(settings=loose)], np.float64)
        if len(known) > _FEWEST:
            break
    known = known[: _MOST + 1]
    gaps = known[_FEWEST - 1 : -1] - known[_FEWEST:]
    last = _FEWEST - 1 + int(gaps.argmax())
    return Settings(8, round(float(known[last] + known[last + 1]) / 2, 6), stability, overlap=overlap)
