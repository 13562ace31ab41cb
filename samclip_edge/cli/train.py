"""`samclip-edge train`: run a recipe, or go on with one that was stopped; store teachers' answers; average weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from samclip_edge.cli.common import Json, StageBar, bar, emit, note, option_names, table

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)

RecipeName = Annotated[
    str,
    typer.Option("--recipe", metavar="NAME|FILE", help="tiny, photo, one-gpu, mobile-one-gpu, paper, or a YAML file."),
]


@app.callback(help="Train by a recipe: teachers, then the merge. Stopped runs go on where they were.")
def run(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="DIR", help="The run's folder; an unfinished run in it goes on.")
    ] = None,
    recipe: RecipeName = "tiny",
    json: Json = False,
) -> None:
    """Train by a recipe."""
    if context.invoked_subcommand is not None:
        return
    from samclip_edge.errors import InputError

    if output is None:
        raise InputError("-o: name the folder of the run")
    from samclip_edge.train.recipe import read_recipe
    from samclip_edge.train.trainer import Trainer

    with option_names(recipe="--recipe", clip="clip_teacher"):
        made = Trainer(read_recipe(recipe), output, StageBar())
        trained = made.train()
    if made.metrics is None:  # the main process speaks for all
        return
    skipped = made.metrics.skipped
    if skipped:
        note(f"{skipped} samples could not be used and were skipped; {made.metrics.path} names them")
    document = {"run": str(output), "checkpoint": str(trained), "metrics": str(made.metrics.path), "skipped": skipped}
    emit(
        document, json, lambda: note(f"{trained}: done; export it with `samclip-edge export --model {trained} -o DIR`")
    )


@app.command()
def reinforce(
    output: Annotated[Path, typer.Option("-o", metavar="DIR", help="The folder to store in; goes on where it was.")],
    run: Annotated[
        Path,
        typer.Option("--run", metavar="DIR", help="The run's folder, which holds the teachers it trained."),
    ],
    recipe: RecipeName = "tiny",
    json: Json = False,
) -> None:
    """Store the teachers' answers once, so that no later epoch runs them: set `stored: DIR` in the recipe."""
    from samclip_edge.train.recipe import read_recipe
    from samclip_edge.train.reinforce import Reinforcement
    from samclip_edge.train.trainer import Trainer

    with option_names(recipe="--recipe", clip="clip_teacher"):
        asking = Reinforcement(Trainer(read_recipe(recipe), run), output, bar())
        asking.store()
    if not asking.run.accelerator.is_main_process:  # which speaks for all
        return
    broken = sorted(asking.broken)
    for name in broken:
        note(f"skipped: {name}")
    files = sorted(output.iterdir())
    size = sum(file.stat().st_size for file in files)
    document = {"stored": str(output), "files": len(files), "bytes": size, "skipped": broken}
    emit(document, json, lambda: note(f"{output}: {size / 1e6:.1f} MB in {len(files)} files"))


@app.command()
def average(
    start: Annotated[Path, typer.Argument(metavar="START", help="The checkpoint at alpha 0.")],
    tuned: Annotated[Path, typer.Argument(metavar="TUNED", help="The checkpoint at alpha 1.")],
    picture: Annotated[
        Path | None, typer.Option("-o", metavar="PICTURE.png", help="Draw both curves (the paper's Fig. 8).")
    ] = None,
    alpha: Annotated[float | None, typer.Option(min=0, max=1, help="Write the average at this alpha.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE.safetensors", help="Where --alpha is written.")] = None,
    points: Annotated[int, typer.Option(min=2, max=101, help="How many alphas, 0 and 1 among them.")] = 11,
    json: Json = False,
) -> None:
    """Wise-FT: average the weights of two checkpoints over alpha and measure names and masks of each."""
    from samclip_edge.errors import InputError
    from samclip_edge.train import average as wise

    if (alpha is None) != (save is None):
        raise InputError("--alpha and --save: give both, or neither to measure the curves")
    if picture is not None and picture.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"-o {picture}: end the name in .png, .svg or .pdf")
    if save is not None and os.path.realpath(save) in (os.path.realpath(start), os.path.realpath(tuned)):
        raise InputError(f"--save {save}: is one of the two checkpoints; name another file")
    if alpha is not None and save is not None:
        wise.save_average(start, tuned, alpha, save)
        emit({"checkpoint": str(save), "alpha": alpha}, json, lambda: note(f"{save}: alpha {alpha:g}"))
        return
    found = wise.curves(start, tuned, points, bar())
    if picture is not None:
        wise.draw(found, picture)
    rows = [(f"{p.alpha:.2f}", f"{p.top1:.3f}", f"{p.box_iou:.3f}") for p in found]
    document = {"start": str(start), "tuned": str(tuned), "curves": [p._asdict() for p in found]}
    emit(document, json, lambda: table(("alpha", "top-1 of 80 names", "mean box IoU"), rows))
