"""The measures of `eval synthetic` against arithmetic done by hand, and on a model that knows everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import Ran

from samclip_edge.accuracy import synthetic
from samclip_edge.accuracy.measures import Semantic, average_precision
from samclip_edge.accuracy.synthetic import NAMES, Counts
from samclip_edge.photo.masks import Mask, cut_out, encode_rle
from samclip_edge.rendered import render

FEW = Counts(one_thing=6, captions=5, several=4, trusted=2, named=0)


class Knowing:
    """Stands in for a model and a scene: answers everything from the scenes that it is shown."""

    sizes = (128, 256)
    graphs = None

    def __init__(self, spoil: bool = False) -> None:
        self.spoil = spoil  # whether it answers with the next name, and half of the mask
        self.words = SimpleNamespace(vocabulary=None, encode=lambda texts: np.stack([self._code(t) for t in texts]))
        self._scenes = {
            render(first + i, size, most=most).image.tobytes(): render(first + i, size, most=most)
            for first, most in ((10_000, 1), (20_000, 4), (40_000, 4))
            for size in self.sizes
            for i in range(24)
        }

    @staticmethod
    def _code(text: str) -> np.ndarray:
        return np.random.default_rng(list(text.encode())).standard_normal(64)

    def look(self, image: np.ndarray, size: int | None = None) -> Knowing:
        known = Knowing.__new__(Knowing)
        known.__dict__.update(self.__dict__)
        known.scene = self._scenes.get(image.tobytes())
        known.image_features = self._code(known.scene.caption) if known.scene else None
        known.pixels = image
        return known

    def _masks(self, score: float = 0.9) -> list[Mask]:
        masks = []
        for thing in self.scene.things:
            bits = thing.mask.copy()
            if self.spoil:
                rows = np.flatnonzero(bits.any(axis=1))
                bits[rows[len(rows) // 2] :] = False
            name = f"{thing.colour} {thing.shape}"
            masks.append(Mask(encode_rle(bits), score, label=name))
        return masks

    def classify(self, names: Sequence[str]) -> list[Any]:
        thing = self.scene.things[0]
        index = names.index(f"{thing.colour} {thing.shape}") + self.spoil
        there = {each.kind for each in self.scene.things}
        best_first = [*names[index % len(names) :], *names[: index % len(names)]]
        return [SimpleNamespace(label=name, score=float(name in there)) for name in best_first]

    def segment(self, boxes: Any = None, points: Any = None) -> list[Mask]:
        for place, thing in zip(points or [], self.scene.things, strict=bool(points)):
            (x, y) = place[0]
            assert thing.mask[int(y), int(x)]
        return self._masks()

    def find(self, names: Sequence[str], refine: bool = True, as_published: bool = False) -> list[Mask]:
        return [mask for mask in self._masks() if mask.label in names]


def test_a_mask_alone_lies_in_the_middle_of_the_mean_colour() -> None:
    """By hand: a box of 8 x 4 pixels in a square of 12, one corner of it not of the mask."""
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    bits = np.zeros((20, 30), bool)
    bits[5:9, 10:18] = True
    bits[5, 10] = False
    wanted = np.full((12, 12, 3), (124, 116, 104), np.uint8)
    wanted[4:8, 2:10] = image[5:9, 10:18]
    wanted[4, 2] = (124, 116, 104)
    np.testing.assert_array_equal(cut_out(image, bits), wanted)


def test_what_knows_everything_scores_one_and_half_masks_score_half() -> None:
    found = synthetic.evaluate(Knowing(), counts=FEW)["merged"]  # type: ignore[arg-type]
    wrong = {name for name in found if name.startswith("absent")}
    assert len(wrong) == 5
    assert all(value == (name not in wrong) for name, value in found.items())
    spoilt = synthetic.evaluate(Knowing(spoil=True), counts=FEW)["merged"]  # type: ignore[arg-type]
    assert spoilt["classification top-1"] == 0
    assert spoilt["text-to-image recall@1"] == 1
    assert 0.3 < spoilt["box mIoU"] == spoilt["point mIoU"] < 0.7
    assert spoilt["box mAP"] < 0.3
    assert 0.2 < spoilt["semantic mIoU, both heads"] < 0.8
    assert spoilt["present name found, alone"] == 1
    assert 0.3 < spoilt["present name mIoU, alone"] == spoilt["present name mIoU, together"] < 0.7


def test_semantic_iou_by_hand() -> None:
    """Two scenes of 8 pixels; names 0 and 3 and the background, 80."""
    counted = Semantic(len(NAMES) + 1)
    counted.add(np.array([[0, 0, 80, 80]] * 2), np.array([[0, 80, 80, 80]] * 2))
    counted.add(np.array([[3, 3, 80, 80]] * 2), np.array([[3, 3, 3, 5]] * 2))
    # 0: 2 of 4. 3: 4 of 6. 5: 0 of 2, found where it is not. Background: 4 of 10.
    assert counted.mean == pytest.approx((2 / 4 + 4 / 6 + 0 + 4 / 10) / 4)
    assert len(NAMES) == 80


def test_average_precision_by_hand() -> None:
    """Two things on an image, one found, one not: precision 1 up to a recall of 1/2, which is 51 of 101 points."""
    left, right = np.zeros((2, 20, 20), bool)
    left[:, :8], right[5:, 10:] = True, True
    exact, nothing = Mask(encode_rle(left), 0.9), Mask(encode_rle(np.zeros_like(left)), 0.8)
    assert average_precision([[left, right]], [[exact, nothing]]) == pytest.approx(51 / 101)


def test_the_command_measures_a_bundle_and_its_teachers(
    run: Callable[..., Ran], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "Counts", lambda: replace(FEW, named=2))
    ran = run("eval", "synthetic", "--bundle", tiny_folder, "--clip", tiny_folder, "--sam", tiny_folder, "--json")
    assert ran.code == 0
    assert list(ran.json["measures"]) == ["merged", "CLIP teacher", "SAM teacher", "SAM + CLIP"]
    assert all(0 <= value <= 1 for found in ran.json["measures"].values() for value in found.values())
    assert sum("unnamed" in name for name in ran.json["measures"]["merged"]) == 2


def test_what_cannot_be_measured_is_named(run: Callable[..., Ran], vocabulary_folder: Path, tiny_folder: Path) -> None:
    for arguments, said in ((("synthetic", "--bundle", vocabulary_folder), "vocabulary"), (("kitti",), "kitti")):
        ran = run("eval", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
