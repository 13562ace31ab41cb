"""`samclip-edge segment`: masks for points, boxes, words, or everything."""

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
    note,
    option_names,
)

Points = Annotated[
    list[str] | None,
    typer.Option(metavar="x,y[,0|1]", help="A point on the thing, or off it with ,0. All points are one prompt."),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(metavar="x0,y0,x1,y1", help="A box around a thing; repeat it for several. One box takes points."),
]
Clicks = Annotated[
    list[str] | None, typer.Option(metavar="x,y", help="A point on a thing, a prompt of its own; repeat it.")
]
Text = Annotated[list[str] | None, typer.Option(metavar="NAME", help="What to find; repeat it.")]
Labels = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="With --everything: a name for the masks; repeat it.")
]
MinScore = Annotated[
    float | None, typer.Option(metavar="CHANCE", help="The least chance that a name is right, 0 to 1 [0.5].")
]
Background = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A name to compare the others with, beside the bundle's own; repeat it."),
]
MinIou = Annotated[float | None, typer.Option(metavar="IOU", help="With --everything: the least predicted IoU [0.88].")]
MinStability = Annotated[
    float | None, typer.Option(metavar="IOU", help="With --everything: the least stability [0.95].")
]
FindPoints = Annotated[
    int | None, typer.Option(metavar="N", help="With --text: at most N points prompt for a name, 1 to 3 [3].")
]
FindThreshold = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="With --text: the least chance of a point, over the name's highest [0.5]."),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="rle or polygons: how JSON has masks; coco: print a data set of COCO; png: write masks into folder -o.",
    ),
]


def run(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="The photos.")],
    point: Points = None,
    box: Boxes = None,
    click: Clicks = None,
    text: Text = None,
    everything: Annotated[bool, typer.Option("--everything", help="Every mask in the photo.")] = False,
    label: Labels = None,
    all_masks: Annotated[bool, typer.Option("--all", help="All three masks of each prompt, not the best.")] = False,
    min_score: MinScore = None,
    background: Background = None,
    refine: Annotated[bool, typer.Option(help="With --text: refine by the mask decoder.")] = True,
    find_points: FindPoints = None,
    find_threshold: FindThreshold = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="With --text: exactly as the paper has it.")
    ] = False,
    grid: Annotated[int | None, typer.Option(metavar="N", help="With --everything: clicks a side [32].")] = None,
    min_iou: MinIou = None,
    min_stability: MinStability = None,
    bundle: BundleFolder = None,
    size: Size = None,
    picture: Picture = None,
    form: Format = "rle",
    threads: Threads = None,
    device: Device = "cpu",
    units: Units = "all",
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Find masks in photos, at the bundle's largest size unless --size says otherwise."""
    from samclip_edge.cli import masks as shown
    from samclip_edge.cli.loading import load
    from samclip_edge.cli.photos import Pictures, answer_each, end, pixel_limit
    from samclip_edge.cli.question import OPTIONS, Options, Question, grid_settings

    shown.check_format(form, picture)
    with option_names(**OPTIONS):
        asked = Options(min_score, background, refine, find_points, find_threshold, as_published)
        settings = grid_settings(everything, grid, min_iou, min_stability)
        question = Question.of(point, box, click, text, everything, label, all_masks, asked, settings)
    pictures = Pictures.of(picture, images, folder=form == "png")
    model, limit = load(bundle, threads, units, device=device), pixel_limit(max_pixels)
    if text and model.bundle.manifest.kind == "sam+clip":
        note("SAM + CLIP: finds every mask of a photo before it looks for a name, which takes as long as --everything")
    if question.names is not None:
        model.words.features(question.names, bar())

    def answer(number: int, image: str) -> dict[str, Any]:
        with option_names(**OPTIONS):
            model.prepare(size)
            scene = model.look(image, size, limit)
            masks = question.ask(scene, bar())
            return shown.written(scene, masks, form, pictures, number, image) | {"absent": question.absent(masks)}

    answers, failed = answer_each(images, answer)
    ran = {"bundle": model.bundle.given, "trained": model.bundle.manifest.trained}
    document = shown.document(form, ran, answers, failed, several=len(images) > 1)
    emit(document, json or form in ("polygons", "coco"), lambda: shown.tables(answers))
    end(failed)
