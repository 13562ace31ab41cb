"""`samclip-edge eval`: how good a bundle is at a task: the paper's, on data sets as they are published, and our own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from samclip_edge.cli.common import BundleFolder, Device, Json, StageBar, Threads, bar, emit, note, option_names, table
from samclip_edge.data import TINY

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

# By family, what there is and what it is measured by; `benchmarks/evaluation/families.py` has the same tasks.
CLASSIFICATION = ("imagenet", "imagenet-v2", "places365")
RETRIEVAL = ("flickr30k", "coco-captions")
INSTANCES = ("coco", "lvis")
WORDS = ("coco-words",)
SEMANTIC = ("voc", "context", "ade20k", "coco-stuff", "coco-panoptic")

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of the data set, as it is published.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--size", metavar="S", help="An input size in place of the protocol's; repeat it for a column each."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Measure N photos, drawn by a fixed seed.")
]
Report = Annotated[
    Path | None, typer.Option("-o", metavar="DIR", help="Write the result, and pictures of answers, into this folder.")
]


@app.callback(help="Measure a bundle by the paper's protocols on published data sets, or on rendered scenes.")
def _eval() -> None: ...


def plain(
    context: typer.Context,
    data: Data,
    bundle: BundleFolder = None,
    size: Sizes = None,
    limit: Limit = None,
    output: Report = None,
    threads: Threads = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """A task without options of its own."""
    _measure(context, data, bundle, size, limit, output, threads, device, json)


def named(
    context: typer.Context,
    data: Data,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", metavar="NAME", help="Measure a recipe's teacher of names too: conse."),
    ] = None,
    bundle: BundleFolder = None,
    size: Sizes = None,
    limit: Limit = None,
    output: Report = None,
    threads: Threads = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Names, which a teacher can give too."""
    from samclip_edge.errors import InputError

    if teacher is not None and teacher.partition(":")[0] != "conse":
        raise InputError(f"--teacher {teacher}: give conse, or conse:WEIGHTS:FOLDER")
    _measure(context, data, bundle, size, limit, output, threads, device, json, teacher=teacher)


def instances(
    context: typer.Context,
    data: Data,
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", metavar="FILE", help="A detector's boxes in COCO's result format; else true boxes."),
    ] = None,
    grabcut: Annotated[bool, typer.Option("--grabcut", help="Measure GrabCut in true boxes too; slow.")] = False,
    bundle: BundleFolder = None,
    size: Sizes = None,
    limit: Limit = None,
    output: Report = None,
    threads: Threads = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Instances, which take a detector's boxes."""
    _measure(context, data, bundle, size, limit, output, threads, device, json, boxes=boxes, grabcut=grabcut)


def semantic(
    context: typer.Context,
    data: Data,
    heads: Annotated[
        list[str] | None,
        typer.Option("--heads", metavar="HEADS", help="clip, both or sam+clip; repeat it. All that the bundle has."),
    ] = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Of both heads, only the paper's way, not ours.")
    ] = False,
    bundle: BundleFolder = None,
    size: Sizes = None,
    limit: Limit = None,
    output: Report = None,
    threads: Threads = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Semantic segmentation, which has several ways of answering."""
    more = {"heads": tuple(dict.fromkeys(heads or ())), "as_published": as_published}
    _measure(context, data, bundle, size, limit, output, threads, device, json, **more)


_FAMILIES: dict[tuple[str, ...], tuple[Callable[..., None], str]] = {
    CLASSIFICATION: (named, "Zero-shot classification: top-1 and top-5, at 224 and 336 (Tables 1 and 6)."),
    RETRIEVAL: (plain, "Photos by their captions and captions by their photos: recall at 1, 5 and 10."),
    INSTANCES: (instances, "Masks of things from boxes, by mAP, and from clicks (Table 1), at 1024."),
    WORDS: (named, "Names on photos: the first one, the masks of those that are there, and absent ones."),
    SEMANTIC: (semantic, "Zero-shot semantic segmentation: mIoU, at 448 and 1024 (Tables 2, 5 and 7)."),
}
for _names, (_run, _help) in _FAMILIES.items():
    for _name in _names:
        app.command(_name, help=_help)(_run)


@app.command()
def probe(
    task: Annotated[str, typer.Argument(metavar="TASK", help="voc, ade20k, imagenet or places365.")],
    data: Data,
    head: Annotated[
        list[str] | None, typer.Option("--head", metavar="HEAD", help="linear (as when left out), deeplabv3 or pspnet.")
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone",
            metavar="FILE|MODEL:FILE",
            help="A merged checkpoint, SAM's file, or a CLIP as MODEL:FILE or MODEL:TAG; repeat it for a column each. "
            "The shipped `tiny` when left out.",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="FILE", help="Settings of the training; ours when left out.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", metavar="DIR", help="The run's folder; an unfinished run in it goes on.")
    ] = Path("probe"),
    json: Json = False,
) -> None:
    """Train a head on frozen backbones, and measure it (Tables 3 and 4). `torchrun` shares the work."""
    from samclip_edge.benchmarks.evaluation.probing import probing
    from samclip_edge.errors import InputError

    if len(head or ()) > 1:
        raise InputError(f"--head {' '.join(head or ())}: give one; each is a run of its own")
    with option_names(data="--data", head="--head", backbone="--backbone", recipe="--recipe"):
        said = probing(task, data, head[0] if head else None, backbone or ["tiny"], recipe, output, StageBar())
    if said:
        emit(said, json, lambda: _show(said))


@app.command("all")
def everything(
    data: Annotated[
        Path,
        typer.Option("--data-root", metavar="DIR", help="A folder that holds data sets in folders of their names."),
    ],
    output: Annotated[Path, typer.Option("-o", metavar="DIR", help="The report's folder; an unfinished one goes on.")],
    bundle: BundleFolder = None,
    size: Sizes = None,
    limit: Limit = None,
    threads: Threads = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure every task whose data set is there, and write a report."""
    from samclip_edge.benchmarks.evaluation.everything import measure_all
    from samclip_edge.benchmarks.evaluation.report import page, write_text, writing

    with option_names(data="--data-root", size="--size", device="--device"):
        asked = _asked(data, bundle, size, threads, device)
        _make(output)
        told, left_out, fault = measure_all(asked, limit, output, note)
    with writing(output):
        write_text(output / "report.md", page(told, left_out))
    document = {"report": str(output / "report.md"), "tasks": told, "not_measured": left_out}
    emit(document, json, lambda: _show_all(told, output / "report.md"))
    if fault is not None:
        raise fault


