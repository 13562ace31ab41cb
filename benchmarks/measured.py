"""Measures a system in fresh processes, and systems in turn; and what the runs come to. Needs no torch."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge.errors import InputError

ROUNDS, RUNS = 3, 3  # processes for each system, and runs in each process (fewer if a run takes long)
MANY = 20  # runs in each process where they are quick; and from how many runs on a p95 says more than the longest run
LONG = 60.0  # seconds of a run from which on one process is enough


def p95(seconds: Sequence[float]) -> float:
    """The shortest time that 95 % of the runs do not exceed (the nearest rank)."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]


def figures(seconds: Sequence[float]) -> dict[str, Any]:
    """What runs come to: `p50`, `p95`, the least, the most, and how many there are. Empty for no runs."""
    if not seconds:
        return {}
    ends = {"least": min(seconds), "most": max(seconds), "runs": len(seconds)}
    return {"p50": statistics.median(seconds), "p95": p95(seconds), **ends}


class Measured(NamedTuple):
    """One system in one scenario.

    `seconds` has one number for each run of each process; the other lists have one for each process.
    """

    seconds: list[float]
    load: list[float]  # seconds to open the bundle and its graphs
    first: list[float]  # seconds of the warm-up run, without opening graphs
    peak: list[int]  # bytes, of the whole process
    above: list[int]  # bytes, above the process before the bundle was opened
    by_graph: dict[str, float]  # by graph: median seconds that it takes in a run

    @property
    def latency(self) -> float:
        """Median seconds of a run."""
        return statistics.median(self.seconds)

    @property
    def memory(self) -> float:
        """Median bytes of a process at its peak."""
        return statistics.median(self.peak)

    def to_json(self) -> dict[str, Any]:
        """As a dictionary, with `figures`; `by_graph` also under its old name `stages`, until 0.3."""
        return self._asdict() | figures(self.seconds) | {"stages": self.by_graph}


def in_turn(systems: dict[str, Path], scenario: str, threads: int) -> dict[str, Measured]:
    """Measure systems in turn (A, B, A, B), each in a fresh process; one that takes `LONG` in the first turn only."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in systems}
    for _ in range(ROUNDS):
        for name, path in systems.items():
            if not found[name] or found[name][0]["seconds"][0] < LONG:
                found[name].append(in_a_process(path, scenario, threads))
    return {name: together(parts) for name, parts in found.items()}


def in_a_process(path: Path, scenario: str, threads: int) -> dict[str, Any]:
    """What `child` measures in a fresh process. Raises InputError where it does not run to its end."""
    asked = {"system": str(path.resolve()), "scenario": scenario, "threads": threads, "runs": RUNS, "most": MANY}
    command = [sys.executable, "-m", "samclip_edge.benchmarks.child", json.dumps(asked)]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["it was killed, perhaps because memory ran out"])[-1]
        raise InputError(f"{path}: {scenario!r} did not run to its end ({last})")
    return json.loads(ran.stdout)


def together(parts: Sequence[dict[str, Any]]) -> Measured:
    """What the processes of one system measured, as one."""
    runs = [run for part in parts for run in part["by_graph"]]
    return Measured(
        seconds=[second for part in parts for second in part["seconds"]],
        load=[part["load"] for part in parts],
        first=[part["first"] for part in parts],
        peak=[part["peak"] for part in parts],
        above=[part["above"] for part in parts],
        by_graph={name: statistics.median(run[name] for run in runs) for name in (runs[0] if runs else ())},
    )
