"""`samclip-edge classify`: name photos."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from samclip_edge.cli.common import (
    BundleFolder,
    Device,
    Json,
    MaxPixels,
    Picture,
    Size,
    Threads,
    Units,
    bar,
    emit,
    option_names,
    table,
)

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
    device: Device = "cpu",
    units: Units = "all",
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Name photos by the labels given, at the smallest size that was trained, unless --size says otherwise.

    A label's score is the chance that it fits, by itself; its share is its probability among the labels given.
    """
    from samclip_edge.cli.loading import load
    from samclip_edge.cli.photos import Pictures, answer_each, end, next_of, pixel_limit
    from samclip_edge.photo.pictures import draw_names, save_picture
    from samclip_edge.text.names import BACKGROUND_NAMES, check_labels

    labels = check_labels(label or [], "--label")
    rivals = [*BACKGROUND_NAMES, *(check_labels(background, "--background") if background else [])]
    pictures = Pictures.of(picture, images)
    limit = pixel_limit(max_pixels)
    model = load(bundle, threads, units, device=device)
    with option_names(size="--size"):
        chosen = model.names_size if size is None else model.size_of(size)
    model.words.features(labels, bar())
    scenes = model.look_many(images, chosen, limit, named=True)

    def answer(number: int, image: str) -> dict[str, Any]:
        with option_names(size="--size", max_pixels="--max-pixels", device="--device", path="-o"):
            scene = next_of(scenes)
            guesses = scene.classify(labels, background=rivals)
            if path := pictures.file(number):
                save_picture(draw_names(scene.pixels, [(g.label, g.score) for g in guesses[:_SHOWN]]), path)
        sides = {"width": scene.frame.width, "height": scene.frame.height}
        named = [guess._asdict() for guess in guesses]
        return {"photo": image, **sides, "any_fits": guesses.any_fits, "labels": named}

    answers, failed = answer_each(images, answer)
    document = {
        "bundle": model.bundle.given,
        "size": chosen,
        "trained": model.bundle.manifest.trained,
        "photos": answers,
        "failed": [each._asdict() for each in failed],
    }
    emit(document, json, lambda: table(("photo", "label", "score", "share"), _rows(answers)))
    end(failed)


def _rows(answers: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    rows = []
    for answer in answers:
        best = answer["labels"][:_SHOWN]
        rows += [(answer["photo"], g["label"], f"{g['score']:.3f}", f"{g['share']:.3f}") for g in best]
        if len(answer["labels"]) > _SHOWN:
            rows.append((answer["photo"], f"({len(answer['labels']) - _SHOWN} more, in --json)", "", ""))
        rows.append((answer["photo"], "(any of them)", f"{answer['any_fits']:.3f}", ""))
    return rows