@app.command()
def synthetic(
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR|NAME", help="The bundle to run, as elsewhere; `tiny` when left out.")
    ] = None,
    clip: Annotated[Path | None, typer.Option(metavar="DIR", help="The CLIP teacher's bundle, measured too.")] = None,
    sam: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The SAM teacher's bundle; with --clip, both side by side too.")
    ] = None,
    threads: Threads = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure names, retrieval, masks and text to masks on rendered scenes that training never saw."""
    from samclip_edge.accuracy.synthetic import evaluate
    from samclip_edge.bundle.folder import Bundle
    from samclip_edge.cli.loading import load, session_options
    from samclip_edge.pipeline import SamClip

    options = session_options(threads, device=device)
    with option_names(device="--device"):
        model = load(bundle or TINY, threads, interpreted=True, device=device)
        clip_model, sam_model = (None if each is None else SamClip(Bundle.open(each), options) for each in (clip, sam))
        found = evaluate(model, clip_model, sam_model, progress=bar())
    document = {"task": "synthetic", "bundle": model.bundle.given, "measures": found, "scores": found}
    measures = list(dict.fromkeys(name for measured in found.values() for name in measured))
    rows = [(name, *(f"{m[name]:.3f}" if name in m else "" for m in found.values())) for name in measures]
    emit(document, json, lambda: table(("measure", *found), rows))


def _asked(
    data: Path, bundle: Path | None, size: list[str] | None, threads: int | None, device: str, **more: Any
) -> Any:
    """What is asked for, with the model loaded."""
    from samclip_edge.benchmarks.evaluation.task import Asked
    from samclip_edge.cli.loading import load

    model = load(bundle, threads, interpreted=True, device=device)
    sizes = tuple(dict.fromkeys(map(model.size_of, size or ())))
    return Asked(model, data, sizes, progress=bar(), **more)


def _make(folder: Path) -> None:
    """Make the folder of a report. Raises InputError where that cannot be done."""
    from samclip_edge.benchmarks.evaluation.report import writing

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _measure(
    context: typer.Context,
    data: Path,
    bundle: Path | None,
    size: list[str] | None,
    limit: int | None,
    output: Path | None,
    threads: int | None,
    device: str,
    json: bool,
    **more: Any,
) -> None:
    """Measure the task that the command is named by. more: of `Asked`."""
    from samclip_edge.benchmarks.evaluation.families import FAMILIES
    from samclip_edge.benchmarks.evaluation.report import document, write
    from samclip_edge.benchmarks.evaluation.run import measure

    name = str(context.info_name)
    own = {each: f"--{each.replace('_', '-')}" for each in ("data", "size", "device", "heads", "as_published", "boxes")}
    with option_names(clip_teacher="--teacher", **own):
        asked = _asked(data, bundle, size, threads, device, **more)
        tasks = FAMILIES[name](name, asked)
        if output:
            _make(output)
        found = [measure(task, asked, limit) for task in tasks]
    said = document(name, asked, limit, found)
    if output:
        write(output, said, found)
        note(f"{output / name}.json: written")
    emit(said, json, lambda: _show(said))
    for each in found:
        for key, why in list(each.skipped.items())[:5]:
            note(f"skipped: {key}: {why}")
    sys.stdout.flush()  # a full device shows here; then what was found is kept
    for each in found:
        each.journal.remove()


def _show(said: dict[str, Any]) -> None:
    """The table of a task beside the paper's numbers, and what must be known of it."""
    from samclip_edge.benchmarks.evaluation.report import remarks, rows

    table(*rows(said), title=", ".join(filter(None, [said["task"], said.get("bundle")])))
    for line in remarks(said):
        print(line)


def _show_all(told: list[dict[str, Any]], report: Path) -> None:
    for said in told:
        _show(said)
    note(f"{report}: written")
