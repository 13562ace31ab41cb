"""Measures what a merged model saves: each system in fresh processes, the systems in turn."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge.benchmarks.baselines import PRECISIONS, naive_encoder, random_bundle
from samclip_edge.benchmarks.costs import Cost, costs, download_size
from samclip_edge.benchmarks.scenarios import SCENARIOS
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import runs_here
from samclip_edge.errors import InputError
from samclip_edge.progress import Progress, silent

ROUNDS, RUNS = 3, 3  # processes for each system, and runs in each process (fewer if a run takes long)
LONG = 60.0  # seconds of a run from which on one process is enough
MERGED, BOTH, NAIVE = "merged", "SAM + CLIP", "naive export"


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
        """As a dictionary, `by_graph` also under its old name `stages`, until 0.3."""
        return self._asdict() | {"stages": self.by_graph}


class Result(NamedTuple):
    """Everything that `bench` found."""

    machine: dict[str, Any]
    sizes: dict[str, tuple[int, int]]  # by system: bytes on disk, and compressed by deflate
    scenarios: dict[str, dict[str, Measured]]  # by scenario, by system
    encoder: dict[str, Measured]  # SAM's encoder alone, by system and precision
    growth: dict[str, dict[str, Measured]]  # of the merged model: by S, prompts or words, then by scenario
    costs: list[Cost]

    def to_json(self) -> dict[str, Any]:
        """The result as plain lists and dictionaries."""
        fields = self._asdict()
        fields["scenarios"] = {
            scenario: {system: each.to_json() for system, each in found.items()}
            for scenario, found in self.scenarios.items()
        }
        fields["encoder"] = {system: each.to_json() for system, each in self.encoder.items()}
        fields["growth"] = {
            what: {asked: each.to_json() for asked, each in found.items()} for what, found in self.growth.items()
        }
        return fields | {"costs": [cost._asdict() for cost in self.costs]}


def in_turn(systems: dict[str, Path], scenario: str, threads: int) -> dict[str, Measured]:
    """Measure systems in turn (A, B, A, B), each in a fresh process; one that takes `LONG` in the first turn only."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in systems}
    for _ in range(ROUNDS):
        for name, path in systems.items():
            if not found[name] or found[name][0]["seconds"][0] < LONG:
                found[name].append(in_a_process(path, scenario, threads))
    return {name: _together(parts) for name, parts in found.items()}


def in_a_process(path: Path, scenario: str, threads: int) -> dict[str, Any]:
    """What `child` measures in a fresh process. Raises InputError where it does not run to its end."""
    asked = {"system": str(path.resolve()), "scenario": scenario, "threads": threads, "runs": RUNS}
    command = [sys.executable, "-m", "samclip_edge.benchmarks.child", json.dumps(asked)]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["it was killed, perhaps because memory ran out"])[-1]
        raise InputError(f"{path}: {scenario!r} did not run to its end ({last})")
    return json.loads(ran.stdout)


def _together(parts: Sequence[dict[str, Any]]) -> Measured:
    runs = [run for part in parts for run in part["by_graph"]]
    return Measured(
        seconds=[second for part in parts for second in part["seconds"]],
        load=[part["load"] for part in parts],
        first=[part["first"] for part in parts],
        peak=[part["peak"] for part in parts],
        above=[part["above"] for part in parts],
        by_graph={name: statistics.median(run[name] for run in runs) for name in (runs[0] if runs else ())},
    )


def bench(bundle: Path | None, folder: Path, threads: int, progress: Progress = silent) -> Result:
    """Measure a merged bundle against SAM and CLIP side by side.

    bundle: None measures `vit_b` with random weights. folder: where the other systems are exported to, and found again
    the next time. Raises InputError for a bundle that is not merged, or that has no engine on this machine.
    """
    merged = bundle or random_bundle("vit_b", folder / "vit_b", "fp32", (224, 1024), progress)
    opened = Bundle.open(merged)
    merged = opened.folder
    if opened.manifest.kind != "merged":
        raise InputError(f"{merged}: is {opened.manifest.kind}, not merged; name a merged bundle")
    target, precision = opened.manifest.target, opened.manifest.precision
    if not runs_here(opened):
        where = {"coreml": "Core ML, which runs on a Mac", "tensorrt": "TensorRT, and needs engines and their GPU"}
        raise InputError(f"{merged}: is for {where[target]}; measure it there, or a bundle for target onnx here")
    if target == "tensorrt":  # both systems by the same builder, in the same precision
        both = random_bundle("sam+clip", folder / f"sam+clip_tensorrt_{precision}", precision, None, progress, target)
    else:
        both = random_bundle("sam+clip", folder / "sam+clip", "fp32", None, progress)
    systems = {MERGED: merged, BOTH: both}
    least, most = opened.manifest.sizes[0], opened.manifest.sizes[-1]

    encoders = {f"{MERGED} {opened.manifest.precision}": merged}
    if bundle is None:
        encoders |= {
            f"{MERGED} {each}": random_bundle("vit_b", folder / f"vit_b_{each}", each, (224, 1024), progress)
            for each in PRECISIONS[1:]
        }
    naive = naive_encoder(folder / "naive" / "encoder.onnx") if most == 1024 else None
    if naive:
        encoders = {NAIVE: naive, **encoders}
    grow = {
        "S": [f"encode {size}" for size in opened.manifest.sizes],
        "prompts": [f"boxes {count}" for count in (1, 4, 16, 64)],
        "words": [f"words {count}" for count in (1, 5, 20)],
    }
    growth: dict[str, dict[str, Measured]] = {what: {} for what in grow}
    for what, asked in progress([(what, asked) for what, each in grow.items() for asked in each], "measuring growth"):
        growth[what][asked] = in_turn({MERGED: merged}, asked, threads)[MERGED]
    return Result(
        machine=machine(threads, opened) | {"sizes": [least, most], "model": opened.manifest.spec.name},
        sizes={
            name: (sum(file.bytes for file in Bundle.open(path).files()), download_size(Bundle.open(path)))
            for name, path in {**encoders, **systems}.items()
            if path.is_dir()
        },
        scenarios={each: in_turn(systems, each, threads) for each in progress(list(SCENARIOS), "measuring scenarios")},
        encoder=in_turn(encoders, f"encode {most}", threads),
        growth=growth,
        costs=[*costs(opened), *(cost for cost in costs(Bundle.open(both)) if cost.graph == "clip_image_encoder")],
    )


def machine(threads: int, bundle: Bundle) -> dict[str, Any]:
    """The machine that measured, and the engine that ran the bundle."""
    built = bundle.manifest.built_engines
    engine = {"onnx": f"ONNX Runtime {version('onnxruntime')}", "coreml": f"Core ML of macOS {platform.mac_ver()[0]}"}
    if built is not None:
        engine["tensorrt"] = f"{built.builder} {built.version} on a GPU of {', '.join(built.capabilities)}"
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    total = [int(line.split()[1]) / 1e6 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(total[0], 1) if total else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "engine": engine[bundle.manifest.target],
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []
