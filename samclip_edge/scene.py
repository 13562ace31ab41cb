"""A photo that was looked at, and what it can be asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.sessions import Sessions
from samclip_edge.bundle.sizes import Size
from samclip_edge.encoded import Encoded, Prompts
from samclip_edge.errors import InputError
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Bits, Mask
from samclip_edge.photo.read import MAX_PIXELS
from samclip_edge.photo.resize import Floats, Pixels
from samclip_edge.progress import Progress, silent
from samclip_edge.scene_file import read_scene, write_scene
from samclip_edge.tasks.classify import Guesses, classify
from samclip_edge.tasks.everything import Settings, everything, name_masks
from samclip_edge.tasks.find import FindSettings, find
from samclip_edge.tasks.prompts import prepare
from samclip_edge.tasks.published import find_as_published
from samclip_edge.tasks.segment import segment, segment_all
from samclip_edge.text.judge import MIN_SCORE, Judge, check_score
from samclip_edge.text.names import BACKGROUND_NAMES, check_background, check_labels
from samclip_edge.text.words import Words


class Model(Protocol):
    """What a scene needs of the `SamClip` that looked."""

    sessions: Sessions
    words: Words
    judge: Judge


class Scene:
    """A photo that was looked at. Coordinates in and masks out are in pixels of the upright photo."""

    def __init__(self, model: Model, encoded: Encoded) -> None:
        self.model = model
        self.encoded = encoded

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the encoded photo to a file (`.npz`), for `load` here or on another machine.

        Raises InputError where it cannot be written.
        """
        write_scene(Path(path), self.encoded)

    @classmethod
    def load(cls, path: str | os.PathLike[str], model: Model, max_pixels: int = MAX_PIXELS) -> Scene:
        """A scene that `save` wrote. The encoder does not run: it is slow, and may not be wanted here.

        model: the same model, exported for whichever target and precision. Raises InputError for another model, and
        for what is no such file.
        """
        return cls(model, read_scene(Path(path), model.sessions, max_pixels))

    @property
    def pixels(self) -> Pixels:
        """The photo (H,W,3) RGB, not to be written to: copy it first. Of a large JPEG, decoded when first asked for."""
        return self.encoded.photo.pixels

    @property
    def frame(self) -> Frame:
        """How the photo lies in the model's square."""
        return self.encoded.frame

    @property
    def size(self) -> Size:
        """The input size at which the photo was encoded."""
        return self.encoded.frame.size

    @property
    def embedding(self) -> Floats:
        """SAM's embedding of the photo (1,256,h,w)."""
        return np.asarray(self.encoded.embedding)

    @property
    def image_features(self) -> Floats:
        """The photo in CLIP's space (E,), L2-normalised."""
        return self.encoded.image_features

    @property
    def patch_features(self) -> Floats:
        """Each patch in CLIP's space (E,h',w') over the model's square, L2-normalised along E."""
        return self.encoded.patch_features

    def features_under(self, mask: Bits) -> Floats:
        """What is under a mask (H,W) in CLIP's space (E,), L2-normalised."""
        return self.encoded.features_under(mask)

    def decode(self, prompts: Prompts) -> tuple[Floats, Floats]:
        """Prompts to low-res masks (B,4,S/4,S/4) as logits and predicted IoUs (B,4); see `Encoded.decode`."""
        return self.encoded.decode(prompts)

    def mask(self, low_res: Floats, predicted_iou: float) -> Mask:
        """Low-res logits (S/4,S/4) as a mask over the photo."""
        return self.encoded.mask(low_res, predicted_iou)

    def probabilities(self, features: Floats, names: Sequence[str], progress: Progress = silent) -> Floats:
        """Softmax over names of the scaled cosines; see `Words.probabilities`."""
        return self.model.words.probabilities(features, names, progress)

    def classify(
        self, labels: Sequence[str], progress: Progress = silent, background: Sequence[str] = BACKGROUND_NAMES
    ) -> Guesses:
        """Name the photo: the labels, best first, each with the chance that it fits (CLIP, Sec. 3.1).

        `any_fits` of the answer is the chance that at least one of them fits. background: names that each label is
        compared with beside the bundle's rivals. Raises InputError when there is no label or an empty one.
        """
        model, rivals = self.model, check_background(background)
        return classify(self.encoded, model.words, model.judge, check_labels(labels), rivals, progress)

    def segment(
        self,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
    ) -> list[Mask]:
        """The best mask for each prompt; see `tasks.segment`.

        points: (N,2), the points of one prompt, or (B,N,2) of several, x, y in photo pixels; labels the same without
        the 2: 1 on the thing (where None), 0 off it. boxes: (4,) or (B,4) x0, y0, x1, y1. mask: the `logits` of a mask
        from the step before, or (B,S/4,S/4). Given together, they are one prompt each.
        Boxes are cut off at the border of the photo; no boxes give no masks. Raises InputError for prompts that are
        NaN, reversed, or outside the photo.
        """
        return segment(self.encoded, prepare(self.frame, points, labels, boxes, mask))

    def segment_all(
        self,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
    ) -> list[list[Mask]]:
        """The three masks of each prompt, highest predicted IoU first. Takes what `segment` takes."""
        return segment_all(self.encoded, prepare(self.frame, points, labels, boxes, mask))

    def find(
        self,
        labels: Sequence[str],
        refine: bool = True,
        points: int = 3,
        threshold: float = 0.5,
        background: Sequence[str] = BACKGROUND_NAMES,
        progress: Progress = silent,
        settings: Settings | None = None,
        min_score: float = MIN_SCORE,
        as_published: bool = False,
    ) -> list[Mask]:
        """Where the named things are: one mask a name that is seen, none overlapping. See `tasks.find`.

        Each name is judged by itself: it is seen where the chance that it is there is at least `min_score`, whatever
        else is asked. background: names that each name is compared with beside the bundle's rivals. points, threshold:
        of the merged model. settings: of SAM + CLIP, which masks are there to be named. as_published: exactly as the
        paper has it (`tasks.published`), where a name is answered wherever it is the likeliest of those asked for;
        neither `threshold` nor `min_score` counts.
        Raises InputError where SAM + CLIP are asked without `refine`: there is no map of patches to answer with.
        """
        names, model = check_labels(labels), self.model
        rivals = check_background(background)
        how = FindSettings(refine, points, threshold, settings or Settings(), min_score, rivals)
        if as_published:
            return find_as_published(self.encoded, model.words, model.judge, names, how, progress)
        return find(self.encoded, model.judge, names, how, progress)

    def everything(
        self,
        labels: Sequence[str] | None = None,
        settings: Settings | None = None,
        progress: Progress = silent,
        min_score: float = MIN_SCORE,
        background: Sequence[str] = BACKGROUND_NAMES,
    ) -> list[Mask]:
        """Every mask in the photo, best first; see `tasks.everything`.

        Each is named by the one of `labels` that fits it best, or by none where no chance reaches `min_score`.
        background: names that each label is compared with beside the bundle's rivals.
        """
        names, judge = None if labels is None else check_labels(labels), self.model.judge
        rivals = check_background(background)
        check_score(min_score)
        masks = everything(self.encoded, settings or Settings(), progress)
        return masks if names is None else name_masks(self.encoded, judge, masks, names, rivals, min_score, progress)

    def name(
        self,
        masks: Sequence[Mask],
        labels: Sequence[str],
        background: Sequence[str] = BACKGROUND_NAMES,
        min_score: float = MIN_SCORE,
        progress: Progress = silent,
    ) -> list[Mask]:
        """Masks of this photo, from wherever they are, named as `everything` names its own.

        Raises InputError for a mask of a photo of another size.
        """
        names, rivals = check_labels(labels), check_background(background)
        check_score(min_score)
        for number, mask in enumerate(masks, 1):
            height, width = mask.rle["size"]
            if (height, width) != (self.frame.height, self.frame.width):
                raise InputError(
                    f": mask {number} of {len(masks)} is of a photo of {width}x{height}, this one is "
                    f"{self.frame.width}x{self.frame.height}; pass masks of this photo",
                    "masks",
                )
        return name_masks(self.encoded, self.model.judge, masks, names, rivals, min_score, progress)
