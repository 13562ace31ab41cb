"""One photo in, masks and names out, in three lines of an app.

m = SamClip.load("bundle/")
s = m.look("photo.jpg")          # the only time the encoder runs
s.classify(["dog", "cat"]); s.segment(points=[[120, 80]]); s.find(["dog"]); s.everything(labels=["dog", "grass"])
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from samclip_edge import data
from samclip_edge.bundle.device import Device
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions, Sessions, Units
from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.encoded import Encoded, Prompts, encode
from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.masks import Bits, Mask
from samclip_edge.photo.read import MAX_PIXELS, Photo, read_photo
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

log = logging.getLogger(__name__)


class SamClip:
    """A loaded bundle. One may serve many threads."""

    def __init__(
        self,
        bundle: Bundle,
        options: SessionOptions | None = None,
        *,
        sessions: Sessions | None = None,
        engine: SessionOptions | None = None,
    ) -> None:
        """options: how graphs are run. sessions: what runs them, in place of the bundle's own.

        engine: the old name of `options`, until 0.3. Raises InputError for sessions of another bundle.
        """
        if sessions is not None and sessions.bundle.folder != bundle.folder:
            raise InputError(
                f"sessions: are of {sessions.bundle.folder}, not of {bundle.folder}; give the bundle's own"
            )
        options = options or engine
        self.bundle = bundle
        self.sessions = sessions or Sessions(bundle, options)
        self.words = Words(self.sessions)
        self.judge = Judge(self.words, bundle.manifest)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        units: Units = "all",
        device: Device = "cpu",
    ) -> SamClip:
        """Open a bundle; its graphs are checked and opened when first needed.

        folder: its path, or `org/name` or `org/name@revision` of a repository of the Hugging Face hub; None: the model
        that ships, which knows coloured shapes only. threads: CPU
        threads for one run of a graph; None leaves it to the engine. units: what Core ML may use. device: what ONNX
        Runtime runs on: "cpu", "cuda", "tensorrt", "coreml", "directml", "openvino", "qnn", or its providers (see
        `bundle.device.Device`); each graph's answers are compared with the CPU's when it is opened.
        Raises InputError when there is no bundle, it is damaged, or is of a newer format, and for a device that is not
        here.
        """
        return cls(Bundle.open(data.TINY if folder is None else folder), SessionOptions(threads, units, device=device))

    def __reduce__(self) -> tuple[object, ...]:
        """What `pickle` and `copy` make another of, in another process too: it opens its graphs anew."""
        return functools.partial(SamClip, sessions=self.sessions), (self.bundle,)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The input sizes that the bundle holds, rising: S, or "WxH"."""
        return self.bundle.manifest.sizes

    @property
    def graphs(self) -> Sessions:
        """The old name of `sessions`, until 0.3."""
        return self.sessions

    def look(
        self, photo: Photo, size: Size | None = None, max_pixels: int = MAX_PIXELS, white: float | None = None
    ) -> Scene:
        """Encode a photo, once. What the scene is asked afterwards does not run the encoder again.

        photo: a path, the bytes of a file, an open file, Pillow's image, or an array: (H,W,3) uint8 RGB, and what
        `photo_of_array` takes besides; the scene has a copy of its own. size: one of `sizes`; None takes the largest,
        which masks want; naming a photo is quickest at the smallest. white: the value of white in an array that is not
        uint8: 1 or 255 for floats. Raises InputError for what is no photo.
        """
        chosen = self.size_of(self.sizes[-1] if size is None else size)
        pixels = read_photo(photo, max_pixels, white)
        pixels.flags.writeable = False
        return Scene(self, encode(self.sessions, pixels, Frame.of(pixels, chosen)))

    def size_of(self, size: Size) -> Size:
        """One of `sizes`, which may be given as text. Raises InputError for any other."""
        try:
            return self.sizes[self.sizes.index(of_sides(*sides(size)))]
        except (ValueError, TypeError):  # it is not among them, or it is no size
            known = ", ".join(map(str, self.sizes))
            raise InputError(f" {size}: the bundle holds {known}; choose one of them", "size") from None

    def rank(self, photos: Sequence[Photo | Scene], text: str, size: Size | None = None) -> list[tuple[int, float]]:
        """Photos by how well they fit a text, best first: (index in `photos`, similarity, which is their cosine).

        Photos that are not scenes yet are looked at in `size`, the smallest where None. A photo that cannot be read is
        left out, and a warning names it. Raises InputError where none can be read.
        """
        (text,) = check_labels([text], "text")
        size = self.sizes[0] if size is None else self.size_of(size)
        wanted = self.words.features([text])[0] if self.words.vocabulary else self.words.encode([text])[0]
        found: list[tuple[int, float]] = []
        failed: list[InputError] = []
        for index, photo in enumerate(photos):
            try:
                scene = photo if isinstance(photo, Scene) else self.look(photo, size)
            except InputError as error:
                failed.append(error)
                continue
            found.append((index, float(scene.image_features @ wanted)))
        if failed and not found:
            raise failed[0]
        for each in failed:
            log.warning("left out: %s", one_line(each))
        return sorted(found, key=lambda each: -each[1])


class Scene:
    """A photo that was looked at. Coordinates in and masks out are in pixels of the upright photo."""

    def __init__(self, model: SamClip, encoded: Encoded) -> None:
        self.model = model
        self.encoded = encoded

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the encoded photo to a file (`.npz`), for `load` here or on another machine.

        Raises InputError where it cannot be written.
        """
        write_scene(Path(path), self.encoded)

    @classmethod
    def load(cls, path: str | os.PathLike[str], model: SamClip, max_pixels: int = MAX_PIXELS) -> Scene:
        """A scene that `save` wrote. The encoder does not run: it is slow, and may not be wanted here.

        model: the same model, exported for whichever target and precision. Raises InputError for another model, and
        for what is no such file.
        """
        return cls(model, read_scene(Path(path), model.sessions, max_pixels))

    @property
    def pixels(self) -> Pixels:
        """The photo (H,W,3) RGB, not to be written to: copy it first."""
        return self.encoded.pixels

    @property
    def frame(self) -> Frame:
        """How the photo lies in the model's square."""
        return self.encoded.frame

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
