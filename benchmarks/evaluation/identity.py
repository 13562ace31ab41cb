"""What decides numbers, as short texts to compare: what was found for one question is never taken for another.

Photos and maps of labels count by their size and the time when they were written, for their bytes would take long to
read; annotations count by what they say.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samclip_edge import __version__
from samclip_edge.benchmarks.evaluation.label_maps import LabelMap
from samclip_edge.benchmarks.evaluation.task import Asked, Sample, Task
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.errors import InputError
from samclip_edge.files import sha256


def question(task: Task, asked: Asked) -> str:
    """All that decides the outcome of a sample, besides the sample."""
    bundle = asked.model.bundle
    said = [
        __version__,
        task.column,
        dict(task.protocol),
        task.rests_on,
        os.path.abspath(asked.data),
        sha256(bundle.folder / MANIFEST),
        asked.model.sessions.engine,
    ]
    return _sha256(said)


def stamps(samples: Sequence[Sample], data: Path) -> dict[str, str]:
    """What changes with a sample: with its name, its truth and its files. By its key.

    Raises InputError where a key is there twice.
    """
    found: dict[str, str] = {}
    for sample in samples:
        if sample.key in found:
            raise InputError(f" {data}: its lists have {sample.key} twice; fetch them again", "data")
        files = [sample.photo, *([sample.truth.path] if isinstance(sample.truth, LabelMap) else [])]
        said = [sample.key, sample.truth, [_written(file) for file in files]]
        found[sample.key] = _sha256(said)
    return found


def fingerprint(asked: str, stamped: Mapping[str, str]) -> str:
    """What changes with the numbers. asked: a `question`. stamped: the `stamps` of all samples that are measured."""
    return hashlib.sha256("".join([asked, *stamped.values()]).encode()).hexdigest()


def _sha256(said: Any) -> str:
    """Of values and paths, by what they say: the same in every process."""
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=os.fspath).encode()).hexdigest()


def _written(file: Path) -> tuple[int, int] | None:
    """The size of a file and when it was written; None where there is none."""
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns
