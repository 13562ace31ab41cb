"""Measures base models beside `vit_b`, and each beside two models of the same size: its SAM and a CLIP, unmerged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from samclip_edge.benchmarks.baselines import PRECISIONS, random_bundle
from samclip_edge.benchmarks.costs import costs, download_size
from samclip_edge.benchmarks.machine import machine
from samclip_edge.benchmarks.marks import Judged, judged
from samclip_edge.benchmarks.measured import Measured, in_turn
from samclip_edge.benchmarks.operators import encoder_by_operator
from samclip_edge.benchmarks.scenarios import WIDE
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError
from samclip_edge.model.image_encoder import image_encoder
from samclip_edge.model.open_clips import side_by_side
from samclip_edge.progress import Progress, silent

REFERENCE = "vit_b"  # which every base is compared with
SIZES: tuple[Size, ...] = (224, 1024)
CAMERA: Size = "1024x576"  # the shape of a 16:9 photo, which a square pads
IN_BOTH_SHAPES = (REFERENCE, "mobile")  # the bases that are measured with and without that padding


class Pair(NamedTuple):
    """Two models that do together what a merged one does."""

    sam: str  # the preset whose image encoder and decoder it has
    clip: str  # a model of open_clip


# The two models that each base stands against, by the name of the base and then of the two. A ViT-L or ViT-H of SAM is
# beside the CLIP of its own text tower. C-RADIO has no SAM of its size: it is beside the pair of ViT-B, as large as its
# trunk.
PAIRS: dict[str, dict[str, Pair]] = {
    "mobile": {
        "MobileSAM + ViT-B-32": Pair("mobile", "ViT-B-32"),
        "MobileSAM + MobileCLIP2-S0": Pair("mobile", "MobileCLIP2-S0"),
    },
    "vit_l": {"SAM ViT-L + ViT-L-14": Pair("vit_l", "ViT-L-14")},
    "vit_h": {"SAM ViT-H + ViT-L-14": Pair("vit_h", "ViT-L-14")},
    "radio": {"SAM ViT-B + ViT-B-16": Pair("vit_b", "ViT-B-16")},
}
SCENARIOS = ("encode", "name a photo", "name and click", "words to masks")


class Facts(NamedTuple):
    """What does not depend on the machine. The last three are counted in float32 only."""

    disk: int  # bytes of the bundle
    download: int  # the same, compressed by deflate
    parameters: int | None = None  # of the image encoder
    encoder: int | None = None  # multiply-adds of the image encoder at the largest size
    answer: int | None = None  # multiply-adds to name a photo and to segment at one click, at the largest size


class Bases(NamedTuple):
    """Everything that `measure_bases` found."""

    machine: dict[str, Any]
    facts: dict[str, Facts]  # by system
    measured: dict[str, dict[str, Measured]]  # by scenario, by system
    shapes: dict[str, dict[str, dict[str, Measured]]]  # of a 16:9 photo: by base, by scenario, by input size
    marks: list[Judged]
    profiles: dict[str, dict[str, float]]  # where a mark is missed, seconds of the encoder: by system, by operator

    def to_json(self) -> dict[str, Any]:
        """The result as plain lists and dictionaries."""
        return {
            "machine": self.machine,
            "facts": {system: each._asdict() for system, each in self.facts.items()},
            "measured": {scenario: _plain(found) for scenario, found in self.measured.items()},
            "shapes": {
                base: {scenario: _plain(found) for scenario, found in each.items()}
                for base, each in self.shapes.items()
            },
            "marks": [
                {**each.mark._asdict(), "measured": each.measured, "reached": each.reached} for each in self.marks
            ],
            "profiles": self.profiles,
        }


def _plain(found: dict[str, Measured]) -> dict[str, Any]:
    return {name: each.to_json() for name, each in found.items()}


def measure_bases(names: Sequence[str], folder: Path, threads: int, progress: Progress = silent) -> Bases:
    """Measure bases in three precisions, `vit_b`, and the two models that each base stands against, all in turn.

    names: of `PAIRS`. folder: where bundles of random weights are exported to, and found again the next time.
    Raises InputError for another name.
    """
    for name in names:
        if name not in PAIRS:
            known = ", ".join(PAIRS)
            raise InputError(f" {name}: is none of {known}, which are measured beside {REFERENCE}", "base")
    names = list(dict.fromkeys(names))
    systems = {REFERENCE: random_bundle(REFERENCE, folder / REFERENCE, "fp32", SIZES, progress)}
    for name in names:
        systems |= _systems_of(name, folder, progress)
    shapes = _in_both_shapes([name for name in IN_BOTH_SHAPES if name in systems], systems, folder, progress)
    facts = {name: facts_of(Bundle.open(path)) for name, path in progress(list(systems.items()), "counting products")}
    measured = {each: in_turn(systems, each, threads) for each in progress(SCENARIOS, "measuring bases")}
    in_shapes = {
        base: {each: in_turn(sizes, each + WIDE, threads) for each in ("encode", "name and click")}
        for base, sizes in progress(list(shapes.items()), "measuring a 16:9 photo")
    }
    marks = judged(measured)
    missed = [system for each in marks if not each.reached for system in (each.mark.system, each.mark.against)]
    reference = Bundle.open(systems[REFERENCE])
    return Bases(
        machine=machine(threads, reference) | {"sizes": list(SIZES)},
        facts=facts,
        measured=measured,
        shapes=in_shapes,
        marks=marks,
        profiles={
            name: encoder_by_operator(Bundle.open(systems[name]), SIZES[-1], threads)
            for name in progress(list(dict.fromkeys(missed)), "profiling")
        },
    )


def _systems_of(name: str, folder: Path, progress: Progress) -> dict[str, Path]:
    """The bundles of a base, in each precision, and of the two models that it stands against."""
    found: dict[str, Path] = {}
    for precision in PRECISIONS:
        float32 = precision == "fp32"
        place = folder / (name if float32 else f"{name}_{precision}")
        found[name if float32 else f"{name} {precision}"] = random_bundle(name, place, precision, SIZES, progress)
    for two, pair in PAIRS[name].items():
        place = folder / two.lower().replace(" + ", "+").replace(" ", "-")
        found[two] = random_bundle(side_by_side(pair.sam, pair.clip), place, "fp32", SIZES[-1:], progress)
    return found


def _in_both_shapes(
    bases: Sequence[str], systems: dict[str, Path], folder: Path, progress: Progress
) -> dict[str, dict[str, Path]]:
    """By base and input size: the bundles that see a 16:9 photo in a square, and in its own shape."""
    return {
        base: {
            str(SIZES[-1]): systems[base],
            str(CAMERA): random_bundle(base, folder / f"{base}_{CAMERA}", "fp32", (CAMERA,), progress),
        }
        for base in bases
    }


def facts_of(bundle: Bundle) -> Facts:
    """What a bundle has, whatever machine it runs on."""
    disk, download = sum(file.bytes for file in bundle.files()), download_size(bundle)
    if bundle.manifest.precision != "fp32":
        return Facts(disk, download)
    with torch.device("meta"):
        encoder = image_encoder(bundle.manifest.spec.encoder)
    found = [each for each in costs(bundle) if each.size in (None, SIZES[-1]) and each.graph != "text_encoder"]
    return Facts(
        disk,
        download,
        parameters=sum(each.numel() for each in encoder.parameters()),
        encoder=sum(each.multiply_adds for each in found if each.graph == "image_encoder"),
        answer=sum(each.multiply_adds for each in found),
    )
