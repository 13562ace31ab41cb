"""Probing (the paper's Tables 3 and 4): a head on a frozen backbone, trained and measured on a published data set."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from samclip_edge import __version__
from samclip_edge.benchmarks.evaluation.class_sets import CLASS_SETS
from samclip_edge.benchmarks.evaluation.label_maps import read_labels
from samclip_edge.benchmarks.evaluation.label_sets import PROBED
from samclip_edge.benchmarks.evaluation.paper import PAPER
from samclip_edge.benchmarks.evaluation.task import Part, Sample
from samclip_edge.errors import InputError
from samclip_edge.files import write_whole
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Pixels
from samclip_edge.train.probing.backbones import backbone
from samclip_edge.train.probing.data import Photos, Truth
from samclip_edge.train.probing.heads import HEADS
from samclip_edge.train.probing.probe import Probe, Report
from samclip_edge.train.probing.recipe import ProbeRecipe, read_probe_recipe

TASKS = (*PROBED, "imagenet", "places365")


def probing(
    task: str, data: Path, head: str | None, backbones: Sequence[str], recipe: str | None, folder: Path, report: Report
) -> dict[str, Any]:
    """Train and measure a head on each backbone in turn, each in a folder of its own in `folder`.

    Returns what came of it; nothing in a process that is not the main one.

    task: of `TASKS`. head: None is linear. backbones: see `train.probing.backbones.backbone`. recipe: a YAML file, or
    None for ours. Several processes may share the work, started by `accelerate launch`. A run that was stopped goes on.
    Raises InputError for a task, head, data set or backbone that is not there.
    """
    if task not in TASKS:
        raise InputError(f"{task}: no such task to probe; give one of {', '.join(TASKS)}")
    whole = task in CLASS_SETS
    kind = next((each for each in HEADS if each == (head or "linear")), None)
    if kind is None or (whole and kind != "linear"):
        known = "linear, which is the only one for whole photos" if whole else ", ".join(HEADS)
        raise InputError(f" {head}: no such head; give {known}", "head")
    settings = read_probe_recipe(recipe or ("classification" if whole else "segmentation"))
    train, held_out = photos(task, data, "train"), photos(task, data, "val")
    columns: dict[str, Any] = {}
    measures: dict[str, dict[str, float]] = {}
    for name, column in _columns(backbones).items():
        frozen = backbone(name, settings.size)
        probe = Probe(settings, frozen, kind, train, folder / f"{task}-{kind}" / column, report)
        probe.train()
        measures[column], skipped = probe.measure(held_out)
        columns[column] = {"backbone": name, "kind": frozen.kind, "protocol": _protocol(settings, kind, probe.steps)}
        columns[column] |= {"measured": held_out.count - len(skipped), "of": held_out.count, "skipped": skipped}
    said = {
        "task": f"probe {task} {kind}",
        "data": str(data),
        "trained_on": train.count,
        "versions": {"python": platform.python_version(), "samclip-edge": __version__, "torch": version("torch")},
        "measures": measures,
        "paper": PAPER.get(f"probe {task} {kind}", {}),
        "columns": columns,
    }
    if not probe.accelerator.is_main_process:
        return {}
    write_whole(folder / f"probe-{task}-{kind}.json", json.dumps(said, indent=1))
    return said


def photos(task: str, data: Path, part: Part) -> Photos:
    """The photos of a part of a data set, and their truth. Raises InputError where they do not lie there."""
    if task in CLASS_SETS:
        names, samples = CLASS_SETS[task](data, part)
        return Photos(len(samples), partial(_of_class, samples), len(names), whole=True)
    labels = PROBED[task](data, part)
    background = any(labels.ways.values())  # which is a class more
    return Photos(len(labels.samples), partial(_of_labels, labels.samples), len(labels.names) + background, whole=False)


def _of_class(samples: Sequence[Sample], number: int) -> tuple[Pixels, Truth]:
    return read_photo(samples[number].photo), samples[number].truth


def _of_labels(samples: Sequence[Sample], number: int) -> tuple[Pixels, Truth]:
    return read_photo(samples[number].photo), read_labels(samples[number].truth)


def _columns(backbones: Sequence[str]) -> dict[str, str]:
    """What heads the numbers of each backbone, and names its folder: of a file its name without the ending."""
    columns = {name: Path(name.partition(":")[0] if not Path(name).exists() else name).stem for name in backbones}
    if len(set(columns.values())) < len(columns):
        raise InputError(f" {', '.join(backbones)}: two have one name; rename a file", "backbone")
    return columns


def _protocol(settings: ProbeRecipe, kind: str, steps: int) -> dict[str, Any]:
    return {"head": kind, "steps": steps, **settings.model_dump()}
