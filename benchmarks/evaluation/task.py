"""What a family of tasks gives to be measured: samples, how one is read, what the model answers, and the numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from samclip_edge.bundle.sizes import Size
from samclip_edge.photo.resize import Pixels
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent

Outcome = dict[str, Any]  # what one sample adds to the numbers, in values that JSON has
Part = Literal["val", "train"]  # of a data set: what is measured on, and what heads are trained on
SEMANTIC_HEADS = ("clip", "both", "sam+clip")


class Sample(NamedTuple):
    """One photo of a data set."""

    key: str  # its name in the data set, by which it is told from all others
    photo: Path
    truth: Any  # what the annotations say of it, or where they say it


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    model: SamClip
    data: Path  # the folder of the data set
    sizes: tuple[Size, ...] = ()  # in place of the protocol's
    heads: tuple[str, ...] = ()  # of SEMANTIC_HEADS, in place of all that the bundle has
    as_published: bool = False  # of both heads, only the paper's way
    boxes: Path | None = None  # a detector's answers
    teacher: str | None = None  # a recipe's clip_teacher of the kind `conse`, which names the same photos
    grabcut: bool = False  # whether GrabCut makes masks of true boxes too
    progress: Progress = silent


class Task(ABC):
    """One column of a table: a data set measured in one way.

    `read` runs in other processes, so it is a function of a module, or a `functools.partial` of one. It raises
    InputError for a sample that cannot be used; that sample is left out, and named in the result.
    """

    column: str  # heads its numbers
    protocol: Mapping[str, Any]  # all that decides the numbers besides bundle and data
    samples: Sequence[Sample]
    read: Callable[[Sample], Any]
    rests_on: Any = None  # what else of the data set decides the numbers, such as names of classes, as JSON has it
    together: int = 8  # samples for one call of `answer`
    as_in_paper: bool = True  # whether the paper's numbers, where there are any, are of this way of measuring

    def prepare(self) -> None:
        """Find out once what all answers need, such as the features of names.

        Raises InputError where the bundle cannot do the task.
        """
        return

    @abstractmethod
    def answer(self, read: Sequence[Any]) -> list[Outcome]:
        """What the model says of samples that were read, held against the truth."""

    @abstractmethod
    def measures(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """The numbers over all samples, by name. Shares and averages are 0 to 1."""

    def details(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """More of the same for the report alone, such as a number for each class."""
        return {}

    @abstractmethod
    def goodness(self, outcome: Outcome) -> float:
        """How good one answer is; NaN where nothing of it counts. The best and the worst are drawn."""

    @abstractmethod
    def picture(self, sample: Sample, outcome: Outcome) -> Pixels:
        """The photo with the answer (H,W,3)."""
