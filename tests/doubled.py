"""A task of `samclip-edge eval` without a data set: it doubles numbers. Other processes import its reader from here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge.benchmarks.evaluation.task import Outcome, Sample, Task
from samclip_edge.errors import InputError


class Doubled(Task):
    """Doubles numbers; each sample that ends in 7 is broken."""

    column, protocol, together = "doubled", {"how": "twice"}, 4

    def __init__(self, count: int, last: int | None = None) -> None:
        self.samples = [Sample(str(n), Path(str(n)), n) for n in range(count)]
        self.last, self.asked = last, []
        self.read = read

    def answer(self, read: Sequence[Any]) -> list[Outcome]:
        for each in read:
            self.asked.append(each)
            if each == self.last:
                raise KeyboardInterrupt
        return [{"twice": 2 * each} for each in read]

    def measures(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        return {"sum": sum(each["twice"] for each in outcomes)}

    def goodness(self, outcome: Outcome) -> float:
        return outcome["twice"]

    def picture(self, sample: Sample, outcome: Outcome) -> np.ndarray:
        return np.full((64, 64, 3), outcome["twice"], np.uint8)


def read(sample: Sample) -> int:
    if sample.key.endswith("7"):
        raise InputError(f"{sample.key}: broken")
    return sample.truth
