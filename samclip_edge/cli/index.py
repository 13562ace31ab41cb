"""`samclip-edge index`: photos into a library, which `search` asks."""

from __future__ import annotations

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
Output = Annotated[
    Path | None,
    typer.Option("-o", metavar="LIBRARY", help="The library, a file; a new one is made. Needed, but for --ray."),
]
Things = Annotated[
    bool,
    typer.Option(
        "--things", help="A new library has up to 50 things of each photo too, which takes several times as long."
    ),
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Take photos out that are not there any more, of the folders given, or of all.")
]
Reindex = Annotated[
    bool,
    typer.Option(
        "--reindex",
        help="Start over, with what is given or all that the old library holds, which answers until then.",
    ),
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
    from samclip_edge.cli.library import into_file, on_ray
    from samclip_edge.cli.loading import bundle_of_library, load
    from samclip_edge.cli.photos import pixel_limit

    limit = pixel_limit(max_pixels)
    names = {"size": "--size", "things": "--things", "device": "--device", "to": "--to", "ray": "--ray"}
    with option_names(**names):
        _check(photos, output, prune, reindex, to, ray)
        if ray is not None:
            model = load(bundle, threads, units)
            chosen = None if size is None else model.size_of(size)
            document = on_ray(model, photos or [], to or "", ray, things, chosen, limit, device)
        else:
            assert output is not None
            known = bundle if reindex else bundle_of_library(bundle, output)
            model = load(known, threads, units, device=device)
            chosen = None if size is None else model.size_of(size)
            document = into_file(model, photos or [], output, things, chosen, limit, prune, reindex, to)
    emit(document, json, lambda: _show(document))
    for each in document["failed"]:
        note(f"error: {each['path']}: {each['error']}")
    if document["failed"]:
        raise typer.Exit(2)


def _check(
    photos: list[str] | None, output: Path | None, prune: bool, reindex: bool, to: str | None, ray: str | None
) -> None:
    """Raise InputError for options that do not go together."""
    from samclip_edge.errors import InputError

    if ray is not None:
        for option in (name for name, given in (("-o", output), ("--prune", prune), ("--reindex", reindex)) if given):
            raise InputError(f"{option}: is for a library; with --ray, --to says where the data set goes")
        if to is None:
            raise InputError("--ray: say with --to where the data set goes: lance://PLACE.lance or parquet://PLACE")
    elif output is None:
        raise InputError("-o: name the library to write, as in -o library.db")
    elif to is not None:
        from samclip_edge.library.tables import check_file

        check_file(Path(to), output)
    if not photos and not reindex and (ray or not (prune or to)):
        raise InputError("what to index: give folders, lists, tars or photos")


def _show(document: dict[str, Any]) -> None:
    things = "" if document["things"] is None else f" and {document['things']} things"
    gone = f"; {document['gone']} more are not there any more" if document.get("gone") else ""
    print(f"{document['library']}: {document['photos']} photos{things}{gone}")
    told = ("added", "copied", "moved", "unchanged", "vanished", "pruned")
    print(", ".join(f"{document[name]} {name}" for name in told if document.get(name)) or "nothing to do")
    if document.get("added"):
        print(f"{document['added'] / document['seconds']:.1f} photos/s, {document['seconds']:.1f} s in all")
