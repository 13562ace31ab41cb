"""What `segment` is asked, checked before any work is done, and how it answers.

Imports the pipeline, so the verb imports this inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from samclip_edge.bundle.contract import BACKGROUND, FOREGROUND
from samclip_edge.cli.common import note
from samclip_edge.errors import InputError
from samclip_edge.photo.masks import Mask
from samclip_edge.progress import Progress
from samclip_edge.scene import Scene
from samclip_edge.tasks.everything import Settings
from samclip_edge.text.judge import MIN_SCORE
from samclip_edge.text.names import BACKGROUND_NAMES, check_labels

# The options that give arguments of `Scene`, for messages.
OPTIONS = {
    "labels": "--label",
    "background": "--background",
    "min_score": "--min-score",
    "refine": "--no-refine",
    "points": "--find-points",
    "threshold": "--find-threshold",
    "as_published": "--as-published",
    "points_per_side": "--grid",
    "predicted_iou": "--min-iou",
    "stability": "--min-stability",
    "size": "--size",
    "max_pixels": "--max-pixels",
    "device": "--device",
    "path": "-o",
}


class Options(NamedTuple):
    """The options that are for names only. None: not given."""

    min_score: float | None
    background: list[str] | None
    refine: bool
    points: int | None
    threshold: float | None
    as_published: bool

    def check(self, finds: bool, names: bool) -> None:
        """Raise InputError for an option that the question has no use for.

        finds: whether names are looked for. names: whether there are names at all, those of masks counted.
        """
        for option, given in (("--min-score", self.min_score is not None), ("--background", bool(self.background))):
            if given and not names:
                raise InputError(f"{option}: is for names; give it with --text, or with --everything and --label")
        of_text = {
            "--no-refine": not self.refine,
            "--find-points": self.points is not None,
            "--find-threshold": self.threshold is not None,
            "--as-published": self.as_published,
        }
        for option in (option for option, given in of_text.items() if given and not finds):
            raise InputError(f"{option}: is for names that are looked for; give it with --text")
        if not self.refine and (self.points is not None or self.threshold is not None):
            option = "--find-points" if self.threshold is None else "--find-threshold"
            raise InputError(f"{option}: with --no-refine nothing is prompted for; leave out one of the two")
        if self.as_published and (self.min_score is not None or self.threshold is not None):
            option = "--find-threshold" if self.min_score is None else "--min-score"
            raise InputError(f"{option}: the paper has no such thing; leave it out, or --as-published")

    @property
    def rivals(self) -> list[str]:
        """What `background` of the pipeline is given."""
        return [*BACKGROUND_NAMES, *(check_labels(self.background, "--background") if self.background else [])]


def grid_settings(everything: bool, grid: int | None, min_iou: float | None, min_stability: float | None) -> Settings:
    """Which masks `--everything` keeps. Raises InputError for a value out of range, or one that nothing has use for."""
    given = {"--grid": grid, "--min-iou": min_iou, "--min-stability": min_stability}
    for option in (option for option, value in given.items() if value is not None and not everything):
        raise InputError(f"{option}: is for the masks of --everything; leave it out")
    default = Settings()
    return Settings(
        default.points_per_side if grid is None else grid,
        default.predicted_iou if min_iou is None else min_iou,
        default.stability if min_stability is None else min_stability,
    )


@dataclass(frozen=True)
class Question:
    """Points and boxes, or clicks, or names to find, or every mask: one of the four."""

    points: list[tuple[float, float]]
    point_labels: list[int]
    boxes: list[tuple[float, ...]]
    clicks: list[tuple[float, float]]  # a prompt each
    names: list[str] | None  # to find, or with `everything` to name masks by
    everything: bool
    all_masks: bool
    options: Options
    settings: Settings

    @classmethod
    def of(
        cls,
        point: list[str] | None,
        box: list[str] | None,
        click: list[str] | None,
        text: list[str] | None,
        everything: bool,
        label: list[str] | None,
        all_masks: bool,
        options: Options,
        settings: Settings,
    ) -> Question:
        """The options of the verb, parsed. Raises InputError where they do not go together."""
        asked = [bool(point or box), bool(click), text is not None, everything]
        if sum(asked) != 1:
            given = ", given together" if sum(asked) else ""
            ways = "give either --point and --box, or --click, or --text, or --everything"
            raise InputError(f"what to segment{given}: {ways}")
        if label is not None and not everything:
            raise InputError("--label: names the masks of --everything; use --text to find things by name")
        if box is not None and point is not None and len(box) > 1:
            raise InputError(f"--box: {len(box)} boxes together with points; give one box, or no points")
        options.check(finds=text is not None, names=text is not None or label is not None)
        points = [parse_point(each) for each in point or []]
        boxes = [parse_box(each) for each in box or []]
        clicks = [parse_click(each) for each in click or []]
        names = check_labels(text, "--text") if text is not None else check_labels(label) if label is not None else None
        where, marks = [at for at, _ in points], [mark for _, mark in points]
        return cls(where, marks, boxes, clicks, names, everything, all_masks, options, settings)

    def ask(self, scene: Scene, progress: Progress) -> list[Mask]:
        """The masks that answer it. Says on stderr what to lower where `--everything` finds none."""
        options = self.options
        min_score = MIN_SCORE if options.min_score is None else options.min_score
        if self.everything:
            masks = scene.everything(self.names, self.settings, progress, min_score, options.rivals)
            if not masks:
                least = f"--min-iou {self.settings.predicted_iou:g} and --min-stability {self.settings.stability:g}"
                note(f"note: no mask reaches {least}; lower them, as far as 0.6 and 0.7 for the shipped model")
            return masks
        if self.names is not None:
            return scene.find(
                self.names,
                refine=options.refine,
                points=3 if options.points is None else options.points,
                threshold=0.5 if options.threshold is None else options.threshold,
                background=options.rivals,
                progress=progress,
                min_score=min_score,
                as_published=options.as_published,
            )
        prompts: tuple[Any, ...] = (self.points or None, self.point_labels or None, self.boxes or None)
        if self.clicks:
            prompts = ([[at] for at in self.clicks],)
        if self.all_masks:
            return [mask for three in scene.segment_all(*prompts) for mask in three]
        return scene.segment(*prompts)

    def absent(self, masks: list[Mask]) -> list[str]:
        """The names that were looked for and not seen."""
        seen = {mask.label for mask in masks}
        return [] if self.everything else [name for name in self.names or () if name not in seen]


def parse_point(text: str) -> tuple[tuple[float, float], int]:
    """`x,y` or `x,y,0|1` of the command line to a point and its label. Raises InputError."""
    parts = _parse("--point", text, "x,y or x,y,0 or x,y,1", (2, 3))
    label = parts[2] if len(parts) == 3 else FOREGROUND
    if label not in (BACKGROUND, FOREGROUND):
        raise InputError(f"--point {text}: the label is 0 (background) or 1 (foreground)")
    return (parts[0], parts[1]), int(label)


def parse_click(text: str) -> tuple[float, float]:
    """`x,y` of the command line to a point. Raises InputError."""
    x, y = _parse("--click", text, "x,y", (2,))
    return x, y


def parse_box(text: str) -> tuple[float, ...]:
    """`x0,y0,x1,y1` of the command line to a box. Raises InputError."""
    return tuple(_parse("--box", text, "x0,y0,x1,y1", (4,)))


def parse_place(text: str) -> tuple[str, list[float] | None]:
    """`PHOTO`, `PHOTO@x,y` or `PHOTO@x0,y0,x1,y1` of the command line to a photo, and a point or a box.

    Raises InputError for another number of numbers.
    """
    photo, at, place = text.rpartition("@")
    if not at or not set(place) <= set("0123456789.,-+e "):
        return text, None
    return photo, _parse("--like", place, "x,y or x0,y0,x1,y1", (2, 4))


def _parse(option: str, text: str, form: str, lengths: tuple[int, ...]) -> list[float]:
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in lengths:
        raise InputError(f"{option} {text}: not of the form {form}")
    return parts
