"""Measures LiteRT beside ONNX Runtime: one model, precision and scenario, in fresh processes, in turn."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge import data
from samclip_edge.benchmarks.baselines import PRECISIONS, TEMPLATES, random_bundle
from samclip_edge.benchmarks.litert_operators import encoder_by_operator
from samclip_edge.benchmarks.machine import machine, measurable
from samclip_edge.benchmarks.measured import Measured, in_turn
from samclip_edge.benchmarks.scenarios import WORDS
from samclip_edge.benchmarks.tables import SPREAD, device, megabytes, seconds, table
from samclip_edge.bundle.manifest import MANIFEST, Precision, Target
from samclip_edge.export.options import LiteRTOptions
from samclip_edge.export.targets.litert import export_litert
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.progress import Progress, silent

ENGINES: dict[str, Target] = {"ONNX Runtime": "onnx", "LiteRT": "litert"}
MODELS = {"photo": 384, "mobile": 1024, "vit_b": 1024}  # and the one input size that each is measured at
SCENARIOS = ("encode", "name and click")
_SHOWN = 6  # operators of a profile
MOST = 1.1  # of ONNX Runtime's time and memory in fp32, and of its gain by int8


class Engines(NamedTuple):
    """What both engines measured on one model."""

    machine: dict[str, Any]
    size: int
    bytes: dict[str, dict[str, int]]  # of the bundle, by precision, by engine
    scenarios: dict[str, dict[str, dict[str, Measured]]]  # by scenario, by precision, by engine
    operators: dict[str, dict[str, float]]  # seconds of LiteRT's image encoder, by precision, by operator

    def to_json(self) -> dict[str, Any]:
        """The result as plain lists and dictionaries."""
        found = {
            scenario: {
                precision: {engine: each.to_json() for engine, each in both.items()} for precision, both in each.items()
            }
            for scenario, each in self.scenarios.items()
        }
        return self._asdict() | {"scenarios": found}


def measure_litert(folder: Path, threads: int, progress: Progress = silent) -> Iterator[tuple[str, Engines]]:
    """Measure `photo`, and `mobile` and `vit_b` with random weights, exported into `folder` for both engines.

    Prompts have two points. Yields the name of each model, and what was measured.
    """
    for model, size in MODELS.items():
        bundles = {
            precision: {
                engine: _exported(model, size, folder / f"{model}-{target}-{precision}", precision, target, progress)
                for engine, target in ENGINES.items()
            }
            for precision in PRECISIONS
        }
        found: dict[str, dict[str, dict[str, Measured]]] = {}
        for scenario in progress(SCENARIOS, f"measuring both on {model}"):
            found[scenario] = {precision: in_turn(systems, scenario, threads) for precision, systems in bundles.items()}
        opened = {
            precision: {engine: measurable(each) for engine, each in both.items()}
            for precision, both in bundles.items()
        }
        sizes: dict[str, dict[str, int]] = {
            precision: {engine: sum(file.bytes for file in each.files()) for engine, each in both.items()}
            for precision, both in opened.items()
        }
        facts = machine(threads, opened["fp32"]["ONNX Runtime"]) | {
            "sizes": [size],
            "litert": version("ai-edge-litert"),
        }
        operators: dict[str, dict[str, float]] = {
            precision: encoder_by_operator(both["LiteRT"] / "image_encoder.tflite", size, threads)
            for precision, both in bundles.items()
        }
        yield model, Engines(facts, size, sizes, found, operators)


def _exported(model: str, size: int, folder: Path, precision: Precision, target: Target, progress: Progress) -> Path:
    if model not in data.CHECKPOINTS:
        return random_bundle(model, folder, precision, (size,), progress, target)
    if not (folder / MANIFEST).is_file():
        path = data.CHECKPOINTS[model]
        given: dict[str, Any] = {"progress": progress, "precision": precision, "templates": TEMPLATES}
        if target == "litert":
            export_litert(path, folder, (size,), WORDS, options=LiteRTOptions(points=2), **given)
        else:
            export_onnx(path, folder, (size,), WORDS, **given)
    return folder


def litert_markdown(name: str, found: Engines) -> str:
    """The table of both engines on a model, and how it stands to the marks."""
    rows, marks = [], []
    for scenario, by_precision in found.scenarios.items():
        for precision, both in by_precision.items():
            ort, lite = both["ONNX Runtime"], both["LiteRT"]
            rows.append(
                (
                    scenario,
                    precision,
                    *(seconds(each) for each in (ort, lite)),
                    f"{lite.latency / ort.latency:.2f}",
                    *(megabytes(each.memory) for each in (ort, lite)),
                    f"{lite.memory / ort.memory:.2f}",
                    *(f"{min(each.load):.2f} s" for each in (ort, lite)),
                )
            )
        marks += _marks(scenario, by_precision)
    columns = ("scenario", "precision", *ENGINES, "of it", *(f"peak, {each}" for each in ENGINES), "of it")
    loads = tuple(f"load, {each}" for each in ENGINES)
    sizes = [
        f"{precision}: {', '.join(f'{engine} {megabytes(count)}' for engine, count in both.items())}"
        for precision, both in found.bytes.items()
    ]
    on = found.machine
    first = f"{name} at {found.size}, {on['threads']} threads; {device(on)}, LiteRT {on['litert']}. {SPREAD}"
    text = [first, table((*columns, *loads), rows)]
    profiles = [
        f"LiteRT's image encoder in {precision} by operator, one run of it profiled: {_most(seconds)}."
        for precision, seconds in found.operators.items()
    ]
    return "\n\n".join([*text, f"Files of the bundles. {'; '.join(sizes)}.", "\n".join(marks), *profiles])


def _most(seconds: dict[str, float]) -> str:
    """The operators that take the most time, with their share of all."""
    whole = sum(seconds.values())
    return ", ".join(f"{name} {each / whole:.0%}" for name, each in list(seconds.items())[:_SHOWN])


def _marks(scenario: str, by_precision: dict[str, dict[str, Measured]]) -> list[str]:
    plain, small = by_precision["fp32"], by_precision["int8"]
    gains = {engine: plain[engine].latency / small[engine].latency for engine in ENGINES}
    ratios = {
        "time in fp32": plain["LiteRT"].latency / plain["ONNX Runtime"].latency,
        "memory in fp32": plain["LiteRT"].memory / plain["ONNX Runtime"].memory,
        "gain by int8, ONNX Runtime's over LiteRT's": gains["ONNX Runtime"] / gains["LiteRT"],
    }
    return [
        f"- {scenario}, {what}: {ratio:.2f}; the mark is {MOST:g}: {'reached' if ratio <= MOST else 'missed'}"
        for what, ratio in ratios.items()
    ]
