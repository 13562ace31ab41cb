"""Prompts as detectors, trackers and people give them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samclip_edge import SamClip, Scene, data
from samclip_edge.errors import InputError

PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400


@pytest.fixture(scope="module")
def scene(tiny: SamClip) -> Scene:
    return tiny.look(PHOTO, size=128)


def test_a_box_over_the_border_is_cut_off_there(scene: Scene) -> None:
    (over,), (cut,) = scene.segment(boxes=[-0.4, 10, 600.7, 420]), scene.segment(boxes=[0, 10, 600, 400])
    assert over == cut
    for outside in ([600, 0, 700, 400], [-9, 0, 0, 400], [0, 400, 9, 500]):
        with pytest.raises(InputError, match="does not meet the photo"):
            scene.segment(boxes=outside)


def test_a_point_on_the_border_by_rounding_is_inside(scene: Scene) -> None:
    for point, inside in (((600, 400), (600, 400)), ((600.4, -0.3), (600, 0))):
        assert scene.segment(points=[point]) == scene.segment(points=[inside])
    with pytest.raises(InputError, match="outside the photo"):
        scene.segment(points=[[600.6, 10]])


def test_no_prompts_have_no_masks(scene: Scene) -> None:
    for prompts in ({"boxes": np.zeros((0, 4))}, {"boxes": []}, {"points": np.zeros((0, 1, 2))}):
        assert scene.segment(**prompts) == []
        assert scene.segment_all(**prompts) == []
    assert scene.segment(mask=np.zeros((0, *scene.frame.low_res))) == []
    with pytest.raises(InputError, match=r"for \[0, 1\] prompts"):
        scene.segment(boxes=[], points=[[1, 1]])


def test_prompts_are_any_arrays(scene: Scene) -> None:
    wanted = scene.segment(points=[[100, 200]], labels=[1])
    gradient = torch.tensor([[100.0, 200.0]], requires_grad=True)
    for points in (gradient, np.array([[100, 200]], np.int32), ((100, 200),)):
        assert scene.segment(points=points, labels=torch.ones(1)) == wanted
