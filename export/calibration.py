"""The rivals of a bundle and its chances: taken from the checkpoint, or else measured on photos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from samclip_edge import data
from samclip_edge.bundle.contract import Array, Arrays, GraphName
from samclip_edge.bundle.folder import describe
from samclip_edge.bundle.manifest import Calibration, Chances
from samclip_edge.bundle.sizes import Size, sides
from samclip_edge.export.parity import Case, parity_photos
from samclip_edge.model.checkpoint import Calibrated
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.names import name_features
from samclip_edge.photo.frame import Frame
from samclip_edge.progress import Progress
from samclip_edge.text.chances import assumed
from samclip_edge.text.judge import Floats, nearest, odds_among, strongest
from samclip_edge.text.names import BACKGROUND_NAMES, read_names

_WINDOWS = 4  # windows along a side of the patch map that stand for masks
_MARGIN = 1e-3  # so that rounding does not make the two nearest rivals the same


class Calibrator:
    """Collects what an export sees of photos at each size, and makes the manifest's `calibration` of it."""

    def __init__(
        self, model: MergedModel, measured: Calibrated | None, templates: Sequence[str], progress: Progress
    ) -> None:
        """measured: what the checkpoint says; None: it says nothing, and photos have to do."""
        self._measured = measured
        self._names = list(measured.rivals) if measured else read_names(data.RIVALS)
        self._features = name_features(model, [*self._names, *BACKGROUND_NAMES], templates, progress).cpu().numpy()
        self._scale, bias = float(model.text_encoder.logit_scale.detach().exp()), model.text_encoder.logit_bias
        self._bias = None if bias is None else float(bias.detach())
        self._sizes: dict[Size, Chances] = {}

    def see(self, sizes: Sequence[Size], found: Mapping[GraphName, Sequence[Case]]) -> None:
        """Take in what the CLIP head, or CLIP's own encoder, says of the photos, if they are among the graphs found.

        found: of graphs at these sizes, the cases of `parity.cases` or `clip_cases`, the probe first.
        """
        for name in found.keys() & {"clip_head", "clip_image_encoder"}:
            for size in sizes:
                self._sizes[size] = self._on_photos(size, [outputs for _, outputs in found[name][1:]])

    def write(self, folder: Path, sizes: Sequence[Size]) -> Calibration:
        """Write the rivals into a bundle's folder."""
        names, features = folder / "rivals.json", folder / "rivals.npy"
        names.write_text(json.dumps(self._names, ensure_ascii=False, indent=0), "utf-8")
        rivals = self._features[: len(self._names)]
        np.save(features, rivals)
        return Calibration(
            names=describe(folder, names),
            features=describe(folder, features),
            same=nearest(rivals) + _MARGIN,
            measured_on=self._measured.measured_on if self._measured else "photos, without knowing what they hold",
            sizes=tuple(self._chances(size) for size in sizes),
        )

    def _chances(self, size: Size) -> Chances:
        """Those of the checkpoint for the nearest size that it knows; where it knows none, those of the photos."""
        known = self._measured.sizes if self._measured else ()
        if not known:
            return self._sizes[size]
        side = max(sides(size))
        nearest = min(known, key=lambda each: abs(max(sides(each.size)) - side))
        return nearest.model_copy(update={"size": size})

    def _on_photos(self, size: Size, seen: Sequence[Arrays]) -> Chances:
        photos = np.stack([self._odds(outputs["image_features"][0]) for outputs in seen])
        if "patch_features" not in seen[0]:  # SAM + CLIP sees a mask as it sees a photo
            alike = assumed(photos)
            return Chances(size=size, patches=alike, mask=alike, photo=alike)
        patches, windows = [], []
        for pixels, outputs in zip(parity_photos(), seen, strict=True):
            features = outputs["patch_features"][0]
            rows, columns = Frame.of(pixels, size).cells(features.shape[1:])
            inside = features[:, :rows, :columns]
            patches.append(strongest(self._odds(inside.reshape(len(inside), -1).T)))
            windows += [self._odds(each) for each in _windows(inside)]
        return Chances(size=size, patches=assumed(patches), mask=assumed(windows), photo=assumed(photos))

    def _odds(self, features: Floats) -> Floats:
        """The log-odds (..., R) of each rival against the others and the background. features: (..., E)."""
        return odds_among(self._scale * (features @ self._features.T), self._bias, len(self._names))


def _windows(features: Array) -> list[Floats]:
    """The mean features (E,), L2-normalised, of the equal windows that a map (E,h,w) is cut into."""
    parts = [
        part.mean(axis=(1, 2))
        for row in np.array_split(features, min(_WINDOWS, features.shape[1]), axis=1)
        for part in np.array_split(row, min(_WINDOWS, features.shape[2]), axis=2)
    ]
    return [part / max(float(np.linalg.norm(part)), 1e-12) for part in parts]
