"""The model that a verb runs. Imports the pipeline, so verbs import this inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast, get_args

from samclip_edge import data
from samclip_edge.bundle.device import Device
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import INTERPRETERS, SessionOptions, Units, runs_here
from samclip_edge.bundle.weights import MASKS
from samclip_edge.cli.common import note, option_names
from samclip_edge.errors import InputError
from samclip_edge.library.file import LibraryFile
from samclip_edge.pipeline import SamClip


def session_options(
    threads: int | None, units: str = "all", interpreted: bool = False, device: Device = "cpu"
) -> SessionOptions:
    """How graphs are run, by the options as given. Raises InputError for compute units that there are not."""
    known = get_args(Units)
    if units not in known:
        raise InputError(f"--units {units}: give {', '.join(known[:-1])} or {known[-1]}")
    return SessionOptions(threads, cast("Units", units), interpreted, device)


def bundle_of(given: Path | None) -> Bundle:
    """The bundle that is named: a folder, a repository of the hub, or `photo` or `tiny`, which ship where there is no
    such folder; `photo` where none is named. Raises InputError where there is none."""
    name = "photo" if given is None else str(given)
    ships = given is None or (name in data.CHECKPOINTS and not given.exists())
    return Bundle.open(data.FOLDER / name if ships else name)


def bundle_of_library(given: Path | None, library: Path) -> Path | None:
    """The bundle that is named, or else the one that a library was made with, if it is a folder here or ships.

    A repository of a hub has to be named: a library may come from anywhere, and is not to have anything fetched.
    """
    if given is not None or not library.is_file():
        return given
    file = LibraryFile(library)
    try:
        with file.reading():
            (name,) = file.row("SELECT value FROM about WHERE key = 'name'") or ("",)
    finally:
        file.close()
    ships = name in data.CHECKPOINTS and name != data.PHOTO.name
    return Path(name) if ships or (name and os.path.isdir(name)) else None


def load(
    bundle: Path | None,
    threads: int | None,
    units: str = "all",
    interpreted: bool = False,
    device: Device = "cpu",
) -> SamClip:
    """The model to run; see `bundle_of`. Says on stderr where its answers mean little.

    interpreted: run a bundle for Core ML or TensorRT by its interpreter where its engine is not here. device: see
    `SessionOptions`. Raises InputError for one that is not here, or not for this bundle.
    """
    opened = bundle_of(bundle)
    manifest = opened.manifest
    interpreted = interpreted and manifest.target in INTERPRETERS and not runs_here(opened)
    if interpreted:
        missing = {
            "coreml": "no Core ML on this machine; the bundle's programs run op by op instead, slowly",
            "tensorrt": "no GPU with built engines on this machine; ONNX Runtime runs the bundle's ONNX, slowly",
        }
        note(f"note: {missing[manifest.target]}")
    with option_names(device="--device"):
        model = SamClip(opened, session_options(threads, units, interpreted, device))
    if not manifest.trained:
        what = "names" if any(each.what == MASKS for each in manifest.weights) else "names and masks"
        note(f"note: untrained weights ({manifest.origin}); {what} mean nothing yet")
    elif bundle is None:
        note("note: the shipped model is small and knows what ImageNet has names for; for more, name a --bundle")
    return model
