"""All tasks whose data sets lie in one folder, one after another. A run that was stopped continues."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge.benchmarks.evaluation.families import FAMILIES
from samclip_edge.benchmarks.evaluation.report import document, write
from samclip_edge.benchmarks.evaluation.run import Measured, fingerprint_of, measure
from samclip_edge.benchmarks.evaluation.task import Asked, Task
from samclip_edge.errors import InputError, one_line

# Data sets that share their photos with another lie in its folder, or in one of their own.
_OF_COCO = ("coco-captions", "coco-words", "lvis", "coco-stuff", "coco-panoptic")
_WITH = dict.fromkeys(_OF_COCO, "coco") | {"context": "voc"}


class Everything(NamedTuple):
    """What came of all tasks."""

    told: list[dict[str, Any]]  # the documents of those that were measured
    left_out: dict[str, str]  # why the others were not
    fault: Exception | None  # the first that is a fault of the program or of the machine, or of what is written


def measure_all(asked: Asked, limit: int | None, folder: Path, tell: Callable[[str], None]) -> Everything:
    """Measure every task whose data set lies in a folder of its name in `asked.data`, and write each into `folder`.

    Whatever one task raises, the others are measured; `tell` hears of it at once. What the folder holds already, of the
    same bundle and data, is not measured again. Raises InputError where there is nothing to measure.
    """
    told: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    fault: Exception | None = None
    for name in FAMILIES:
        places = [place for place in (asked.data / name, asked.data / _WITH.get(name, name)) if place.is_dir()]
        if not places:
            left_out[name] = f"no folder {name}" + (f" or {_WITH[name]}" if name in _WITH else "")
            continue
        try:
            said, found = _measured(name, replace(asked, data=places[0]), limit, folder, tell)
        except InputError as error:
            told_of = error.rest if error.argument == "data" else str(error)  # which begins with the folder
            left_out[name] = " ".join(told_of.split())
        except Exception as error:  # which is raised again when all is written
            left_out[name] = f"failed, {type(error).__name__}: {one_line(error)}"
            fault = fault or error
        else:
            told.append(said)
            fault = fault or _unwritten(folder, said, found, tell)
            continue
        tell(f"{name}: left out: {left_out[name]}")
    if not told and fault is None:
        reasons = (why for why in left_out.values() if not why.startswith("no folder"))
        why = next(reasons, f"it has none of the folders {', '.join(FAMILIES)}")
        raise InputError(f" {asked.data}: nothing could be measured; {why}", "data")
    return Everything(told, left_out, fault)


def _measured(
    name: str, asked: Asked, limit: int | None, folder: Path, tell: Callable[[str], None]
) -> tuple[dict[str, Any], list[Measured]]:
    """The document of a task, and what is in it; nothing where it is in the folder already."""
    tasks = FAMILIES[name](name, asked)
    kept = _kept(folder / f"{name}.json", name, asked, limit, tasks)
    if kept is not None:
        tell(f"{name}: measured before, in {folder / f'{name}.json'}")
        return kept, []
    found = [measure(task, asked, limit) for task in tasks]
    return document(name, asked, limit, found), found


def _unwritten(
    folder: Path, said: dict[str, Any], found: list[Measured], tell: Callable[[str], None]
) -> Exception | None:
    """Write what was measured, if it is not there. Returns what stands in the way; then the next run finds it again."""
    try:
        if found:
            write(folder, said, found)
    except Exception as error:  # as of what is measured
        tell(f"{said['task']}: measured, and not written: {one_line(error)}")
        return error
    for each in found:
        each.journal.remove()
    return None


def _kept(path: Path, name: str, asked: Asked, limit: int | None, tasks: list[Task]) -> dict[str, Any] | None:
    """What was measured before, if all that decides it is the same."""
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # written by others
        kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
        fresh = document(name, asked, limit, [])
        same = all(kept[key] == fresh[key] for key in fresh if key not in ("measures", "columns", "paper"))
        before = {column: (facts["of"], facts["fingerprint"]) for column, facts in kept["columns"].items()}
        now = {task.column: (len(task.samples), fingerprint_of(task, asked, limit)) for task in tasks}
        if same and before == now and set(kept["measures"]) == set(now):
            return kept
    return None
