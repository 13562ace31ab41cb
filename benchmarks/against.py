"""Measures this version of samclip-edge beside another one, installed in a folder, each in fresh processes, in turn."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge.benchmarks import any_version, measured
from samclip_edge.benchmarks.example_photos import example_photos
from samclip_edge.benchmarks.machine import bundle_facts, machine, measurable
from samclip_edge.benchmarks.measured import Measured, together
from samclip_edge.benchmarks.scenarios import WORDS
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.cache import VARIABLE
from samclip_edge.errors import InputError
from samclip_edge.json_files import read_json
from samclip_edge.progress import Progress, silent
from samclip_edge.text.names import BACKGROUND_NAMES

log = logging.getLogger(__name__)

BEFORE, NOW = "before", "now"
SPENT = 60.0  # seconds of a scenario from which on no further round begins
SIZES = ("224", "1024")  # of the model that is measured where none is named
HELP = "--help"
WHOLE = (HELP, "start to the first mask")  # measured from the start of the process to its end
NAMES = ("twenty new names", "twenty known names")  # the second in the cache of the first round of the first


class Version(NamedTuple):
    """A version of samclip-edge that a child process is to import."""

    name: str  # `BEFORE` or `NOW`
    installed: Path | None  # the folder that it lies in; None: where this process has its own from

    def run(self, arguments: Sequence[str], threads: int, cache: Path | None = None) -> str:
        """What Python prints in a process of this version. Raises InputError where it does not run to its end.

        cache: where a version that keeps features of names, or sums of files, is to keep them.
        """
        given = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
        places = given if self.installed is None else [str(self.installed), *given]
        path = os.pathsep.join(os.path.abspath(each) for each in places)
        env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
        if cache is not None:
            env |= {VARIABLE: str(cache)}
        pipe = subprocess.PIPE
        with (
            tempfile.TemporaryDirectory() as empty,  # Python looks for modules where it is started, too
            subprocess.Popen(
                [sys.executable, *arguments], stdout=pipe, stderr=pipe, text=True, env=env, cwd=empty
            ) as process,
        ):
            try:
                out, errors = process.communicate()
            except BaseException:
                process.terminate()  # and not killed: it is to take away what it has half written
                process.wait()
                raise
        if process.returncode:
            last = (errors.strip().splitlines() or ["it was killed, perhaps because memory ran out"])[-1]
            raise InputError(f"the version {self.name} did not run to its end ({last})")
        return out

    def about(self) -> dict[str, str]:
        """Its number, and a hash of the code that exports."""
        return dict(json.loads(self.run([any_version.__file__, "{}"], 1)))


class Compared(NamedTuple):
    """Everything that `compare` found."""

    machine: dict[str, Any]
    bundle: dict[str, Any]
    versions: dict[str, str]  # by name: its number, and a hash of the code that exports
    scenarios: dict[str, dict[str, Measured]]  # by scenario, by version
    ratios: dict[str, list[float]]  # by scenario: of the median times of each round, now of before
    notes: dict[str, str]  # by scenario: what a version had to do otherwise, or why it is not measured

    def to_json(self) -> dict[str, Any]:
        """The result as plain lists and dictionaries."""
        return self._asdict() | {
            "scenarios": {
                scenario: {version: each.to_json() for version, each in found.items()}
                for scenario, found in self.scenarios.items()
            }
        }


def compare(
    model: Path | None, installed: Path, folder: Path, threads: int, progress: Progress = silent
) -> tuple[Compared, Path]:
    """Measure the version in `installed` and this one, in turn.

    model: a bundle, which both run; or a checkpoint, which each exports for itself, into `folder`, where its bundle is
    found again; None: vit_b with random weights, exported so. Returns what was found, and the bundle of this version.
    Raises InputError for a folder that holds no samclip-edge, and for a bundle that does not run here.
    """
    if not (installed / "samclip_edge" / "__init__.py").is_file():
        raise InputError(
            f" {installed}: holds no samclip-edge; put one there by pip install --no-deps --target {installed}",
            "installed",
        )
    versions = [Version(BEFORE, installed), Version(NOW, None)]
    told = {each.name: each.about() for each in versions}
    if model is not None and not model.is_file():
        bundles = dict.fromkeys((BEFORE, NOW), measurable(model))
    else:
        bundles = {name: measurable(path) for name, path in _exported(model, versions, told, folder, progress).items()}
    found: dict[str, dict[str, Measured]] = {}
    ratios: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as kept:
        asked = _asked(bundles[NOW], Path(kept), threads)
        asked_of = [(each, asked | {"bundle": str(bundles[each.name].folder.resolve())}) for each in versions]
        for scenario in progress([HELP, *any_version.SCENARIOS], "measuring two versions"):
            if scenario in NAMES and bundles[NOW].manifest.text.tokenizer is None:
                notes[scenario] = "not measured: the bundle holds a vocabulary, and no text encoder"
                continue
            try:
                parts = _rounds(scenario, asked_of, Path(kept))
            except InputError as error:
                log.warning("%s: %s", scenario, error)  # its words may hold a path, and the report is to be sent
                notes[scenario] = "not measured: a version did not run it to its end"
                continue
            found[scenario] = {name: together(each) for name, each in parts.items()}
            both = zip(parts[BEFORE], parts[NOW], strict=True)
            ratios[scenario] = [statistics.median(b["seconds"]) / statistics.median(a["seconds"]) for a, b in both]
            said = [f"{name} {each[0]['told']}" for name, each in parts.items() if each[0]["told"]]
            notes |= {scenario: "; ".join(said)} if said else {}
    numbers = {name: f"{each['version']} ({each['code']})" for name, each in told.items()}
    facts = machine(threads, bundles[NOW])
    return Compared(facts, bundle_facts(bundles[NOW]), numbers, found, ratios, notes), bundles[NOW].folder


def _asked(bundle: Bundle, folder: Path, threads: int) -> dict[str, Any]:
    """What a child process is asked, but for its scenario and its bundle."""
    names = bundle.manifest.text.names
    words = WORDS if names is None else read_json(bundle.folder / names.path)
    return {
        "words": [word for word in words if word not in BACKGROUND_NAMES],
        "drawn": not bundle.manifest.trained,
        "threads": threads,
        "runs": measured.RUNS,
        "most": measured.MANY,
        **example_photos(folder),
    }


def _rounds(
    scenario: str, asked_of: Sequence[tuple[Version, dict[str, Any]]], folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """What the processes of each version measured: a process each in a round, until the rounds or the time are over."""
    parts: dict[str, list[dict[str, Any]]] = {version.name: [] for version, _ in asked_of}
    if scenario in WHOLE:  # once before: the files of a version come from the disk only once
        for version, asked in asked_of:
            _once(scenario, version, asked, folder / version.name)
    begun = time.perf_counter()
    once = scenario in (*WHOLE, *NAMES)  # a process has one run
    for turn in range(measured.ROUNDS * measured.RUNS if once else measured.ROUNDS):
        if turn and time.perf_counter() - begun > SPENT:
            break
        for version, asked in asked_of:
            fill = turn if scenario == NAMES[0] else 0
            cache = folder / (f"{version.name}-{fill}" if scenario in NAMES else version.name)
            parts[version.name].append(_once(scenario, version, asked, cache))
    return parts


def _once(scenario: str, version: Version, asked: dict[str, Any], cache: Path) -> dict[str, Any]:
    """What one process measures."""
    order = [any_version.__file__, json.dumps(asked | {"scenario": scenario})]
    start = time.perf_counter()
    if scenario == HELP:
        version.run(["-m", "samclip_edge.cli", HELP], asked["threads"], cache)
        found: dict[str, Any] = {"load": 0.0, "first": 0.0, "peak": 0, "above": 0, "by_graph": [], "told": ""}
    else:
        found = json.loads(version.run(order, asked["threads"], cache))
    whole = time.perf_counter() - start
    return found | {"seconds": [whole]} if scenario in WHOLE else found


def _exported(
    model: Path | None,
    versions: Sequence[Version],
    told: Mapping[str, Mapping[str, str]],
    folder: Path,
    progress: Progress,
) -> dict[str, Path]:
    """By version: the bundle that it exports of a checkpoint, or has exported before by the same code."""
    stem = model.stem if model else "vit_b"
    places = {each.name: folder / f"{stem}_{told[each.name]['version']}_{told[each.name]['code']}" for each in versions}
    missing = [each for each in versions if not (places[each.name] / MANIFEST).is_file()]
    path = model or folder / "vit_b.safetensors"
    try:
        if missing and model is None:
            from samclip_edge.benchmarks.baselines import random_checkpoint  # needs torch

            random_checkpoint("vit_b", path)
        for version in progress(missing, "exporting by each version"):
            sizes = [] if model else [word for size in SIZES for word in ("--size", size)]
            order = ["export", "--model", str(path.resolve()), *sizes, "-o", str(places[version.name].resolve())]
            version.run(["-m", "samclip_edge.cli", *order], os.cpu_count() or 1)
    finally:
        if model is None:
            path.unlink(missing_ok=True)
    return places
