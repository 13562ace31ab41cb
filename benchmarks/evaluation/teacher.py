"""A recipe's teacher of names on the same photos, to hold a student against: `conse`, a classifier and MiniLM.

It sees whole photos, squashed to a square, as it teaches from them (docs/training.md, Teachers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from samclip_edge.benchmarks.evaluation.task import Asked, Outcome, Sample, Task
from samclip_edge.photo.pictures import draw_names
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Floats, Pixels, resize


class TeachersNames(Task):
    """Photos named by a teacher: how early a name comes that is right."""

    as_in_paper = False

    def __init__(
        self,
        asked: Asked,
        names: Sequence[str],
        samples: Sequence[Sample],
        read: Callable[[Sample], tuple[Pixels, Sequence[int]]],
        within: Mapping[str, int],
    ) -> None:
        """read: gives a photo, and the numbers of the names that are right. within: the names of the measures, and
        among how many of the likeliest names a right one must be. Raises InputError where there is no such teacher."""
        import torch

        from samclip_edge.train.conse import Conse, named
        from samclip_edge.train.sentences import space

        assert asked.teacher is not None
        device = torch.device("cpu")
        seeing = named(asked.teacher, device)
        assert isinstance(seeing, Conse)
        self.seeing, self._space = seeing, space(asked.teacher, device)
        self.names, self.samples, self.read, self.within = list(names), samples, read, within
        self.column, self.rests_on = f"teacher {asked.teacher}", self.names
        self.protocol = {"photo": f"squashed to {seeing.size}x{seeing.size}", "names": "as the teacher reads them"}

    @cached_property
    def features(self) -> Floats:
        """The feature of each name (K,E)."""
        found: Floats = self._space(self.names).numpy()
        return found

    def answer(self, read: Sequence[tuple[Pixels, Sequence[int]]]) -> list[Outcome]:
        """The likeliest names, and the place of the first right one: 0 where it is the likeliest."""
        import torch

        side = self.seeing.size
        squares = np.stack([resize(pixels, side, side) for pixels, _ in read]).transpose(0, 3, 1, 2)
        seen = self.seeing(torch.from_numpy(squares.copy()).float()).numpy()
        found = []
        for similarities, (_, right) in zip(seen @ self.features.T, read, strict=True):
            order = np.argsort(-similarities, kind="stable")
            found.append({"place": int(np.isin(order, right).argmax()), "best": order[:3].tolist()})
        return found

    def measures(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Shares of photos."""
        places = np.array([each["place"] for each in outcomes])
        return {name: float((places < most).mean()) for name, most in self.within.items()}

    def goodness(self, outcome: Outcome) -> float:
        """Higher the earlier a right name comes."""
        return -float(outcome["place"])

    def picture(self, sample: Sample, outcome: Outcome) -> Pixels:
        """The photo with its likeliest names."""
        named: list[tuple[str, Any]] = [(self.names[place], None) for place in outcome["best"]]
        return draw_names(read_photo(sample.photo), named)
