"""Several photos in one call of a graph, where the graph takes several and that is quicker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samclip_edge.bundle.contract import GraphName
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.bundle.sizes import Size, photos_in_a_call, sides
from samclip_edge.encoded import Encoded, kind_of, size_of
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.opened import OpenPhoto


def encode_together(sessions: Sessions, photos: Sequence[OpenPhoto], size: Size, named: bool) -> list[Encoded]:
    """Photos as `encode` has each at one input size.

    named: also run the graph that names them, which otherwise runs when it is asked for.
    """
    kind = kind_of(sessions.bundle)
    found: list[Encoded] = [kind(sessions, photo, Frame(photo.height, photo.width, size), {}) for photo in photos]
    for graph in _graphs(sessions.bundle, named):
        most = _at_once(sessions.bundle, graph, size)
        for start in range(0, len(found), most):
            _ask(found[start : start + most], graph)
    return found


def at_once(bundle: Bundle, size: Size, named: bool) -> int:
    """How many photos `encode_together` is best given: as many as go into one call."""
    return max((_at_once(bundle, graph, size) for graph in _graphs(bundle, named)), default=1)


def _graphs(bundle: Bundle, named: bool) -> tuple[GraphName, ...]:
    kind = kind_of(bundle)
    return (*kind.at_look, kind.for_names) if named else kind.at_look


def _at_once(bundle: Bundle, graph: GraphName, size: Size) -> int:
    """How many photos go into one call of a graph.

    One, where the graph takes one, and where int8 finds its scales in each call: photos of a call would share them, and
    so one would change what is said of another.
    """
    manifest = bundle.manifest
    photos = bundle.graph(graph, size_of(graph, size)).signature.inputs[0].shape[0]
    if manifest.dynamic or isinstance(photos, int):
        return 1
    clip = manifest.spec.clip_vision
    if clip and graph == "clip_image_encoder":
        return photos_in_a_call(clip.size, clip.size)
    return photos_in_a_call(*sides(size))


def _ask(photos: Sequence[Encoded], graph: GraphName) -> None:
    """`Encoded.ask` of each, in one call."""
    inputs = [photo.inputs(graph) for photo in photos]
    given = {name: np.concatenate([np.asarray(each[name]) for each in inputs]) for name in inputs[0]}
    said = photos[0].sessions.run(graph, size_of(graph, photos[0].frame.size), **given)
    for place, photo in enumerate(photos):  # copies: who keeps one photo keeps no other's
        photo.learn(graph, {name: np.asarray(each)[place : place + 1].copy() for name, each in said.items()})
