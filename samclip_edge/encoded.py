"""What the encoders say of one photo: the embedding, the features, and decoded prompts.

The embedding and the features of the photo are computed once. The merged model's encoder runs when the photo is looked
at; every other graph runs when its answer is first asked for.

Two kinds with one interface: `Merged`, one encoder with two heads, and `SideBySide`, SAM and CLIP as two models, which
is what runs on public weights today and what the merged model is held against. Tasks are written over the interface.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.contract import Array, Arrays, GraphName
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Bits, Mask, encode_rle, square_around
from samclip_edge.photo.opened import OpenPhoto
from samclip_edge.photo.resize import Floats, clip_square

BATCH = 16  # prompts decoded together: of 64, as in SAM's generator, the decoder's tensors fill gigabytes at 1024


class Prompts(NamedTuple):
    """B prompts as the `prompt_encoder` graph takes them."""

    points: Floats  # (B,N,2) x, y in model pixels
    labels: Floats  # (B,N)
    mask: Floats  # (M,1,S/4,S/4) logits: one that all prompts share, or one for each
    has_mask: Floats  # (1,)
    ambiguous: bool  # one click and nothing else: SAM answers with three masks


class Encoded(ABC):
    """A photo as the encoders see it. May be asked from several threads."""

    has_patch_features: bool  # whether the CLIP of this kind says what each patch is of
    encoders: tuple[GraphName, ...]  # the graphs that encode the photo, which are the slow ones
    at_look: tuple[GraphName, ...]  # those of them that run when a photo is looked at
    for_names: GraphName  # the graph that says what the photo is of

    def __init__(self, sessions: Sessions, photo: OpenPhoto, frame: Frame, known: dict[GraphName, Arrays]) -> None:
        """known: what graphs said of the photo already."""
        self.sessions, self.photo, self.frame = sessions, photo, frame
        self._lock = threading.Lock()
        self._known = dict(known)

    def __reduce__(self) -> tuple[object, ...]:
        """What `pickle` and `copy` make another of: a lock cannot be copied, nor what lies in an engine's memory."""
        return type(self), (self.sessions, self.photo, self.frame, self.known())

    def known(self) -> dict[GraphName, Arrays]:
        """What those of the `encoders` that ran said of the photo, as numpy arrays."""
        found = {name: self._known[name] for name in self.encoders if name in self._known}
        return {name: {output: np.asarray(each) for output, each in said.items()} for name, said in found.items()}

    def ask(self, graph: GraphName) -> Arrays:
        """What a graph that takes nothing but the photo, or what was made of it, says. It runs at most once."""
        with self._lock:
            if graph not in self._known:
                self._known[graph] = self.sessions.run(graph, size_of(graph, self.frame.size), **self.inputs(graph))
            return self._known[graph]

    def learn(self, graph: GraphName, said: Arrays) -> None:
        """Take what such a graph said of this photo, which was run elsewhere."""
        with self._lock:
            self._known[graph] = said

    def inputs(self, graph: GraphName) -> Arrays:
        """What such a graph takes."""
        if graph == "image_encoder":
            return {"image": self.frame.image(self.photo.reduced(self.frame.scale))}
        return self._inputs_for_names()

    @abstractmethod
    def _inputs_for_names(self) -> Arrays: ...

    @property
    def embedding(self) -> Array:
        """SAM's embedding of the photo (1,256,h,w), where the engine has it."""
        return self.ask("image_encoder")["embedding"]

    @property
    def image_features(self) -> Floats:
        """The photo in CLIP's space (E,), L2-normalised."""
        return _first(self.ask(self.for_names))

    @property
    @abstractmethod
    def patch_features(self) -> Floats:
        """Each patch in CLIP's space (E,h',w') over the model's square, L2-normalised along E.

        Raises InputError where there are none.
        """

    @abstractmethod
    def features_under(self, mask: Bits) -> Floats:
        """What is under a mask (H,W), in CLIP's space (E,), L2-normalised."""

    @abstractmethod
    def features_of_parts(self, drawn: Frame, masks: Sequence[Bits]) -> Floats:
        """`features_under` of several masks (T,E), drawn as large as the photo is in the frame `drawn`."""

    def decode(self, prompts: Prompts) -> tuple[Floats, Floats]:
        """Prompts to low-res masks (B,4,S/4,S/4) as logits and predicted IoUs (B,4): the single mask, then the three.

        Raises InputError where the bundle takes prompts of another number of points only.
        """
        size, run = self.frame.size, self.sessions.run
        graph = self.sessions.bundle.graph("prompt_encoder", size)
        count, taken = prompts.points.shape[1], graph.taken("N")
        if taken is not None and count not in taken:
            numbers = ", ".join(map(str, taken))
            given = f"has {count} points, corners of a box and the one of no box counted"
            fixed = "give so many, ask `find` for one point (--find-points 1), or export without --static or --points"
            mend = fixed if graph.points or not graph.calls else "give fewer or more"
            raise InputError(f"prompt: {given}; the bundle takes {numbers}: {mend}")
        if not len(prompts.points):
            return np.zeros((0, 4, *self.frame.low_res), np.float32), np.zeros((0, 4), np.float32)
        masks, predicted_ious = [], []
        takes = graph.signature.input("mask").shape[0]  # M, or 1, or B in a bundle that takes a mask for each prompt
        own = len(prompts.mask) > 1 or takes == "B"
        each = np.broadcast_to(prompts.mask, (len(prompts.points), *prompts.mask.shape[1:])) if own else prompts.mask
        step = 1 if graph.points or (own and takes == 1) else BATCH
        for start in range(0, len(prompts.points), step):
            part = slice(start, start + step)
            prompted = run(
                "prompt_encoder",
                size,
                points=prompts.points[part],
                labels=prompts.labels[part],
                mask=np.ascontiguousarray(each[part]) if own else each,
                has_mask=prompts.has_mask,
            )
            decoded = run("mask_decoder", size, embedding=self.embedding, **prompted)
            masks.append(decoded["masks"])
            predicted_ious.append(decoded["scores"])
        return np.concatenate(masks).astype(np.float32), np.concatenate(predicted_ious).astype(np.float32)

    def mask(self, low_res: Floats, predicted_iou: float) -> Mask:
        """Low-res logits (S/4,S/4) as a mask over the photo."""
        corner, part = self.frame.part(low_res)
        rle = encode_rle(part, corner, (self.frame.height, self.frame.width))
        return Mask(rle, predicted_iou, low_res.copy())


