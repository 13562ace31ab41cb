"""One photo in, masks and names out, in three lines of an app.

m = SamClip.load("bundle/")
s = m.look("photo.jpg")          # the only time the encoder runs
s.classify(["dog", "cat"]); s.segment(points=[[120, 80]]); s.find(["dog"]); s.everything(labels=["dog", "grass"])
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice

import numpy as np

from samclip_edge import data
from samclip_edge.bundle.device import Device
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions, Sessions, Units
from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.encoded import encode
from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.ahead import opened_ahead
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.opened import OpenPhoto
from samclip_edge.photo.read import MAX_PIXELS, Photo, open_photo
from samclip_edge.photo.resize import Floats
from samclip_edge.progress import Progress, silent
from samclip_edge.scene import Scene
from samclip_edge.tasks.classify import Guesses
from samclip_edge.text.judge import Judge
from samclip_edge.text.names import BACKGROUND_NAMES, check_labels
from samclip_edge.text.words import Words
from samclip_edge.together import at_once, encode_together

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

        folder: its path, or `org/name` or `org/name@revision` of a repository of the Hugging Face hub; None: `photo`,
        the model that ships. threads: CPU threads for one run of a graph; None leaves it to the engine. units: what
        Core ML may use. device: what ONNX Runtime runs on: "cpu", "cuda", "tensorrt", "coreml", "directml", "openvino",
        "qnn", or its providers (see `bundle.device.Device`); each graph's answers are compared with the CPU's when it
        is opened. Raises InputError when there is no bundle, it is damaged, or is of a newer format, and for a device
        that is not here.
        """
        return cls(Bundle.open(data.PHOTO if folder is None else folder), SessionOptions(threads, units, device=device))

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
        opened = open_photo(photo, chosen, max_pixels, white)
        return Scene(self, encode(self.sessions, opened, Frame(opened.height, opened.width, chosen)))

    def look_many(
        self,
        photos: Iterable[Photo | Scene],
        size: Size | None = None,
        max_pixels: int = MAX_PIXELS,
        white: float | None = None,
        named: bool = False,
    ) -> Generator[Scene | InputError, None, None]:
        """A scene for each photo, in order; in the place of one that has none, the InputError that says why.

        Files are decoded in threads while the photos before them are encoded, and at small sizes several photos are
        encoded in one call, where the bundle takes that. At most `2 * PHOTOS` photos are open at a time, at 1024 three,
        beside the scenes that you keep. Ending early, by `close` too, ends the threads. photos: a scene among them
        stays as it is. size, max_pixels, white: see `look`. named: whether they will be named: what names need is
        then computed for several at once too. Raises InputError for a size that there is not.
        """
        chosen = self.size_of(self.sizes[-1] if size is None else size)

        def opened(photo: Photo | Scene) -> OpenPhoto | Scene | InputError:
            try:
                return photo if isinstance(photo, Scene) else open_photo(photo, chosen, max_pixels, white)
            except InputError as error:
                return error

        def looked() -> Generator[Scene | InputError, None, None]:
            most = at_once(self.bundle, chosen, named)
            with closing(opened_ahead(photos, opened, max(most, 2))) as ready:
                while some := list(islice(ready, most)):
                    yield from self._encoded(some, chosen, named)
                    some.clear()  # before the next are taken

        return looked()

    def _encoded(
        self, opened: Sequence[OpenPhoto | Scene | InputError], size: Size, named: bool
    ) -> Iterator[Scene | InputError]:
        """Scenes in the places of photos, from one call of the encoder; or what that call raises."""
        new = [each for each in opened if isinstance(each, OpenPhoto)]
        try:
            scenes = iter([Scene(self, each) for each in encode_together(self.sessions, new, size, named)])
        except InputError as error:
            yield from (error if isinstance(each, OpenPhoto) else each for each in opened)
            return
        yield from (next(scenes) if isinstance(each, OpenPhoto) else each for each in opened)

    def prepare(self, size: Size | None = None) -> None:
        """Begin to open the graphs of masks at a size, in a thread: while a photo is read, or while an app starts.

        size: one of `sizes`; None takes the largest. Raises InputError for any other.
        """
        chosen = self.sizes[-1] if size is None else self.size_of(size)
        self.sessions.prepare("image_encoder", "prompt_encoder", "mask_decoder", size=chosen)

    def size_of(self, size: Size) -> Size:
        """One of `sizes`, which may be given as text. Raises InputError for any other."""
        try:
            return self.sizes[self.sizes.index(of_sides(*sides(size)))]
        except (ValueError, TypeError):  # it is not among them, or it is no size
            known = ", ".join(map(str, self.sizes))
            raise InputError(f" {size}: the bundle holds {known}; choose one of them", "size") from None

    @property
    def names_size(self) -> Size:
        """The size at which photos are named: the smallest at which a trained model was trained, or the smallest."""
        manifest = self.bundle.manifest
        trained = (manifest.trained and manifest.trained_at) or self.sizes
        return next((size for size in self.sizes if size in trained), self.sizes[0])

    def classify(
        self,
        photo: Photo | Scene,
        labels: Sequence[str],
        progress: Progress = silent,
        background: Sequence[str] = BACKGROUND_NAMES,
    ) -> Guesses:
        """Name a photo as `Scene.classify` does. One that is no scene yet is looked at in `names_size`."""
        scene = photo if isinstance(photo, Scene) else self.look(photo, self.names_size)
        return scene.classify(labels, progress, background)

    def embed(self, photos: Iterable[Photo | Scene], size: Size | None = None) -> Floats:
        """The features (N,E) of photos, L2-normalised, to be compared with those of texts or of other photos.

        Photos that are not scenes yet are looked at in `size`, `names_size` where None; see `look_many` for how many at
        once. A photo that cannot be read has a row of NaN, and a warning names it. Raises InputError where none can be
        read.
        """
        size = self.names_size if size is None else self.size_of(size)
        rows: list[Floats | InputError] = [
            each if isinstance(each, InputError) else each.image_features
            for each in self.look_many(photos, size, named=True)
        ]
        failed = [each for each in rows if isinstance(each, InputError)]
        if failed and len(failed) == len(rows):
            raise failed[0]
        for error in failed:
            log.warning("left out: %s", one_line(error))
        features = np.full((len(rows), self.bundle.manifest.spec.features), np.nan, np.float32)
        for place, row in enumerate(rows):
            if not isinstance(row, InputError):
                features[place] = row
        return features

    def embed_text(self, texts: Sequence[str]) -> Floats:
        """The features (K,E) of texts as they stand, L2-normalised; of names, where the bundle holds a vocabulary.

        Raises InputError for what is no text, or not in the vocabulary.
        """
        if isinstance(texts, str):
            raise InputError(f": {texts!r:.60} is one string; pass a list of texts", "texts")
        return self.words.features(texts) if self.words.vocabulary else self.words.encode(texts)

    def rank(self, photos: Sequence[Photo | Scene], text: str, size: Size | None = None) -> list[tuple[int, float]]:
        """Photos by how well they fit a text, best first: (index in `photos`, similarity, which is their cosine).

        size: see `embed`. A photo that cannot be read is left out, and a warning names it. Raises InputError where none
        can be read.
        """
        (wanted,) = self.embed_text(check_labels([text], "text"))
        cosines = self.embed(photos, size) @ wanted
        found = [(index, float(each)) for index, each in enumerate(cosines) if not np.isnan(each)]
        return sorted(found, key=lambda each: -each[1])
