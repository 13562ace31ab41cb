"""All tasks whose data sets lie in one folder, one after another. A run that was stopped continues."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from samclip_edge.benchmarks.evaluation.families import FAMILIES
from samclip_edge.benchmarks.evaluation.report import document, write
from samclip_edge.benchmarks.evaluation.run import measure
from samclip_edge.benchmarks.evaluation.task import Asked, Task
from samclip_edge.errors import InputError

# Data sets that share their photos with another lie in its folder, or in one of their own.
_WITH = {"coco-captions": "coco", "lvis": "coco", "coco-stuff": "coco", "coco-panoptic": "coco", "context": "voc"}


def measure_all(
    asked: Asked, limit: int | None, folder: Path, tell: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Measure every task whose data set lies in a folder of its name in `asked.data`, and write each into `folder`.

    Returns the documents, and why the other tasks were not measured; `tell` hears of it at once. What the folder holds
    already, of the same bundle and data, is not measured again. Raises InputError where there is nothing to measure.
    """
    told: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for name in FAMILIES:
        places = [place for place in (asked.data / name, asked.data / _WITH.get(name, name)) if place.is_dir()]
        if not places:
            left_out[name] = f"no folder {name}" + (f" or {_WITH[name]}" if name in _WITH else "")
            continue
        try:
            here = replace(asked, data=places[0])
            tasks = FAMILIES[name](name, here)
            kept = _kept(folder / f"{name}.json", name, here, limit, tasks)
            if kept is None:
                found = [measure(task, here, limit) for task in tasks]
                kept = document(name, here, limit, found)
                write(folder, kept, found)
            else:
                tell(f"{name}: measured before, in {folder / f'{name}.json'}")
            told.append(kept)
        except InputError as error:
            left_out[name] = " ".join(str(error).split())
            tell(f"{name}: left out: {left_out[name]}")
    if not told:
        reasons = (why for why in left_out.values() if not why.startswith("no folder"))
        why = next(reasons, f"it has none of the folders {', '.join(FAMILIES)}")
        raise InputError(f" {asked.data}: nothing could be measured; {why}", "data")
    return told, left_out


def _kept(path: Path, name: str, asked: Asked, limit: int | None, tasks: list[Task]) -> dict[str, Any] | None:
    """What was measured before, if all that decides it is the same."""
    with suppress(OSError, ValueError, KeyError):
        kept = json.loads(path.read_text("utf-8"))
        fresh = document(name, asked, limit, [])
        same = all(kept[key] == fresh[key] for key in fresh if key not in ("measures", "columns", "paper"))
        counts = {task.column: len(task.samples) for task in tasks}
        if same and {column: facts["of"] for column, facts in kept["columns"].items()} == counts:
            return kept
    return None
