"""What a base shall cost at most beside others, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from samclip_edge.benchmarks.measured import Measured


class Mark(NamedTuple):
    """A ratio that shall not be passed: what `system` takes in a scenario, over what `against` takes."""

    scenario: str
    what: Literal["time", "peak memory"]
    system: str
    against: str
    most: float


class Judged(NamedTuple):
    """A mark, and what was measured."""

    mark: Mark
    measured: float

    @property
    def reached(self) -> bool:
        """Whether the measured ratio is not above the mark."""
        return self.measured <= self.mark.most


MARKS = (
    Mark("name and click", "time", "mobile", "vit_b", 0.15),
    Mark("name and click", "peak memory", "mobile", "vit_b", 0.5),
    Mark("name and click", "time", "mobile", "MobileSAM + MobileCLIP2-S0", 1.0),
    Mark("name and click", "time", "mobile int8", "mobile", 0.7),
    Mark("encode", "time", "mobile int8", "mobile", 0.7),
)


def judged(measured: Mapping[str, Mapping[str, Measured]], marks: Sequence[Mark] = MARKS) -> list[Judged]:
    """The marks of the systems that were measured. measured: by scenario, by system."""
    found: list[Judged] = []
    for mark in marks:
        systems = measured.get(mark.scenario, {})
        if mark.system in systems and mark.against in systems:
            one, other = systems[mark.system], systems[mark.against]
            ratio = one.latency / other.latency if mark.what == "time" else one.memory / other.memory
            found.append(Judged(mark, ratio))
    return found
