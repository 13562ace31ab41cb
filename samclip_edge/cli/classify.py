"""`samclip-edge classify`: name photos."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from samclip_edge.cli.common import BundleFolder, Json, MaxPixels, Picture, Size, Threads, Units, bar, emit, table

_SHOWN = 5  # names a photo, for people; JSON has them all


def run(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="The photos.")],
    label: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A name to choose from; repeat it.")] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name to compare the labels with, beside the bundle's own; repeat it."),
    ] = None,
    bundle: BundleFolder = None,
    size: Size = None,
    picture: Picture = None,
    threads: Threads = None,
    units: Units = "all",
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Name photos by the labels given, at the bundle's smallest size unless --size says otherwise.

    A label's score is the chance that it fits, by itself; its share is its probability among the labels given.
    """
    from samclip_edge.cli.loading import load
    from samclip_edge.errors import InputError
    from samclip_edge.photo.pictures import check_output, draw_names, save_picture
    from samclip_edge.photo.read import MAX_PIXELS, check_photo_file
    from samclip_edge.text.names import BACKGROUND_NAMES, check_labels

    labels = check_labels(label or [])
    rivals = [*BACKGROUND_NAMES, *(check_labels(background, "--background") if background else [])]
    if picture is not None:
        if len(images) > 1:
            raise InputError(f"-o {picture}: one picture for {len(images)} photos; give one photo")
        check_output(picture)
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    for image in images:  # all of them before the first is worked on, so that a bad one costs nothing
        check_photo_file(image, limit)
    model = load(bundle, threads, units)
    size = model.sizes[0] if size is None else size
    progress = bar()
    model.words.features(labels, progress)
    photos: list[dict[str, Any]] = []
    rows: list[tuple[str, str, str, str]] = []
    for image in progress(images, "looking"):
        scene = model.look(image, size, limit)
        guesses = scene.classify(labels, background=rivals)
        width, height, any_fits = scene.frame.width, scene.frame.height, guesses.any_fits
        named = [guess._asdict() for guess in guesses]
        photos.append({"photo": image, "width": width, "height": height, "any_fits": any_fits, "labels": named})
        rows.extend((image, g.label, f"{g.score:.3f}", f"{g.share:.3f}") for g in guesses[:_SHOWN])
        rows.append((image, "(any of them)", f"{any_fits:.3f}", ""))
        if picture is not None:
            save_picture(draw_names(scene.pixels, [(g.label, g.score) for g in guesses[:_SHOWN]]), picture)
    document = {
        "bundle": str(model.bundle.folder),
        "size": size,
        "trained": model.bundle.manifest.trained,
        "photos": photos,
    }
    emit(document, json, lambda: table(("photo", "label", "score", "share"), rows))
