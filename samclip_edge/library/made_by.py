"""Which model made a library, and whether another may ask it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.identity import identity, same_model
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError
from samclip_edge.files import sha256
from samclip_edge.json_files import parse_json
from samclip_edge.pipeline import SamClip

AGAIN = "index with --reindex, or into another file"
_PREFIX = "samclip_edge."  # of the keys of a table's metadata


def about(model: SamClip, size: Size | str, things: bool) -> dict[str, str]:
    """What a library says of the model that makes it, and how. size: the input size that photos are looked at in."""
    bundle, chosen = model.bundle, model.size_of(size)
    return {
        "bundle": _sha256(bundle),
        "model": json.dumps(identity(bundle, chosen)),
        "name": name_of(bundle),
        "features": str(bundle.manifest.spec.features),
        "size": str(chosen),
        "things": str(int(things)),
    }


def check(given: str, made: Mapping[str, str], model: SamClip) -> None:
    """Raise InputError unless the model is the one that a library was made by, in whichever export.

    given: the library, in messages. made: what it says of its model.
    """
    try:
        name, digest, _ = made["name"], made["bundle"], parse_json(made["model"].encode())
    except (KeyError, ValueError):
        raise InputError(f"{given}: does not say by which model it was made; {AGAIN}") from None
    if not fits(made, model):
        raise InputError(
            f"{given}: was made by another model, {name} (sha256 {digest[:12]}), not by {model.bundle.given} "
            f"({_sha256(model.bundle)[:12]}); name its bundle with --bundle, or {AGAIN}"
        )


def fits(made: Mapping[str, str], model: SamClip) -> bool:
    """Whether a library was made by a model. Raises KeyError or ValueError where it does not say."""
    if made["bundle"] == _sha256(model.bundle):
        return True
    known = parse_json(made["model"].encode())
    try:
        return bool(known) and same_model(known, identity(model.bundle, model.size_of(made["size"])))
    except InputError:  # it has no such size
        return False


def metadata_of(about: Mapping[str, str]) -> dict[str, str]:
    """What a library says of its model, as the metadata of an Arrow table."""
    return {_PREFIX + key: value for key, value in about.items()}


def about_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """What `metadata_of` was given; empty for a table of others."""
    found = {key.decode(): value.decode() for key, value in (metadata or {}).items()}
    return {key.removeprefix(_PREFIX): value for key, value in found.items() if key.startswith(_PREFIX)}


def name_of(bundle: Bundle) -> str:
    """What finds a bundle again: `photo` or `tiny`, which ship, its folder, or a repository of a hub."""
    if bundle.folder.parent == Path(os.path.realpath(data.FOLDER)):
        return bundle.folder.name
    return os.path.abspath(bundle.given) if os.path.isdir(bundle.given) else bundle.given


def _sha256(bundle: Bundle) -> str:
    """Of the manifest, which has the sha256 of every other file."""
    return sha256(bundle.folder / MANIFEST)
