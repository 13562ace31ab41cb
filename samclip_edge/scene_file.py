"""An encoded photo as one file, so that a server may encode it and a phone may ask, or a later day.

The file is numpy's `.npz`: the photo as PNG, what the encoders said of it, and by which model. It may come from
anywhere, so all that is read is held against the bundle.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from samclip_edge.bundle.contract import Arrays, GraphName, signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.identity import identity, same_model
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.encoded import Encoded, encode, kind_of
from samclip_edge.errors import InputError, one_line
from samclip_edge.files import replacing
from samclip_edge.json_files import parse_json
from samclip_edge.photo.decode import decode
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.opened import OpenPhoto

_FORMAT = 1


def write_scene(path: Path, encoded: Encoded) -> None:
    """Write a photo and all that its encoders say of it. Raises InputError where the file cannot be written."""
    size, photo = encoded.frame.size, io.BytesIO()
    Image.fromarray(encoded.photo.pixels).save(photo, "PNG", compress_level=1)
    about = {"format": _FORMAT, "size": size, "model": identity(encoded.sessions.bundle, size)}
    for graph in encoded.encoders:
        encoded.ask(graph)
    arrays: dict[str, Any] = {
        f"{graph}.{name}": each for graph, found in encoded.known().items() for name, each in found.items()
    }
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, about=_bytes(json.dumps(about).encode()), photo=_bytes(photo.getvalue()), **arrays)
    except (OSError, ValueError) as error:  # the second of a name with a NUL
        raise InputError(f"{path}: cannot be written ({one_line(error)}); name another file") from None


def read_scene(path: Path, sessions: Sessions, max_pixels: int) -> Encoded:
    """What `write_scene` wrote, for a bundle of the same model, of whichever target and precision.

    Raises InputError for what is no such file, is of another model, or has a photo of more than `max_pixels` pixels.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
        about = parse_json(stored.pop("about").tobytes())
        size, model, photo = of_sides(*sides(about["size"])), about["model"], stored.pop("photo").tobytes()
        written_as = int(about["format"])
    except FileNotFoundError:
        raise InputError(f"{path}: no such scene; check the path") from None
    except Exception as error:  # of a zip and its arrays anything may be wrong
        raise InputError(f"{path}: not a saved scene ({one_line(error)}); save it again with Scene.save") from None
    bundle = sessions.bundle
    if written_as > _FORMAT:
        raise InputError(f"{path}: format {written_as} is newer than {_FORMAT}, which this version reads; upgrade it")
    if size not in bundle.manifest.sizes:
        raise InputError(f"{path}: was encoded at {size}; the bundle holds {list(bundle.manifest.sizes)}")
    if not same_model(model, identity(bundle, size)):
        raise InputError(f"{path}: was encoded by another model than that of {bundle.given}; look at the photo again")
    pixels = decode(photo, f"{path}: the photo", max_pixels)
    return encode(sessions, OpenPhoto(pixels), Frame.of(pixels, size), _outputs(path, bundle, size, stored))


def _outputs(path: Path, bundle: Bundle, size: Size, stored: Arrays) -> dict[GraphName, Arrays]:
    """The stored arrays by graph and output. Raises InputError where one is not what the contract says."""
    left, outputs = dict(stored), dict[GraphName, Arrays]()
    for encoder in kind_of(bundle).encoders:
        outputs[encoder] = {}
        for each in signature(bundle.manifest.spec, encoder, size).outputs:
            array = left.pop(f"{encoder}.{each.name}", None)
            shape = tuple(1 if isinstance(side, str) else side for side in each.shape)
            if array is None or array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                raise InputError(f"{path}: {encoder}.{each.name} is damaged or missing; save it again with Scene.save")
            outputs[encoder][each.name] = array
    if left:
        raise InputError(f"{path}: holds {next(iter(left))}, which no encoder gives; save it again with Scene.save")
    return outputs


def _bytes(content: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
