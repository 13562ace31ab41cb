"""Measures the native runtime beside the Python one: one bundle, photo and question, in fresh processes, in turn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge import data
from samclip_edge.benchmarks import measured, scenarios
from samclip_edge.benchmarks.machine import bundle_facts, machine, measurable
from samclip_edge.benchmarks.marks import Judged, Mark, judged
from samclip_edge.benchmarks.measured import Measured, together
from samclip_edge.benchmarks.tables import head, megabytes, seconds, table
from samclip_edge.bundle.folder import Bundle
from samclip_edge.errors import InputError
from samclip_edge.photo.read import read_photo
from samclip_edge.progress import Progress, silent
from samclip_edge.text.names import BACKGROUND_NAMES
from samclip_edge.text.words import vocabulary_names

NATIVE, PYTHON = "native", "Python"
PROGRAM, LIBRARY = "samclip-edge-measure", "libsamclip_edge.so"
BUILT = Path("build") / "native"  # where `make native` puts them
START = "start to the first mask"  # of a process; it prints by the clock of all processes when it has the mask
STARTS = 9  # of either runtime
SMALL = 1.5e6  # bytes of the library, stripped, at most
CLICK = """
import json, sys, time
import numpy as np
from samclip_edge import SamClip
bundle, threads, photo, width, height = json.loads(sys.argv[1])
model = SamClip.load(bundle, threads)
model.prepare()
pixels = np.fromfile(photo, np.uint8).reshape(height, width, 3)
model.look(pixels).segment(points=[[width / 2, height / 2]])
print(time.monotonic())
"""


class Beside(NamedTuple):
    """What both runtimes measured on one bundle."""

    machine: dict[str, Any]
    bundle: dict[str, Any]
    library: int  # bytes of the native library, stripped
    scenarios: dict[str, dict[str, Measured]]  # by scenario, by runtime
    marks: list[Judged]

    def to_json(self) -> dict[str, Any]:
        """The result as plain lists and dictionaries."""
        found = {name: {kind: each.to_json() for kind, each in both.items()} for name, both in self.scenarios.items()}
        marks = [each.mark._asdict() | {"measured": each.measured, "reached": each.reached} for each in self.marks]
        return self._asdict() | {"scenarios": found, "marks": marks}


class Question(NamedTuple):
    """What either runtime is asked."""

    bundle: Bundle
    threads: int
    photo: Path  # RGB pixels
    sides: tuple[int, int]  # its width and height
    words: list[str]


def measure_native(
    bundle: Path | None, folder: Path, threads: int, progress: Progress = silent
) -> Iterator[tuple[str, Beside]]:
    """Measure a bundle; or, where it is None, `photo`, and `vit_b` with random weights, exported into `folder`.

    Yields the name of each model, and what was measured. Raises InputError where the program is not built.
    """
    program = _program()
    if bundle is not None:
        yield "bundle", _measured(measurable(bundle), program, threads, _marks(shipped=None), progress)
        return
    yield "photo", _measured(measurable(data.PHOTO), program, threads, _marks(shipped=True), progress)
    from samclip_edge.benchmarks.baselines import random_bundle  # needs torch

    large = random_bundle("vit_b", folder / "vit_b", "fp32", (224, 1024), progress)
    yield "vit_b", _measured(measurable(large), program, threads, _marks(shipped=False), progress)


def _program() -> Path:
    found = shutil.which(PROGRAM) or shutil.which(PROGRAM, path=str(BUILT))
    if found is None:
        raise InputError(f" native: {PROGRAM} is not here; build it by `make native`, or put it on the PATH", "runtime")
    return Path(found).resolve()


def _marks(shipped: bool | None) -> list[Mark]:
    """What the native runtime shall cost at most of the Python one's; for a bundle of the user's only its time."""
    time_of = dict.fromkeys(scenarios.SCENARIOS, 1.0)
    memory = []
    if shipped is not None:
        memory = [Mark("name and click", "peak memory", NATIVE, PYTHON, 0.8 if shipped else 0.95)]
    if shipped:
        time_of |= {START: 0.25, "everything, named": 0.8}
    return [*(Mark(name, "time", NATIVE, PYTHON, most) for name, most in time_of.items()), *memory]


def _measured(bundle: Bundle, program: Path, threads: int, marks: list[Mark], progress: Progress) -> Beside:
    words = [word for word in vocabulary_names(bundle) or scenarios.WORDS if word not in BACKGROUND_NAMES]
    pixels = read_photo(data.photos()[0])
    found: dict[str, dict[str, Measured]] = {}
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.rgb"
        pixels.tofile(photo)
        asked = Question(bundle, threads, photo, (pixels.shape[1], pixels.shape[0]), words[: len(scenarios.WORDS)])
        for scenario in progress([START, *scenarios.SCENARIOS], f"measuring both on {bundle.manifest.spec.name}"):
            found[scenario] = _starts(asked, program) if scenario == START else _in_turn(asked, program, scenario)
    facts = machine(threads, bundle) | {"sizes": [bundle.manifest.sizes[0], bundle.manifest.sizes[-1]]}
    return Beside(facts, bundle_facts(bundle), _stripped(program), found, judged(found, marks))


def _in_turn(asked: Question, program: Path, scenario: str) -> dict[str, Measured]:
    parts: dict[str, list[dict[str, Any]]] = {PYTHON: [], NATIVE: []}
    for turn in range(measured.ROUNDS):
        if turn and parts[PYTHON][0]["seconds"][0] > measured.LONG:
            break
        parts[PYTHON].append(measured.in_a_process(asked.bundle.folder, scenario, asked.threads))
        parts[NATIVE].append(json.loads(_run(_order(asked, program, scenario), asked.threads)))
    return {name: together(each) for name, each in parts.items()}


def _starts(asked: Question, program: Path) -> dict[str, Measured]:
    order = [str(asked.bundle.folder), asked.threads, str(asked.photo), *asked.sides]
    orders = {PYTHON: [sys.executable, "-c", CLICK, json.dumps(order)], NATIVE: _order(asked, program, START)}
    found: dict[str, list[float]] = {name: [] for name in orders}
    for turn in range(STARTS + 1):
        for name, each in orders.items():
            start = time.monotonic()
            masked = float(_run(each, asked.threads))
            if turn:  # the first reads files from the disk
                found[name].append(masked - start)
    return {name: Measured(each, [], [], [0], [0], {}) for name, each in found.items()}


def _order(asked: Question, program: Path, scenario: str) -> list[str]:
    given = [scenario, asked.threads, measured.RUNS, measured.MANY, asked.photo, *asked.sides]
    trained = int(asked.bundle.manifest.trained)
    return [str(each) for each in (program, asked.bundle.folder, *given, trained, *asked.words)]


def _run(order: Sequence[str], threads: int) -> str:
    ran = subprocess.run(order, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["it was killed, perhaps because memory ran out"])[-1]
        raise InputError(f"{Path(order[0]).name}: did not run to its end ({last})")
    return ran.stdout


def _stripped(program: Path) -> int:
    """Bytes of the library without its symbols, as `strip` leaves it where that is installed."""
    library = next(
        (each / LIBRARY for each in (program.parent, program.parent.parent / "lib") if (each / LIBRARY).exists()), None
    )
    if library is None:
        return 0
    strip = shutil.which("strip")
    if strip is None:
        return library.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / LIBRARY
        subprocess.run([strip, "-o", str(bare), str(library.resolve())], check=True)
        return bare.stat().st_size


def native_markdown(name: str, found: Beside) -> str:
    """The table of both runtimes on a model, and its marks."""
    rows = []
    for scenario, both in found.scenarios.items():
        python, native = both[PYTHON], both[NATIVE]
        memory = f"{native.memory / python.memory:.2f}" if python.memory else ""
        peaks = [megabytes(each.memory) if each.memory else "" for each in (python, native)]
        rows.append(
            (scenario, seconds(python), seconds(native), f"{native.latency / python.latency:.2f}", *peaks, memory)
        )
    columns = ("scenario", PYTHON, NATIVE, f"of {PYTHON}", f"peak, {PYTHON}", f"peak, {NATIVE}", f"of {PYTHON}")
    what = f"{name} {found.bundle['precision']} by both runtimes"
    small = f"The library without ONNX Runtime, stripped: {megabytes(found.library)}, {found.library:,} bytes "
    small += f"(the mark is {SMALL:,.0f}: {'reached' if found.library <= SMALL else 'missed'})."
    marks = [
        f"- {each.mark.scenario}: {each.mark.what} {each.measured:.2f} of {PYTHON}'s; the mark is {each.mark.most:g}: "
        f"{'reached' if each.reached else 'missed'}"
        for each in found.marks
    ]
    return "\n\n".join([head(what, found.machine), table(columns, rows), small, "\n".join(marks)])
