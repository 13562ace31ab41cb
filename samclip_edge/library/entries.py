"""Decoded photos to what a library keeps of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samclip_edge.bundle.sizes import Size
from samclip_edge.library.store import Entry, Thing
from samclip_edge.library.things import things_of
from samclip_edge.photo.elsewhere import Decoded, Wanted
from samclip_edge.photo.opened import OpenPhoto
from samclip_edge.pipeline import SamClip
from samclip_edge.together import encode_together


def wanted_by(model: SamClip, size: Size, max_pixels: int) -> Wanted:
    """What a model wants of a photo: as many pixels as its input has; all of them, where CLIP has its own input."""
    return Wanted(size, model.bundle.manifest.kind == "sam+clip", max_pixels)


def entries_of(model: SamClip, photos: Sequence[Decoded], size: Size, with_things: bool) -> list[Entry]:
    """Photos, encoded in one call where the bundle takes several, with their things if they are wanted."""
    opened = [OpenPhoto(each.pixels) for each in photos if each.pixels is not None]
    entries = []
    for photo, encoded in zip(photos, encode_together(model.sessions, opened, size, named=True), strict=True):
        features = encoded.image_features[None]
        things, of_things = list[Thing](), np.zeros((0, features.shape[1]), np.float32)
        if with_things:
            things, of_things = things_of(encoded, photo.width, photo.height)
        entries.append(Entry(photo.width, photo.height, photo.thumbnail, features, things, of_things))
    return entries
