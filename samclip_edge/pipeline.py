"""One photo in, masks and names out, in three lines of an app.

m = SamClip.load("bundle/")
s = m.look("photo.jpg")          # the only time the encoder runs
s.classify(["dog", "cat"]); s.segment(points=[[120, 80]]); s.find(["dog"]); s.everything(labels=["dog", "grass"])
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge import everything, find
from samclip_edge.bundle import Bundle
from samclip_edge.contract import Arrays
from samclip_edge.errors import InputError
from samclip_edge.graphs import Engine, Graphs, Units
from samclip_edge.image import MAX_PIXELS, Frame, Photo, read_photo
from samclip_edge.masks import Mask, encode_rle
from samclip_edge.progress import Progress, silent
from samclip_edge.prompts import Prompts, prepare
from samclip_edge.text import check_labels
from samclip_edge.words import Words

Floats = npt.NDArray[np.float32]
_BATCH = 64  # prompts decoded together, as SAM's own generator does


class Guess(NamedTuple):
    """A name and how sure the model is of it among the names it was given, 0..1."""

    label: str
    score: float


class SamClip:
    """A loaded bundle. One may serve many threads."""

    def __init__(self, bundle: Bundle, engine: Engine | None = None) -> None:
        self.bundle = bundle
        self.graphs = Graphs(bundle, engine)
        self.words = Words(self.graphs)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], threads: int | None = None, units: Units = "all") -> SamClip:
        """Open a bundle folder; its graphs are checked and opened when first needed.

        threads: CPU threads for one run of a graph; None leaves it to the engine. units: what Core ML may use.
        Raises InputError when the folder is no bundle, is damaged, or is of a newer format.
        """
        return cls(Bundle.open(folder), Engine(threads, units))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The input sizes S that the bundle holds, rising."""
        return self.bundle.manifest.sizes

    def look(self, photo: Photo, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Scene:
        """Encode a photo, once. What the scene is asked afterwards does not run the encoder again.

        photo: a path, the bytes of a file, or (H,W,3) uint8 RGB. size: one of `sizes`; None takes the largest, which
        masks want; naming a photo is quickest at the smallest. Raises InputError for what is no photo.
        """
        size = self.sizes[-1] if size is None else size
        if size not in self.sizes:
            raise InputError(f"--size {size}: the bundle holds {', '.join(map(str, self.sizes))}; choose one of them")
        pixels = read_photo(photo, max_pixels)
        frame = Frame.of(pixels, size)
        if self.bundle.manifest.kind == "sam+clip":
            from samclip_edge.side_by_side import TwoModelScene

            return TwoModelScene(self, pixels, frame)
        return Scene(self, pixels, frame, self.graphs.run("image_encoder", size, image=frame.square(pixels)))

    def rank(self, photos: Sequence[Photo | Scene], text: str, size: int | None = None) -> list[tuple[int, float]]:
        """Photos by how well they fit a text, best first: (index in `photos`, cosine).

        Photos that are not scenes yet are looked at in `size`, the smallest where None.
        """
        if not text.strip():
            raise InputError("text: empty; say what to look for")
        size = self.sizes[0] if size is None else size
        wanted = self.words.features([text])[0] if self.words.vocabulary else self.words.encode([text])[0]
        scenes = (photo if isinstance(photo, Scene) else self.look(photo, size) for photo in photos)
        scores = [float(scene.image_features @ wanted) for scene in scenes]
        return [(index, scores[index]) for index in np.argsort(-np.array(scores), kind="stable").tolist()]


class Scene:
    """A photo that was looked at. Coordinates in and masks out are in pixels of the upright photo."""

    def __init__(self, model: SamClip, pixels: npt.NDArray[np.uint8], frame: Frame, encoded: Arrays) -> None:
        self.model = model
        self.pixels = pixels  # (H,W,3) RGB
        self.frame = frame
        self._encoded = encoded
        self._features: Arrays | None = None
        self._lock = threading.Lock()

    def _clip_head(self) -> Arrays:
        with self._lock:  # at most once: a scene may be asked from several threads
            if self._features is None:
                self._features = self.model.graphs.run("clip_head", self.frame.size, tokens=self._encoded["tokens"])
            return self._features

    def _encoder(self) -> Arrays:
        """What the image encoder gave, where the engine has it."""
        return self._encoded

    @property
    def embedding(self) -> Floats:
        """SAM's embedding of the photo (1,256,h,w)."""
        return np.asarray(self._encoder()["embedding"])

    @property
    def image_features(self) -> Floats:
        """The photo in CLIP's space (E,), L2-normalised."""
        return np.asarray(self._clip_head()["image_features"][0], np.float32)

    @property
    def patch_features(self) -> Floats:
        """Each patch in CLIP's space (E,h',w') over the model's square, L2-normalised along E."""
        return np.asarray(self._clip_head()["patch_features"][0], np.float32)

    def features_under(self, mask: npt.NDArray[np.bool_]) -> Floats:
        """What is under a mask (H,W) in CLIP's space (E,): the mean of the patch features there, L2-normalised."""
        return pool(self.patch_features, self.frame.coverage(mask, self.patch_features.shape[-1]))

    def classify(self, labels: Sequence[str], progress: Progress = silent) -> list[Guess]:
        """Name the photo: the labels with their probabilities, best first (CLIP, Sec. 3.1).

        Raises InputError when there is no label or an empty one.
        """
        names = check_labels(labels)
        scores = self.probabilities(self.image_features, names, progress)
        return [Guess(names[index], float(scores[index])) for index in np.argsort(-scores, kind="stable")]

    def probabilities(self, features: Floats, names: Sequence[str], progress: Progress = silent) -> Floats:
        """Softmax over names of the scaled cosines. features: (..., E), L2-normalised. Returns (..., K)."""
        logits = self.model.words.logit_scale * (features @ self.model.words.features(names, progress).T)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)

    def segment(
        self,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
    ) -> list[Mask]:
        """The best mask for each prompt.

        points: (N,2), the points of one prompt, or (B,N,2) of several, x, y in photo pixels; labels the same without
        the 2: 1 on the thing (where None), 0 off it. boxes: (4,) or (B,4) x0, y0, x1, y1. mask: the `logits` of a mask
        from the step before, or (B,S/4,S/4). Given together, they are one prompt each.
        A single click is ambiguous: of its three masks the one with the highest score is taken. Anything else is
        answered by the token for unambiguous prompts (SAM's `select_masks`).
        Raises InputError for prompts that are NaN, reversed, or outside the photo.
        """
        prompts = prepare(self.frame, points, labels, boxes, mask)
        masks, scores = self.decode(prompts)
        best = 1 + scores[:, 1:].argmax(axis=1) if prompts.ambiguous else np.zeros(len(scores), int)
        return [self.mask(masks[i, k], float(scores[i, k])) for i, k in enumerate(best)]

    def segment_all(
        self,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
    ) -> list[list[Mask]]:
        """The three masks of each prompt, best score first: often the whole, a part, and a part of the part.

        Takes what `segment` takes.
        """
        masks, scores = self.decode(prepare(self.frame, points, labels, boxes, mask))
        orders = 1 + np.argsort(-scores[:, 1:], axis=1, kind="stable")
        return [[self.mask(masks[i, k], float(scores[i, k])) for k in order] for i, order in enumerate(orders)]

    def find(
        self,
        labels: Sequence[str],
        refine: bool = True,
        points: int = 3,
        threshold: float = 0.5,
        background: Sequence[str] = find.BACKGROUND,
        progress: Progress = silent,
    ) -> list[Mask]:
        """Where the named things are: one mask a name that is there, none overlapping. See `find.find`."""
        return find.find(self, check_labels(labels, "--text"), refine, points, threshold, background, progress)

    def everything(
        self,
        labels: Sequence[str] | None = None,
        settings: everything.Settings | None = None,
        progress: Progress = silent,
    ) -> list[Mask]:
        """Every mask in the photo, best first, each named by one of `labels` where given. See `everything`."""
        names = None if labels is None else check_labels(labels)
        masks = everything.everything(self, settings or everything.Settings(), progress)
        return masks if names is None else everything.name(self, masks, names, progress)

    def decode(self, prompts: Prompts) -> tuple[Floats, Floats]:
        """Prompts to low-res masks (B,4,S/4,S/4) as logits and scores (B,4): the single-mask token, then the three."""
        size, run = self.frame.size, self.model.graphs.run
        fixed = self.model.bundle.graph("prompt_encoder", size).points
        if fixed not in (None, prompts.points.shape[1]):
            given = f"{prompts.points.shape[1]}, corners of a box and the one of no box counted"
            raise InputError(
                f"prompt: the bundle takes prompts of {fixed} points, not of {given}; export without --points"
            )
        masks, scores = [], []
        step = 1 if fixed else _BATCH
        for start in range(0, len(prompts.points), step):
            part = slice(start, start + step)
            encoded = run(
                "prompt_encoder",
                size,
                points=prompts.points[part],
                labels=prompts.labels[part],
                mask=prompts.mask[part],
                has_mask=prompts.has_mask,
            )
            out = run("mask_decoder", size, embedding=self._encoder()["embedding"], **encoded)
            masks.append(out["masks"])
            scores.append(out["scores"])
        return np.concatenate(masks).astype(np.float32), np.concatenate(scores).astype(np.float32)

    def mask(self, low_res: Floats, score: float, label: str | None = None) -> Mask:
        """Low-res logits (S/4,S/4) as a mask over the photo."""
        return Mask(encode_rle(self.frame.to_photo(low_res) > 0), score, low_res.copy(), label)


def pool(features: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean of patch features (E,h',w') under weights (h',w'), L2-normalised (E,)."""
    total = np.tensordot(features, weights, axes=2)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), np.float32)
