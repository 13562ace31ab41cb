"""How `index` and `search` deal with libraries. Imports the pipeline, so the verbs import this inside."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from samclip_edge.bundle.sizes import Size
from samclip_edge.cli.common import bar
from samclip_edge.cli.question import parse_place
from samclip_edge.library import Library
from samclip_edge.library.anew import index_anew
from samclip_edge.library.lance import LANCE, LanceLibrary
from samclip_edge.photo.masks import Mask
from samclip_edge.pipeline import SamClip
from samclip_edge.scene import Scene


def into_file(
    model: SamClip,
    photos: list[str],
    output: Path,
    things: bool,
    size: Size | None,
    limit: int,
    prune: bool,
    reindex: bool,
    to: str | None,
) -> dict[str, Any]:
    """Bring a library file up to date. Returns what is printed."""
    begun, added = time.perf_counter(), None
    if reindex:
        added = index_anew(output, model, photos, things, size, limit, bar("photos"))
    with Library.open(output, model, things, size) as library:
        if photos and not reindex:
            added = library.add(photos, limit, bar("photos"))
        seconds = time.perf_counter() - begun
        pruned = library.prune() if prune else 0
        if to is not None:
            library.write(to, bar())
        counts = {"photos": len(library), "things": library.things, "gone": library.vanished}
    document: dict[str, Any] = {"library": str(output), "bundle": model.bundle.given, "size": library.size} | counts
    document |= {} if added is None else added._asdict()
    failed = added.failed if added else []
    return document | {"pruned": pruned, "seconds": seconds, "failed": [each._asdict() for each in failed]}


def on_ray(
    model: SamClip, photos: list[str], to: str, ray: str, things: bool, size: Size | None, limit: int, device: str
) -> dict[str, Any]:
    """Index on a cluster. Returns what is printed."""
    from samclip_edge.library.on_ray import index_on_ray

    begun = time.perf_counter()
    done = index_on_ray(photos, to, model, ray, things, size, limit, device)
    counts = {"photos": done.photos, "things": done.things, "added": done.photos}
    failed = [each._asdict() for each in done.failed]
    document = {"library": to, "bundle": model.bundle.given} | counts
    return document | {"seconds": time.perf_counter() - begun, "failed": failed}


def opened_library(library: str, model: SamClip) -> Library | LanceLibrary:
    """A library file, or a Lance data set that is named as `--to` has it, or by its folder."""
    if library.startswith(LANCE) or library.rstrip("/").endswith(".lance"):
        return LanceLibrary(library, model)
    return Library.open(library, model)


def looked_at(model: SamClip, library: Library | LanceLibrary, like: str) -> tuple[Scene, Mask | None]:
    """The scene of a photo at the library's size, and the mask of a thing in it that is pointed at, or None."""
    photo, place = (like, None) if os.path.exists(like) else parse_place(like)
    scene = model.look(photo, library.size)
    if place is None:
        return scene, None
    (mask,) = scene.segment(points=[place]) if len(place) == 2 else scene.segment(boxes=place)
    return scene, mask
