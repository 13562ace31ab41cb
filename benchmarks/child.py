"""Measures one system in one scenario: `python -m samclip_edge.benchmarks.child '{...}'` prints JSON.

Each runs in a fresh process, because the peak memory of a process never falls again.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge import data
from samclip_edge.benchmarks import scenarios
from samclip_edge.benchmarks.any_version import peak
from samclip_edge.bundle.contract import Array, Arrays, GraphName
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.sessions import SessionOptions, Sessions
from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.photo.read import read_photo
from samclip_edge.pipeline import SamClip
from samclip_edge.tasks.everything import Settings
from samclip_edge.text.names import BACKGROUND_NAMES

ENOUGH = 20.0  # no further run begins after so many seconds of runs
QUICK = 2.0  # and none that is only there to make runs many, after so many
WORDS = 20  # how many words a scenario asks for, unless its name says otherwise


class Timed(Sessions):
    """Sessions that add up the seconds each graph runs, and the seconds spent on opening graphs."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, SessionOptions(threads))
        self.seconds: dict[str, float] = defaultdict(float)
        self.opening = 0.0

    def run(self, name: GraphName, size: Size | None = None, /, **inputs: Array) -> Arrays:
        """See `Sessions.run`."""
        start = time.perf_counter()
        session = self.open(name, size)
        opened = time.perf_counter()
        outputs = session.run(inputs)
        self.opening += opened - start
        self.seconds[name] += time.perf_counter() - opened
        return outputs


def measure(folder: Path, scenario: str, threads: int, runs: int, most: int = 1) -> dict[str, Any]:
    """Measure a bundle: seconds to load, of a warm-up run, of each run after it and of its graphs, and peak memory.

    scenario: one of `SCENARIOS`, or `encode S`, `encode` at the largest size, `boxes N`, `words K`; with `WIDE` at its
    end it is given a 16:9 photo. runs: as long as they take less than `ENOUGH`; up to `most` as long as they take less
    than `QUICK`. Returns the fields of `bench.Measured`, with `seconds` and `by_graph` as one entry for
    each run.
    """
    target = json.loads((folder / MANIFEST).read_text("utf-8"))["target"]
    if target == "litert":  # importing the engine is no part of loading; nor has a process another engine's memory
        import ai_edge_litert.compiled_model  # noqa: F401
    else:
        import onnxruntime  # noqa: F401
    bare = peak()
    start = time.perf_counter()
    timed = Timed(Bundle.open(folder), threads)
    model = SamClip(timed.bundle, sessions=timed)
    read = time.perf_counter() - start
    photo = read_photo(data.photos()[0])
    if scenario.endswith(scenarios.WIDE):
        photo = scenarios.widened(photo)
    run, warm, count = _scenario(scenario.removesuffix(scenarios.WIDE))
    two_models = model.bundle.manifest.kind == "sam+clip"
    words = model.words.vocabulary or scenarios.WORDS
    known = [word for word in words if word not in BACKGROUND_NAMES][:count]
    if run is scenarios.words and not two_models:
        model = scenarios.scattered(model, known)
    model.words.features([*known, *BACKGROUND_NAMES])  # an app does this once, so it is not part of a run
    asked = scenarios.Asked(photo, known, Settings())
    start, opened = time.perf_counter(), timed.opening
    warm(model, asked)  # opens the graphs
    first = time.perf_counter() - start - (timed.opening - opened)
    if run is scenarios.everything or (run is scenarios.words and two_models):
        asked = asked._replace(settings=scenarios.settings_for(model, photo))
    seconds: list[float] = []
    by_graph: list[dict[str, float]] = []
    while more(seconds, runs, most):
        timed.seconds.clear()
        start = time.perf_counter()
        run(model, asked)
        seconds.append(time.perf_counter() - start)
        by_graph.append(dict(timed.seconds))
    return {
        "load": read + timed.opening,
        "first": first,
        "seconds": seconds,
        "by_graph": by_graph,
        "peak": peak(),
        "above": peak() - bare,
    }


def more(seconds: Sequence[float], runs: int, most: int) -> bool:
    """Whether to run once more, after runs that took so long."""
    return (len(seconds) < runs and sum(seconds) < ENOUGH) or (len(seconds) < most and sum(seconds) < QUICK)


def _scenario(named: str) -> tuple[scenarios.Scenario, scenarios.Scenario, int]:
    """What to run, what to run for warm-up, and how many words. The warm-up opens every graph that the run needs."""
    if named in scenarios.SCENARIOS:
        run = scenarios.SCENARIOS[named]
        dear = run in (scenarios.words, scenarios.everything)
        return run, scenarios.name_and_click if dear else run, WORDS
    what, _, number = named.partition(" ")
    count = 0 if what == "encode" else int(number)

    def encode(model: SamClip, asked: scenarios.Asked) -> None:
        size = of_sides(*sides(number)) if number else model.sizes[-1]
        model.sessions.run("image_encoder", size, image=np.full((1, 3, *sides(size)), 128, np.float32))

    def boxes(model: SamClip, asked: scenarios.Asked) -> None:
        model.look(asked.photo).segment(boxes=[[10 + i, 10 + i, 200 + i, 200 + i] for i in range(count)])

    if what == "words":
        return scenarios.words, scenarios.words, count
    run = {"encode": encode, "boxes": boxes}[what]
    return run, run, WORDS


def measure_file(path: Path, threads: int, runs: int, most: int = 1) -> dict[str, Any]:
    """Measure an ONNX file with one input, as `measure` does, with ONNX Runtime's default options."""
    import onnxruntime

    bare = peak()
    start = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter() - start
    seconds: list[float] = []
    (given,) = session.get_inputs()
    inputs = {given.name: np.zeros(given.shape, np.float32)}
    while len(seconds) < 2 or more(seconds, runs + 1, most + 1):
        start = time.perf_counter()
        session.run(None, inputs)
        seconds.append(time.perf_counter() - start)
    first, *seconds = seconds
    return {
        "load": loaded,
        "first": first,
        "seconds": seconds,
        "by_graph": [{}] * len(seconds),
        "peak": peak(),
        "above": peak() - bare,
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    path = Path(asked["system"])
    common = {name: asked[name] for name in ("threads", "runs", "most")}
    found = measure_file(path, **common) if path.suffix == ".onnx" else measure(path, asked["scenario"], **common)
    print(json.dumps(found))
