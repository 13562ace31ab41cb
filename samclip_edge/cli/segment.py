"""`samclip-edge segment`: masks for points, boxes, words, or everything."""

from __future__ import annotations

from typing import Annotated

import typer

from samclip_edge.cli.common import BundleFolder, Json, MaxPixels, Picture, Size, Threads, Units, bar, emit, table

Points = Annotated[
    list[str] | None,
    typer.Option(metavar="x,y[,0|1]", help="A point on the thing, or off it with ,0. All points are one prompt."),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(metavar="x0,y0,x1,y1", help="A box around a thing; repeat it for several. One box takes points."),
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


def run(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The photo.")],
    point: Points = None,
    box: Boxes = None,
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
    threads: Threads = None,
    units: Units = "all",
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Find masks in a photo, at the bundle's largest size unless --size says otherwise."""
    from samclip_edge.cli.loading import load
    from samclip_edge.cli.question import Options, Question, grid_settings, row_of
    from samclip_edge.photo.pictures import check_output, draw_masks, save_picture
    from samclip_edge.photo.read import MAX_PIXELS

    asked = Options(min_score, background, refine, find_points, find_threshold, as_published)
    settings = grid_settings(everything, grid, min_iou, min_stability)
    question = Question.of(point, box, text, everything, label, all_masks, asked, settings)
    if picture is not None:
        check_output(picture)
    model = load(bundle, threads, units)
    scene = model.look(image, size, MAX_PIXELS if max_pixels is None else max_pixels)
    masks = question.ask(scene, bar())
    absent = question.absent(masks)
    if picture is not None:
        save_picture(draw_masks(scene.pixels, masks), picture)
    document = {
        "photo": image,
        "width": scene.frame.width,
        "height": scene.frame.height,
        "bundle": str(model.bundle.folder),
        "size": scene.frame.size,
        "trained": model.bundle.manifest.trained,
        "masks": [mask.to_json() for mask in masks],
        "absent": absent,
    }
    title = f"{len(masks)} mask{'s' * (len(masks) != 1)} in a photo of {scene.frame.width}x{scene.frame.height}"
    title += "".join(f"; not there: {name}" for name in absent)
    rows = [row_of(mask) for mask in masks]
    columns = ("label", "score", "similarity", "predicted IoU", "area", "box")
    emit(document, json, lambda: table(columns, rows, title))
