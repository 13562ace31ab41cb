"""`samclip-edge segment`: masks for points, boxes, words, or everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from samclip_edge.cli.common import BundleFolder, Json, MaxPixels, Picture, Size, Threads, Units, bar, emit, load, table

if TYPE_CHECKING:
    from samclip_edge.masks import Mask
    from samclip_edge.pipeline import Scene


def run(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The photo.")],
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="x,y[,0|1]", help="A point on the thing, or off it with ,0. All points are one prompt."),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="x0,y0,x1,y1", help="A box around a thing; repeat it for several. One box takes points."),
    ] = None,
    text: Annotated[list[str] | None, typer.Option(metavar="NAME", help="What to find; repeat it.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Every mask in the photo.")] = False,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="With --everything: a name for the masks; repeat it.")
    ] = None,
    all_masks: Annotated[bool, typer.Option("--all", help="All three masks of each prompt, not the best.")] = False,
    refine: Annotated[bool, typer.Option(help="With --text: refine by the mask decoder.")] = True,
    grid: Annotated[int, typer.Option(metavar="N", help="With --everything: clicks a side.")] = 32,
    min_score: Annotated[float, typer.Option(help="With --everything: the least predicted IoU.")] = 0.88,
    min_stability: Annotated[float, typer.Option(help="With --everything: the least stability.")] = 0.95,
    bundle: BundleFolder = None,
    size: Size = None,
    picture: Picture = None,
    threads: Threads = None,
    units: Units = "all",
    max_pixels: MaxPixels = None,
    json: Json = False,
) -> None:
    """Find masks in a photo, at the bundle's largest size unless --size says otherwise."""
    from samclip_edge.errors import InputError
    from samclip_edge.everything import Settings
    from samclip_edge.image import MAX_PIXELS
    from samclip_edge.pictures import check_output, draw_masks, save_picture
    from samclip_edge.prompts import parse_box, parse_point
    from samclip_edge.text import check_labels

    asked = [bool(point or box), text is not None, everything]
    if sum(asked) != 1:
        raise InputError("what to segment: give either --point and --box, or --text, or --everything")
    if label is not None and not everything:
        raise InputError("--label: names the masks of --everything; use --text to find things by name")
    if box is not None and point is not None and len(box) > 1:
        raise InputError(f"--box: {len(box)} boxes together with points; give one box, or no points")
    points = [parse_point(each) for each in point or []]
    boxes = [parse_box(each) for each in box or []]
    names = check_labels(text, "--text") if text is not None else check_labels(label) if label is not None else None
    settings = Settings(grid, min_score, min_stability)
    if picture is not None:
        check_output(picture)
    model = load(bundle, threads, units)
    scene = model.look(image, size, MAX_PIXELS if max_pixels is None else max_pixels)
    masks: list[Mask]
    if text is not None:
        assert names is not None
        masks = scene.find(names, refine=refine, progress=bar())
    elif everything:
        masks = scene.everything(names, settings, bar())
    else:
        where = [at for at, _ in points] or None
        marks = [mark for _, mark in points] or None
        if all_masks:
            masks = [mask for three in scene.segment_all(where, marks, boxes or None) for mask in three]
        else:
            masks = scene.segment(where, marks, boxes or None)
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
    }
    emit(document, json, lambda: _show(scene, masks))


def _show(scene: Scene, masks: list[Mask]) -> None:
    rows = [(mask.label or "", f"{mask.score:.3f}", str(mask.area), ",".join(map(str, mask.box))) for mask in masks]
    title = f"{len(masks)} masks in a photo of {scene.frame.width}x{scene.frame.height}"
    table(("label", "score", "area", "box"), rows, title)
