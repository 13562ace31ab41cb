"""Probing (the paper's Tables 3 and 4): a head on a frozen backbone, trained and measured on a published data set."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from samclip_edge import __version__
from samclip_edge.benchmarks.evaluation.class_sets import CLASS_SETS
from samclip_edge.benchmarks.evaluation.label_sets import PROBED
from samclip_edge.benchmarks.evaluation.paper import PAPER, PUBLISHED
from samclip_edge.benchmarks.evaluation.report import chosen, write_text, writing
from samclip_edge.benchmarks.evaluation.semantic import beside, read_sample
from samclip_edge.benchmarks.evaluation.task import Part, Sample
from samclip_edge.errors import InputError
from samclip_edge.files import sha256
from samclip_edge.photo.pictures import draw_names, save_picture
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Pixels
from samclip_edge.train.probing.backbones import Backbone, backbone
from samclip_edge.train.probing.data import Photos, Shown, Truth
from samclip_edge.train.probing.heads import HEADS, Head
from samclip_edge.train.probing.probe import Found, Probe, Report, classes_of
from samclip_edge.train.probing.recipe import read_probe_recipe

TASKS = (*PROBED, "imagenet", "places365")
_PACKAGES = ("torch", "torchvision", "accelerate", "open_clip_torch", "timm", "numpy", "pillow")


class ProbeSet(NamedTuple):
    """A part of a data set, to train heads on or to measure them."""

    photos: Photos
    samples: Sequence[Sample]
    names: Sequence[str]  # of the classes, without the background


def probing(
    task: str, data: Path, head: str | None, backbones: Sequence[str], recipe: str | None, folder: Path, report: Report
) -> dict[str, Any]:
    """Train and measure a head on each backbone in turn, each in a folder of its own in `folder`.

    Returns what came of it, and writes it into `folder`, with pictures; nothing in a process that is not the main one.

    task: of `TASKS`. head: None is linear. backbones: see `train.probing.backbones.backbone`. recipe: a YAML file, or
    None for ours. Several processes may share the work, started by `torchrun`. A run that was stopped goes on.
    Raises InputError for a task, head, data set or backbone that is not there, and a folder that cannot be written.
    """
    whole, kind = _kind(task, head)
    settings = read_probe_recipe(recipe or ("classification" if whole else "segmentation"))
    train, held_out = probe_set(task, data, "train"), probe_set(task, data, "val")
    given = {column: (name, backbone(name, settings.size)) for name, column in columns(backbones).items()}
    said: dict[str, Any] = {
        "task": f"probe {task} {kind}",
        "data": str(data),
        "published": PUBLISHED[task],
        "trained_on": {"photos": train.photos.count, "sha256": train.photos.sha256},
        "measured_on": {"photos": held_out.photos.count, "sha256": held_out.photos.sha256},
        "versions": {"python": platform.python_version(), "samclip-edge": __version__}
        | {package: version(package) for package in _PACKAGES},
        "measures": {},
        "paper": PAPER.get(f"probe {task} {kind}", {}),
        "columns": {},
    }
    for column in list(given):
        name, frozen = given.pop(column)
        place = folder / f"{task}-{kind}" / folder_name(name, frozen)
        probe = Probe(settings, frozen, kind, train.photos, place, report)
        probe.train()
        found = probe.measure(held_out.photos)
        said["measures"][column] = found.measures
        said["columns"][column] = {"backbone": name, **frozen.facts, **_counts(held_out, found)}
        said["columns"][column]["protocol"] = {"head": kind, "steps": probe.steps, **settings.model_dump()}
        main = probe.accelerator.is_main_process
        if main:
            own = {key: {column: said[key][column]} for key in ("measures", "columns")}
            with writing(place):
                _draw(probe, held_out, found, place)
                write_text(place / "measured.json", json.dumps(said | own, indent=1, allow_nan=False))
    if not main:
        return {}
    path = folder / f"probe-{task}-{kind}.json"
    with writing(path):
        write_text(path, json.dumps(said, indent=1, allow_nan=False))
    return said


def probe_set(task: str, data: Path, part: Part) -> ProbeSet:
    """A part of a data set as it lies in a folder. Raises InputError where it does not lie there."""
    if task in CLASS_SETS:
        names, samples = CLASS_SETS[task](data, part)
        classes, read = len(names), partial(_of_class, samples)
    else:
        labels = PROBED[task](data, part)
        names, samples = labels.names, labels.samples
        background = any(labels.ways.values())  # which is a class more
        classes, read = len(names) + background, partial(_of_labels, samples)
    if not samples:
        raise InputError(f" {data}: has no photo for {part}; fetch the data set again", "data")
    return ProbeSet(Photos(len(samples), read, classes, task in CLASS_SETS, _digest(samples)), samples, names)


def columns(backbones: Sequence[str]) -> dict[str, str]:
    """What heads the numbers of each backbone: as short as tells it from the others."""
    names = {name: _names(name) for name in backbones}
    alike = [list(each) for each in zip(*names.values(), strict=True)]
    return {
        name: next(o for o, all_of in zip(own, alike, strict=True) if all_of.count(o) == 1)
        for name, own in names.items()
    }


def folder_name(name: str, frozen: Backbone) -> str:
    """The folder of a backbone's heads: what it is called, and what it is, so that no other goes on with them."""
    what = hashlib.sha256(json.dumps(frozen.facts, sort_keys=True).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', _names(name)[0])[:80].strip('-.')}-{what[:8]}"


def _names(name: str) -> tuple[str, str, str]:
    """What a backbone may be called, ever longer: MODEL, MODEL:TAG or MODEL:STEM, all of it; a file by its stem."""
    if os.path.exists(name):
        return Path(name).stem, name, name
    model, colon, weights = name.partition(":")
    return model, model + colon + (Path(weights).stem if os.path.exists(weights) else weights), name


def _kind(task: str, head: str | None) -> tuple[bool, Head]:
    """Whether a task is of whole photos, and its head. Raises InputError for a task or head that is not there."""
    if task not in TASKS:
        raise InputError(f"{task}: no such task to probe; give one of {', '.join(TASKS)}")
    whole = task in CLASS_SETS
    kind = next((each for each in HEADS if each == (head or "linear")), None)
    if kind is None or (whole and kind != "linear"):
        known = "linear, which is the only one for whole photos" if whole else ", ".join(HEADS)
        raise InputError(f" {head}: no such head; give {known}", "head")
    return whole, kind


def _of_class(samples: Sequence[Sample], number: int) -> tuple[Pixels, Truth]:
    return read_photo(samples[number].photo), samples[number].truth


def _of_labels(samples: Sequence[Sample], number: int) -> tuple[Pixels, Truth]:
    return read_sample(None, samples[number])


def _digest(samples: Sequence[Sample]) -> str:
    """The sha256 of the names and sizes of photos, and of their truths: numbers, or the files that hold labels."""
    digest = hashlib.sha256()
    for sample in samples:
        try:
            size = os.stat(sample.photo).st_size
        except OSError:  # such a photo is left out, and said so, when it is read
            size = -1
        truth = sample.truth
        if not isinstance(truth, int):
            held = sha256(truth.path) if os.path.isfile(truth.path) else None
            truth = [held, sorted(truth.classes.items())]
        digest.update(repr((sample.key, size, truth)).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _counts(held_out: ProbeSet, found: Found) -> dict[str, Any]:
    skipped = {held_out.samples[number].key: why for number, why in found.skipped.items()}
    return {"measured": len(found.goodness), "of": len(held_out.samples), "skipped": skipped}


def _draw(probe: Probe, held_out: ProbeSet, found: Found, place: Path) -> None:
    """Pictures of the best answers, the worst, and of photos drawn by a seed, beside the head."""
    names = chosen(found.goodness)
    pictures = {number: _picture(probe, held_out, number) for number in dict.fromkeys(names.values())}
    for name, number in names.items():
        save_picture(pictures[number], place / f"{name}.jpg")


def _picture(probe: Probe, held_out: ProbeSet, number: int) -> Pixels:
    """A photo with its likeliest classes and the true one, or with the likeliest of its pixels beside the true ones."""
    shown = Shown(held_out.photos, probe.recipe.size, range(held_out.photos.count))[number]
    if isinstance(shown, str):  # it could be read a moment ago
        raise InputError(shown)
    pixels, truth = shown
    logits, photo = probe.logits(pixels), read_photo(held_out.samples[number].photo)
    if not isinstance(truth, int):
        return beside(photo, classes_of(logits, truth.shape), truth, held_out.names)
    chances = logits.softmax(dim=0).tolist()
    best = [(held_out.names[each], chances[each]) for each in np.argsort(chances)[::-1][:3]]
    return draw_names(photo, [*best, (f"true: {held_out.names[truth]}", chances[truth])])
