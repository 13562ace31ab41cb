"""Finding the parts of a data set in its folder, and saying how it must lie where they are not there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samclip_edge.bundle.sizes import Size
from samclip_edge.encoded import Merged, kind_of
from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.read import Photo
from samclip_edge.pipeline import SamClip
from samclip_edge.scene import Scene


def there(data: Path, choices: Sequence[str], lies: str) -> Path:
    """The first of `choices` that is in the folder `data`: paths in it, or patterns of `glob`, in their order.

    lies: how the data set must lie, for the message. Raises InputError where none is there.
    """
    if not data.is_dir():
        raise InputError(f" {data}: no such folder; {lies}", "data")
    for choice in choices:
        found = sorted(data.glob(choice))
        if found:
            return found[0]
    raise InputError(f" {data}: holds no {' and no '.join(choices)}; {lies}", "data")


def read_document(path: Path) -> Any:
    """What a json of annotations holds. Raises InputError where it is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as json ({one_line(error)}); fetch it again") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty. Raises InputError where it cannot be read."""
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); fetch it again") from None


def sizes_of(model: SamClip, asked: Sequence[Size], protocol: Sequence[Size]) -> list[Size]:
    """The input sizes to measure at: those that were asked for, or else the protocol's.

    Raises InputError where the bundle lacks one, with the command that adds it.
    """
    wanted = list(asked or protocol)
    manifest = model.bundle.manifest
    missing = [size for size in dict.fromkeys(wanted) if size not in model.sizes]
    if not missing:
        return wanted
    sizes = " ".join(f"--size {size}" for size in (*model.sizes, *missing))
    command = (
        f"samclip-edge export --model CHECKPOINT --target {manifest.target} --precision {manifest.precision} {sizes}"
    )
    held, lacks = (" and ".join(map(str, each)) for each in (model.sizes, missing))
    told = "" if asked else f", or give --size {model.sizes[-1]}, which is not the paper's protocol"
    raise InputError(f"{model.bundle.given}: holds {held}, not {lacks}; add it by `{command} -o DIR`{told}")


def clip_sizes_of(model: SamClip, asked: Sequence[Size], protocol: Sequence[Size]) -> list[Size | None]:
    """The same for tasks of CLIP alone; None for CLIP beside SAM, which has one size and its own way of resizing.

    Raises InputError where a size is asked of that.
    """
    if kind_of(model.bundle) is Merged:
        return [*sizes_of(model, asked, protocol)]
    if asked:
        told = f": the CLIP of {model.bundle.given} has a size of its own, and no other; leave it out"
        raise InputError(told, "size")
    return [None]


def looked(model: SamClip, photos: Sequence[Photo], size: Size, named: bool = True) -> list[Scene]:
    """The scenes of photos, encoded together where the bundle takes several. Raises InputError where one has none."""
    scenes = []
    for scene in model.look_many(photos, size, named=named):
        if isinstance(scene, InputError):
            raise scene
        scenes.append(scene)
    return scenes
