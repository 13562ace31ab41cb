"""`Scene.name` names masks from wherever they are as `everything` names its own."""

from __future__ import annotations

import re

import numpy as np
import pytest

from samclip_edge import Mask, SamClip, Scene, data
from samclip_edge.errors import InputError
from samclip_edge.photo.masks import encode_rle
from samclip_edge.tasks.everything import Settings

NAMES = ["cat", "cup", "table"]
SETTINGS = Settings(3, predicted_iou=-99, stability=0.0, overlap=1.0)


@pytest.fixture(scope="module")
def scene(tiny: SamClip) -> Scene:
    return tiny.look(data.photos()[2], 128)


@pytest.fixture(scope="module")
def masks(scene: Scene) -> list[Mask]:
    """Masks without names."""
    return scene.everything(settings=SETTINGS)


@pytest.fixture(scope="module")
def named(scene: Scene) -> list[Mask]:
    """The same with names, by `everything`."""
    return scene.everything(NAMES, SETTINGS, min_score=0.0)


def test_masks_get_the_names_that_everything_gives_them(scene: Scene, masks: list[Mask], named: list[Mask]) -> None:
    assert len(masks) > 1
    assert None not in {mask.label for mask in named}
    assert scene.name(masks, NAMES, min_score=0.0) == named
    rivals = ["cup", "horse"]
    wanted = scene.everything(NAMES, SETTINGS, min_score=0.0, background=rivals)
    assert wanted != named
    assert scene.name(masks, NAMES, rivals, 0.0) == wanted
    assert scene.name([], NAMES) == []


def test_a_name_that_no_longer_fits_goes(scene: Scene, masks: list[Mask], named: list[Mask]) -> None:
    scores = sorted(mask.score or 0.0 for mask in named)
    least = (scores[0] + scores[-1]) / 2
    assert scores[0] < least < scores[-1]
    wanted = scene.everything(NAMES, SETTINGS, min_score=least)
    assert {mask.label is None for mask in wanted} == {True, False}
    assert scene.name(named, NAMES, min_score=least) == wanted
    assert scene.name(named, NAMES, min_score=1.0) == masks


def test_what_cannot_be_named_is_said(scene: Scene, masks: list[Mask]) -> None:
    other = Mask(encode_rle(np.ones((20, 30), bool)), None)
    for labels, background, least, given, message in (
        ("cat", ["background"], 0.5, masks, "labels: 'cat' is one string"),
        (["cat"], [""], 0.5, masks, "background: name 1 of 1 is empty"),
        (["cat"], ["background"], -1, masks, "min_score -1"),
        (["cat"], [], 0.5, [masks[0], other], "masks: mask 2 of 2 is of a photo of 30x20, this one is 600x400"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            scene.name(given, labels, background, least)
