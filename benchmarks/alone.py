"""Measures one bundle by itself, for a machine that has no torch; and what happens to it under load, for minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge import data
from samclip_edge.benchmarks.machine import bundle_facts, machine, measurable, megahertz
from samclip_edge.benchmarks.measured import Measured, figures, in_turn
from samclip_edge.benchmarks.scenarios import SCENARIOS, WORDS, Asked, name_and_click
from samclip_edge.photo.read import read_photo
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent
from samclip_edge.tasks.everything import Settings
from samclip_edge.text.names import BACKGROUND_NAMES

MINUTE = 60.0  # seconds at each end of a long run that are compared, or half of it if that is shorter


class Alone(NamedTuple):
    """Everything that `measure_alone` found."""

    machine: dict[str, Any]
    bundle: dict[str, Any]
    scenarios: dict[str, Measured]

    def to_json(self) -> dict[str, Any]:
        """The result as plain lists and dictionaries; a scenario has one system, named for the kind of the bundle."""
        kind = self.bundle["kind"]
        return self._asdict() | {"scenarios": {name: {kind: each.to_json()} for name, each in self.scenarios.items()}}


class LongRun(NamedTuple):
    """One scenario, without pause."""

    ends: list[float]  # seconds after the start at which each run ended
    seconds: list[float]  # that each run took
    megahertz: list[float | None]  # of the cores when each run ended, on average

    def to_json(self) -> dict[str, Any]:
        """The runs, what the first and the last minute come to, and how much slower the last is (by the p50)."""
        window = min(MINUTE, self.ends[-1] / 2)
        first = [index for index, end in enumerate(self.ends) if end <= window] or [0]
        starts = [end - took for end, took in zip(self.ends, self.seconds, strict=True)]
        last = [i for i, start in enumerate(starts) if start >= self.ends[-1] - window] or [len(starts) - 1]
        ends = {"first": self._part(first), "last": self._part(last)}
        ratio = ends["last"]["p50"] / ends["first"]["p50"]
        return {"scenario": "name and click", "window": window, **ends, "ratio": ratio, "seconds": self.seconds}

    def _part(self, runs: list[int]) -> dict[str, Any]:
        told = [clock for run in runs if (clock := self.megahertz[run]) is not None]
        clock = round(sum(told) / len(told)) if told else None
        return figures([self.seconds[run] for run in runs]) | {"megahertz": clock}


def measure_alone(folder: Path, threads: int, progress: Progress = silent) -> Alone:
    """Measure a bundle in each scenario, in fresh processes. Raises InputError where its engine is not here."""
    bundle = measurable(folder)
    found = {
        each: in_turn({"alone": bundle.folder}, each, threads)["alone"]
        for each in progress(list(SCENARIOS), "measuring scenarios")
    }
    facts = machine(threads, bundle) | {"sizes": [bundle.manifest.sizes[0], bundle.manifest.sizes[-1]]}
    return Alone(facts, bundle_facts(bundle), found)


def long_run(folder: Path, minutes: float, threads: int, progress: Progress = silent) -> LongRun:
    """Name a photo and segment at one click, from one look at the largest size, again and again for so many minutes."""
    model = SamClip.load(measurable(folder).folder, threads)
    words = [word for word in model.words.vocabulary or WORDS if word not in BACKGROUND_NAMES][: len(WORDS)]
    asked = Asked(read_photo(data.photos()[0]), words, Settings())
    name_and_click(model, asked)  # opens the graphs, and reads the names
    found = LongRun([], [], [])
    begun, end = time.perf_counter(), 0.0
    whole = int(minutes)
    for index in progress(range(whole + (minutes > whole)), "minutes of name and click"):
        until = 60 * min(index + 1, minutes)
        while end < until:
            start = time.perf_counter() - begun
            name_and_click(model, asked)
            end = time.perf_counter() - begun
            found.ends.append(end)
            found.seconds.append(end - start)
            found.megahertz.append(megahertz())
    return found