class Merged(Encoded):
    """What the merged model says: one run of its encoder, when the photo is looked at, serves both heads."""

    has_patch_features = True
    encoders = at_look = ("image_encoder",)
    for_names = "clip_head"

    def _inputs_for_names(self) -> Arrays:
        return {"tokens": self._known["image_encoder"]["tokens"]}

    @property
    def patch_features(self) -> Floats:
        """See `Encoded.patch_features`."""
        return np.asarray(self.ask("clip_head")["patch_features"][0], np.float32)

    def features_under(self, mask: Bits) -> Floats:
        """See `Encoded.features_under`: the mean of the patch features there."""
        return pool(self.patch_features, self.frame.coverage(mask, self.patch_features.shape[1:]))

    def features_of_parts(self, drawn: Frame, masks: Sequence[Bits]) -> Floats:
        """See `Encoded.features_of_parts`."""
        patches = self.patch_features
        pooled = [pool(patches, drawn.coverage(mask, patches.shape[1:])) for mask in masks]
        return np.array(pooled, np.float32).reshape(-1, len(patches))


class SideBySide(Encoded):
    """What two models say: SAM encodes the photo when a mask is asked for, and CLIP when a name is.

    This CLIP says nothing of patches, so a mask is named by showing CLIP what is in its box (Appendix C.1).
    """

    has_patch_features = False
    encoders = ("image_encoder", "clip_image_encoder")
    at_look = ()
    for_names = "clip_image_encoder"

    def _inputs_for_names(self) -> Arrays:
        return {"image": self._seen(self.photo)}

    @property
    def patch_features(self) -> Floats:
        """Raises InputError: this CLIP has none."""
        raise InputError("SAM + CLIP: has no features of patches; use a merged bundle")

    def features_under(self, mask: Bits) -> Floats:
        """See `Encoded.features_under`: what CLIP says of the photo in a square around the mask's box."""
        rows, columns = square_around(mask)
        return self._features_of(OpenPhoto(self.photo.pixels[rows, columns]))

    def features_of_parts(self, drawn: Frame, masks: Sequence[Bits]) -> Floats:
        """See `Encoded.features_of_parts`."""
        pixels = self.photo.pixels
        down, across = self.frame.height / drawn.height, self.frame.width / drawn.width
        found = np.zeros((len(masks), self.sessions.bundle.manifest.spec.features), np.float32)
        for place, mask in enumerate(masks):
            rows, columns = square_around(mask)
            top, left = int(rows.start * down), int(columns.start * across)
            bottom, right = max(int(rows.stop * down), top + 1), max(int(columns.stop * across), left + 1)
            found[place] = self._features_of(OpenPhoto(pixels[top:bottom, left:right]))
        return found

    def _features_of(self, part: OpenPhoto) -> Floats:
        return _first(self.sessions.run("clip_image_encoder", image=self._seen(part)))

    def _seen(self, photo: OpenPhoto) -> Floats:
        """A photo as the `image` of CLIP's own encoder."""
        vision = self.sessions.bundle.manifest.spec.clip_vision
        assert vision is not None
        pixels = photo.reduced(vision.size / min(photo.height, photo.width))
        return clip_square(pixels, vision.size, vision.resize, vision.interpolation == "bicubic")[None]


def encode(sessions: Sessions, photo: OpenPhoto, frame: Frame, known: dict[GraphName, Arrays] | None = None) -> Encoded:
    """A photo as the encoders of a bundle see it, of whichever kind the bundle is.

    known: what graphs said of it already, which are then not run.
    """
    encoded = kind_of(sessions.bundle)(sessions, photo, frame, known or {})
    for graph in encoded.at_look:
        encoded.ask(graph)
    return encoded


def size_of(graph: GraphName, size: Size) -> Size | None:
    """The input size at which a graph runs for photos of a size: CLIP's own encoder has one only."""
    return None if graph == "clip_image_encoder" else size


def kind_of(bundle: Bundle) -> type[Merged] | type[SideBySide]:
    """Which kind a bundle is."""
    return SideBySide if bundle.manifest.kind == "sam+clip" else Merged


def pool(features: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean of patch features (E,h',w') under weights (h',w'), L2-normalised (E,)."""
    total = np.tensordot(features, weights, axes=2)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), np.float32)


def _first(outputs: Arrays) -> Floats:
    return np.asarray(outputs["image_features"][0], np.float32)
