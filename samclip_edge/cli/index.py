"""`samclip-edge index`: photos into a library, which `search` asks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from samclip_edge.cli.common import (
    BundleFolder,
    Device,
    Json,
    MaxPixels,
    Size,
    Threads,
    Units,
    bar,
    emit,
    note,
    option_names,
)

Photos = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FOLDER|LIST|TAR|PHOTO...",
        help="Folders and all that lies in them, text files with a path a line, tar shards, or photos.",
    ),
]
Output = Annotated[Path | None, typer.Option("-o", metavar="LIBRARY", help="The library, a file; a new one is made.")]
Things = Annotated[bool, typer.Option("--things", help="A new library has the things of each photo too.")]
Prune = Annotated[bool, typer.Option("--prune", help="Take photos out that are not there any more.")]
Reindex = Annotated[
    bool, typer.Option("--reindex", help="Start over. The old library answers until the new one is whole.")
]
To = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.parquet",
        help="Write the features and what they are of for other tools; with --ray: lance://PLACE or parquet://PLACE.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Index on a Ray cluster, of that address, auto, or local, into --to in place of a library.",
    ),
]


def run(
    photos: Photos = None,
    output: Output = None,
    things: Things = False,
    prune: Prune = False,
    reindex: Reindex = False,
    to: To = None,
    ray: Ray = None,
    bundle: BundleFolder = None,
    size: Size = None,
    threads: Threads = None,
    device: Device = "cpu",
    units: Units = "all",
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Bring a library of photos up to date: what is new is encoded; what is known is not, also where it was moved.

    It can be stopped at any moment, and goes on where it was.
    """
    from samclip_edge.cli.loading import bundle_of_library, load
    from samclip_edge.cli.photos import pixel_limit
    from samclip_edge.errors import InputError
    from samclip_edge.library import Library
    from samclip_edge.library.anew import index_anew

    begun, limit = time.perf_counter(), pixel_limit(max_pixels)
    if output is None:
        raise InputError("-o: name the library to write, as in -o library.db")
    if not photos and (reindex or not (prune or to)):
        raise InputError("what to index: give folders, lists, tars or photos")
    model = load(bundle if reindex else bundle_of_library(bundle, output), threads, units, device=device)
    with option_names(size="--size", things="--things"):
        chosen = None if size is None else model.size_of(size)
        added = None
        if reindex:
            added = index_anew(output, model, photos or [], things, chosen, limit, bar("photos"))
        with Library.open(output, model, things, chosen) as library:
            if photos and not reindex:
                added = library.add(photos, limit, bar("photos"))
            seconds = time.perf_counter() - begun
            pruned = library.prune() if prune else 0
            counts = {"photos": len(library), "things": library.things}
    document: dict[str, Any] = {"library": str(output), "bundle": model.bundle.given, **counts}
    document |= {} if added is None else added._asdict()
    document |= {
        "pruned": pruned,
        "seconds": seconds,
        "failed": [each._asdict() for each in added.failed] if added else [],
    }
    emit(document, json, lambda: _show(document))
    for each in document["failed"]:
        note(f"error: {each['path']}: {each['error']}")
    if document["failed"]:
        raise typer.Exit(2)


def _show(document: dict[str, Any]) -> None:
    things = "" if document["things"] is None else f" and {document['things']} things"
    print(f"{document['library']}: {document['photos']} photos{things}")
    told = ("added", "copied", "moved", "unchanged", "vanished", "pruned")
    print(", ".join(f"{document[name]} {name}" for name in told if document.get(name)) or "nothing to do")
    if document.get("added"):
        print(f"{document['added'] / document['seconds']:.1f} photos/s, {document['seconds']:.1f} s in all")
