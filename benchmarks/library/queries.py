"""How long a library takes to answer, by its size: asked again and again, and by the command from a cold start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from samclip_edge import data
from samclip_edge.benchmarks.library import stores
from samclip_edge.benchmarks.library.vectors import nearest, noisy, queries
from samclip_edge.errors import InputError
from samclip_edge.library import Library
from samclip_edge.library.file import LibraryFile
from samclip_edge.library.made_by import about
from samclip_edge.library.rows import Floats, rows_of
from samclip_edge.library.store import Store
from samclip_edge.photo.masks import encode_rle
from samclip_edge.pipeline import SamClip
from samclip_edge.text.names import read_names

SIZES = (1_000, 10_000, 100_000, 1_000_000)  # rows of a library that is asked
COMPARED = (100_000, 1_000_000)  # rows of the stores that are compared
THINGS = 50  # of each photo, in a library of things
_NAMES, _COLD = 20, 5
_BATCH = 512  # photos in a block


class Answered(NamedTuple):
    """A library of so many photos and things."""

    photos: int
    things: int
    bytes: int  # of the file
    first: float  # seconds of the first answer, for which features are read
    warm: list[float]  # seconds of each one after that
    cold: list[float]  # seconds of the command, from its start to its end


def answered(model: SamClip, real: Floats, rows: int, with_things: bool, folder: Path) -> Answered:
    """Make a library of so many photos, or of so many things, of noisy features, and ask it for names."""
    place = folder / "asked.db"
    place.unlink(missing_ok=True)
    photos = rows // THINGS if with_things else rows
    _fill(place, model, real, photos, THINGS if with_things else 0)
    names = read_names(data.RIVALS)[:_NAMES]
    model.words.features(names)  # an app reads a word once
    with Library.open(place, model) as library:
        start = time.perf_counter()
        library.search(names[0], things=with_things)
        first, warm = time.perf_counter() - start, []
        for name in names:
            start = time.perf_counter()
            library.search(name, things=with_things)
            warm.append(time.perf_counter() - start)
    cold = [_command(place, model, names[k], with_things) for k in range(_COLD)]
    size = place.stat().st_size
    place.unlink()
    return Answered(photos, rows if with_things else 0, size, first, warm, cold)


def _fill(place: Path, model: SamClip, real: Floats, photos: int, things: int) -> None:
    """Write a library of features without photos: that is all that a search asks for."""
    file = LibraryFile.create(place, about(model, model.names_size, bool(things)))
    store, mask = Store(file), encode_rle(np.ones((8, 8), bool))
    of_things = _rows(noisy(real, photos * things, seed=2))
    with file.writing():
        for start in range(0, photos, _BATCH):
            ids = list(range(start + 1, min(start + _BATCH, photos) + 1))
            values = [(k, f"/photos/{k}.jpg", 1, 1, str(k).encode(), 640, 480, b"", None) for k in ids]
            file.put_many("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            features = np.concatenate(list(noisy(real, len(ids), seed=10 + start)))
            store.put_block("photo", rows_of(ids, ids, features))
            if things:
                owners = [k for k in ids for _ in range(things)]
                own = range(start * things + 1, (start + len(ids)) * things + 1)
                boxes = [(k, p, 0, 0, 8, 8, 0.9, 8, 8, mask["counts"]) for k, p in zip(own, owners, strict=True)]
                file.put_many("INSERT INTO things VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", boxes)
                store.put_block("thing", rows_of(own, owners, of_things(len(owners))))
    file.close()


def _rows(parts: Any) -> Any:
    """A function that gives the next so many rows of what comes in parts."""
    left = np.zeros((0, 0), np.float32)

    def take(count: int) -> Floats:
        nonlocal left
        while len(left) < count:
            part = next(parts)
            left = np.concatenate([left, part]) if left.size else part
        some, left = left[:count], left[count:]
        return some

    return take


def _command(place: Path, model: SamClip, name: str, with_things: bool) -> float:
    arguments = ["search", str(place), name, "--json", "--bundle", str(model.bundle.folder)]
    command = [sys.executable, "-m", "samclip_edge.cli", *arguments, *(["--things"] if with_things else [])]
    start = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True)
    taken = time.perf_counter() - start
    if ran.returncode:
        raise InputError(f"search: did not run to its end ({(ran.stderr.strip().splitlines() or [''])[-1]})")
    return taken


def compared(real: Floats, rows: int, folder: Path, threads: int) -> dict[str, dict[str, Any]]:
    """Every store, with so many of the same features. One that is not installed says so under `missing`."""
    asked = queries(real)
    place = folder / "stores"
    place.mkdir(parents=True, exist_ok=True)
    written = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        place / stores.FEATURES, mode="w+", dtype=np.float32, shape=(rows, real.shape[1])
    )
    start = 0
    for part in noisy(real, rows, seed=0):
        written[start : start + len(part)] = part
        start += len(part)
    written.flush()
    np.save(place / stores.QUESTIONS, asked)
    np.save(place / stores.ANSWERS, nearest(noisy(real, rows, seed=0), asked, stores.TEN))
    found: dict[str, dict[str, Any]] = {}
    for name in stores.STORES:
        found[name] = _in_processes(name, rows, place, threads)
    for each in place.iterdir():
        each.unlink()
    return found


def _in_processes(name: str, rows: int, place: Path, threads: int) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for what in ("write", "ask"):
        command = [sys.executable, "-m", "samclip_edge.benchmarks.library.stores", what, name, str(rows), str(place)]
        ran = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)}
        )
        if ran.returncode:
            said = {"missing": (ran.stderr.strip().splitlines() or ["it was killed"])[-1]}
            break
        said |= json.loads(ran.stdout.strip().splitlines()[-1])
    remove(place / stores.STORE)
    return said


def remove(place: Path) -> None:
    """Remove what a store has written."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
