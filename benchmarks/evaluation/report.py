"""What came out of a task: as JSON, as a table beside the paper's numbers, and in pictures."""

from __future__ import annotations

import json
import platform
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

from samclip_edge import __version__
from samclip_edge.benchmarks.evaluation.paper import PAPER, PUBLISHED
from samclip_edge.benchmarks.evaluation.run import Measured
from samclip_edge.benchmarks.evaluation.task import Asked
from samclip_edge.benchmarks.machine import bundle_facts
from samclip_edge.benchmarks.tables import table
from samclip_edge.errors import InputError, one_line
from samclip_edge.files import write_whole
from samclip_edge.photo.pictures import save_picture

_DRAWN, _EXTREMES, _SEED = 10, 3, 0  # photos drawn by chance; the best and as many of the worst
_PACKAGES = (  # that decide numbers
    *("numpy", "scipy", "pillow", "opencv-python-headless", "tokenizers", "onnxruntime"),
    *("pycocotools", "lvis", "open-clip-torch", "timm"),
)

Key = TypeVar("Key")


def document(name: str, asked: Asked, limit: int | None, found: Sequence[Measured]) -> dict[str, Any]:
    """The result of a task, in values that JSON has."""
    bundle = asked.model.bundle
    return {
        "task": name,
        "data": str(asked.data),
        "limit": limit,
        "sizes": list(asked.sizes),
        "published": PUBLISHED.get(name),
        "bundle": bundle.given,
        "bundle_facts": bundle_facts(bundle),
        "versions": {"python": platform.python_version(), "samclip-edge": __version__, **_versions()},
        "measures": {each.task.column: each.measures for each in found},
        "paper": PAPER.get(name, {}) if any(each.task.as_in_paper for each in found) else {},
        "columns": {
            each.task.column: {
                "protocol": dict(each.task.protocol),
                "measured": len(each.outcomes),
                "of": each.of,
                "fingerprint": each.fingerprint,
                "skipped": each.skipped,
                **each.task.details(list(each.outcomes.values())),
            }
            for each in found
        },
    }


def rows(said: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The heads and rows of the table of a `document`: our measures in per cent, then those of the paper."""
    ours, paper = said["measures"], said["paper"]
    heads = ["measure, %", *ours, *(f"paper: {model}" for model in paper)]
    names = dict.fromkeys(name for found in ours.values() for name in found)
    columns = [*ours.values(), *paper.values()]
    return heads, [[name, *(f"{100 * each[name]:.1f}" if name in each else "" for each in columns)] for name in names]


def remarks(said: Mapping[str, Any]) -> Iterable[str]:
    """What must be known of the numbers: how many samples they stand on, and by which protocol."""
    for column, facts in said["columns"].items():
        left = f", drawn by --limit {said['limit']}" if (said.get("limit") or facts["of"]) < facts["of"] else ""
        skipped = f"; {len(facts['skipped'])} could not be used" if facts["skipped"] else ""
        protocol = "; ".join(f"{what}: {how}" for what, how in facts["protocol"].items())
        yield f"{column}: {facts['measured']} of {facts['of']} samples{left}{skipped}. {protocol}"
        if facts["of"] < 0.9 * (said.get("published") or 0):
            yield f"the data set as published has {said['published']} samples, so this folder is not the whole one"
    if said.get("sizes"):
        yield "sizes by --size: not the paper's protocol, unless it names them"
    if said["paper"]:
        yield "the paper's numbers: most are typed from memory; hold them against arXiv 2310.15308 (docs/evaluation.md)"


def write(folder: Path, said: Mapping[str, Any], found: Sequence[Measured]) -> None:
    """Write TASK.json into a folder, and the pictures of each column into TASK/. Raises InputError where it cannot."""
    name = said["task"]
    with writing(folder):
        for each in found:
            place = folder / name / re.sub(r"[^a-z0-9]+", "-", each.task.column.lower()).strip("-")
            place.mkdir(parents=True, exist_ok=True)
            _draw(each, place)
        write_text(folder / f"{name}.json", json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False))


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What cannot be written in the block raises InputError, which names `-o`. folder: that is written into."""
    try:
        yield
    except OSError as error:
        raise InputError(f" {folder}: cannot be written ({one_line(error)}); name another folder", "-o") from None
    except InputError as error:
        if error.argument != "path":  # of a picture
            raise
        raise InputError(f"{error.rest}; name another folder", "-o") from None


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8; bytes of a file's name that are none, as JSON escapes them. Raises OSError."""
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def _versions() -> dict[str, str]:
    """The versions of packages, as far as they are installed."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def chosen(goodness: Mapping[Key, float]) -> dict[str, Key]:
    """The samples that are drawn, by the names of their pictures: the best, the worst, and some drawn by a seed.

    goodness: how good the answer to each is; NaN where nothing of it counts, which is neither the best nor the worst.
    """
    order = sorted((key for key in goodness if not isnan(goodness[key])), key=lambda key: -goodness[key])
    by_chance = random.Random(_SEED).sample(list(goodness), min(_DRAWN, len(goodness)))
    all_of = {"best": order[:_EXTREMES], "worst": order[::-1][:_EXTREMES], "drawn": by_chance}
    return {f"{what}-{number}": key for what, keys in all_of.items() for number, key in enumerate(keys, 1)}


def _draw(found: Measured, place: Path) -> None:
    samples = {sample.key: sample for sample in found.task.samples}
    goodness = {key: found.task.goodness(outcome) for key, outcome in found.outcomes.items()}
    for name, key in chosen(goodness).items():
        save_picture(found.task.picture(samples[key], found.outcomes[key]), place / f"{name}.jpg")


def page(told: Sequence[Mapping[str, Any]], left_out: Mapping[str, str]) -> str:
    """A report of several tasks in Markdown. left_out: why others were not measured."""
    parts = ["# Accuracy on published data sets", ""]
    for said in told:
        heads, lines = rows(said)
        facts = said["bundle_facts"]
        on = f"`{said['bundle']}`: {facts['model']}, {facts['target']}, {facts['precision']}; {said['data']}"
        parts += [f"## {said['task']}", "", on, "", table(heads, lines), ""]
        parts += [*(f"- {line}" for line in remarks(said)), ""]
    if left_out:
        parts += ["## Not measured", "", *(f"- {name}: {why}" for name, why in left_out.items()), ""]
    return "\n".join(parts)
