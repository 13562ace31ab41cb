"""Measures what a merged model saves: each system in fresh processes, the systems in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge.benchmarks.baselines import PRECISIONS, naive_encoder, random_bundle
from samclip_edge.benchmarks.costs import Cost, costs, download_size
from samclip_edge.benchmarks.machine import machine, measurable
from samclip_edge.benchmarks.measured import Measured, in_turn
from samclip_edge.benchmarks.scenarios import SCENARIOS
from samclip_edge.bundle.folder import Bundle
from samclip_edge.errors import InputError
from samclip_edge.progress import Progress, silent

MERGED, BOTH, NAIVE = "merged", "SAM + CLIP", "naive export"


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


def bench(bundle: Path | None, folder: Path, threads: int, progress: Progress = silent) -> Result:
    """Measure a merged bundle against SAM and CLIP side by side.

    bundle: None measures `vit_b` with random weights. folder: where the other systems are exported to, and found again
    the next time. Raises InputError for a bundle that is not merged, or that has no engine on this machine.
    """
    merged = bundle or random_bundle("vit_b", folder / "vit_b", "fp32", (224, 1024), progress)
    opened = measurable(merged)
    merged = opened.folder
    if opened.manifest.kind != "merged":
        raise InputError(f"{merged}: is {opened.manifest.kind}, not merged; name a merged bundle")
    target, precision = opened.manifest.target, opened.manifest.precision
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
