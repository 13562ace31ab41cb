"""`samclip-edge search`: photos of a library by words, by a picture, or by a thing in one."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from samclip_edge.cli.common import BundleFolder, Device, Json, Threads, Units, bar, emit, option_names, table

Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="PHOTO[@x,y|@x0,y0,x1,y1]",
        help="A photo to find others like; with a point or a box, the thing there.",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option("--min-score", metavar="CHANCE", help="Of words: the least chance that they are shown [0.5]."),
]
Output = Annotated[
    Path | None,
    typer.Option("-o", metavar="SHEET", help="Draw the photos that answer on one sheet; not of --duplicates."),
]


def run(
    library: Annotated[
        str, typer.Argument(metavar="LIBRARY", help="What `index` wrote: a file, or lance://PLACE.lance.")
    ],
    text: Annotated[str | None, typer.Argument(metavar="[WORDS]", help="What photos are to show.")] = None,
    like: Like = None,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Groups of photos that show the same.")] = False,
    things: Annotated[bool, typer.Option("--things", help="Let the things of the photos answer too.")] = False,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="At most so many photos.")] = 20,
    min_score: MinScore = None,
    under: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Only photos that lie in it, a folder or a tar.")
    ] = None,
    output: Output = None,
    bundle: BundleFolder = None,
    threads: Threads = None,
    device: Device = "cpu",
    units: Units = "all",
    json: Json = False,
) -> None:
    """Search a library of photos by words, by a picture, or by a thing in one, or for duplicates.

    Where no photo is likely enough to show the words, it says so, and lists the nearest apart.
    """
    from samclip_edge.cli.library import looked_at, opened_library
    from samclip_edge.cli.loading import bundle_of_library, load
    from samclip_edge.library.sheet import draw_sheet
    from samclip_edge.photo.pictures import check_output, save_picture
    from samclip_edge.text.judge import MIN_SCORE

    _check(text, like, duplicates, min_score, "--things" if things else "--under" if under else "-o" if output else "")
    path, seen = Path(library), None
    with option_names(path="-o", things="--things", under="--under", min_score="--min-score", device="--device"):
        if output is not None:
            check_output(output)
        model = load(bundle_of_library(bundle, path), threads, units, device=device)
        with closing(opened_library(library, model)) as opened:
            document: dict[str, Any] = {"library": library, "bundle": model.bundle.given, "photos": len(opened)}
            if duplicates:
                groups = opened.duplicates(bar())
                document["duplicates"] = [[each.to_json() for each in group] for group in groups]
            elif like is not None:
                seen = opened.like(*looked_at(model, opened, like), n, things, under)
                document |= {"like": like, "found": [each.to_json() for each in seen]}
            else:
                least = MIN_SCORE if min_score is None else min_score
                found = opened.search(text or "", n, things, least, under)
                seen = found.matches or found.nearest
                document |= {"text": text, "min_score": least}
                document |= {name: [each.to_json() for each in getattr(found, name)] for name in ("matches", "nearest")}
                document["found"] = document.pop("matches")
        title = _title(document)
        if output is not None and seen is not None:
            save_picture(draw_sheet(seen, title), output)
    emit(document, json, lambda: _show(document, title))


def _check(text: str | None, like: str | None, duplicates: bool, min_score: float | None, given: str) -> None:
    """Raise InputError for options that do not go together. given: one that is not for duplicates."""
    from samclip_edge.errors import InputError

    if sum([text is not None, like is not None, duplicates]) != 1:
        raise InputError("what to search for: give either words, or --like, or --duplicates")
    if min_score is not None and text is None:
        raise InputError("--min-score: is for words; leave it out")
    if duplicates and given:
        raise InputError(f"{given}: is not for --duplicates; leave it out")


def _title(document: dict[str, Any]) -> str:
    if "duplicates" in document:
        count = len(document["duplicates"])
        return f"{count} group{'s' * (count != 1)} of photos that show the same, of {document['photos']} photos"
    if "like" in document:
        return f"like {document['like']}"
    if document["found"]:
        return f'"{document["text"]}"'
    return f'no photo shows "{document["text"]}"; the nearest:' if document["nearest"] else "no photos"


def _show(document: dict[str, Any], title: str) -> None:
    if "duplicates" in document:
        shown = [
            (str(number), _near(each["photo"]), f"{each['width']}x{each['height']}", f"{each['similarity']:.3f}")
            for number, group in enumerate(document["duplicates"], 1)
            for each in group
        ]
        table(("group", "photo", "pixels", "similarity"), shown, title)
        return
    rows = [
        (
            str(rank),
            _near(each["photo"]),
            "" if each["score"] is None else f"{each['score']:.3f}",
            f"{each['similarity']:.3f}",
            ",".join(map(str, each["thing"]["box"])) if "thing" in each else "",
        )
        for rank, each in enumerate(document["found"] or document.get("nearest", []), 1)
    ]
    table(("rank", "photo", "score", "similarity", "thing"), rows, title)


def _near(path: str) -> str:
    """A path as it is seen from the current folder, where it lies in that."""
    here = os.path.join(os.getcwd(), "")
    return path.removeprefix(here)
