"""SAM and CLIP side by side behind the pipeline of the merged model: two encoders, each run when it is first asked.

What runs on public weights today, and what the merged model is held against. This CLIP says nothing of patches: a mask
is named by showing CLIP what is in its box, and a word is found by finding every mask first (Appendix C.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from samclip_edge import everything
from samclip_edge.contract import Arrays
from samclip_edge.errors import InputError
from samclip_edge.find import BACKGROUND
from samclip_edge.image import Frame, clip_square
from samclip_edge.masks import Mask, encode_rle, mask_box
from samclip_edge.pipeline import Floats, SamClip, Scene
from samclip_edge.progress import Progress, silent
from samclip_edge.text import check_labels


class TwoModelScene(Scene):
    """A photo that SAM encodes when a mask is asked for, and CLIP when a name is."""

    def __init__(self, model: SamClip, pixels: npt.NDArray[np.uint8], frame: Frame) -> None:
        super().__init__(model, pixels, frame, {})
        self._image_features: Floats | None = None

    def _encoder(self) -> Arrays:
        with self._lock:
            if not self._encoded:
                image = self.frame.square(self.pixels)
                self._encoded = self.model.graphs.run("image_encoder", self.frame.size, image=image)
            return self._encoded

    @property
    def image_features(self) -> Floats:
        """The photo in CLIP's space (E,), L2-normalised."""
        with self._lock:
            if self._image_features is None:
                self._image_features = self._seen(self.pixels)
            return self._image_features

    @property
    def patch_features(self) -> Floats:
        """Raises InputError: this CLIP has none."""
        raise InputError("SAM + CLIP: has no features of patches; use a merged bundle")

    def features_under(self, mask: npt.NDArray[np.bool_]) -> Floats:
        """What CLIP says of the photo in a square around the mask's box (E,)."""
        x0, y0, x1, y1 = mask_box(mask)
        height, width, _ = self.pixels.shape
        side = max(x1 - x0, y1 - y0, 1)
        left = min(max((x0 + x1 - side) // 2, 0), max(width - side, 0))
        top = min(max((y0 + y1 - side) // 2, 0), max(height - side, 0))
        return self._seen(self.pixels[top : top + side, left : left + side])

    def _seen(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        vision = self.model.bundle.manifest.spec.clip_vision
        assert vision is not None
        features = self.model.graphs.run("clip_image_encoder", image=clip_square(pixels, vision.size)[None])
        return np.asarray(features["image_features"][0], np.float32)

    def find(
        self,
        labels: Sequence[str],
        refine: bool = True,
        points: int = 3,
        threshold: float = 0.5,
        background: Sequence[str] = BACKGROUND,
        progress: Progress = silent,
        settings: everything.Settings | None = None,
    ) -> list[Mask]:
        """Where the named things are: every mask of the photo, named, those of one name as one; none overlapping.

        A mask that is likelier to be of `background` is left out. `points` and `threshold` are the merged model's;
        `settings` say which masks there are.
        Raises InputError where `refine` is not asked for: there is no map to answer with.
        """
        if not refine:
            raise InputError("SAM + CLIP: has no map of patches to answer with; use a merged bundle")
        names = check_labels(labels, "--text")
        known = [*names, *(name for name in background if name not in names)]
        masks = everything.everything(self, settings or everything.Settings(), progress)
        named = everything.name(self, masks, known, progress)
        owner = np.full(self.pixels.shape[:2], -1)
        scores: dict[int, float] = {}
        for mask in sorted(named, key=lambda each: -each.area):  # smaller ones lie on top
            k = known.index(mask.label or "")
            owner[mask.bits] = k
            scores[k] = max(scores.get(k, 0.0), mask.confidence or 0.0)
        found = [Mask(encode_rle(owner == k), scores[k], label=name) for k, name in enumerate(names) if k in scores]
        return sorted((mask for mask in found if mask.area), key=lambda mask: -mask.score)
