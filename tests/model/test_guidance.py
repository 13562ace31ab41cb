"""Guidance maps, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.model.guidance import MAPS, Guidance
from samclip_edge.model.merged import MergedModel, random_init
from samclip_edge.model.prompt_encoder import PromptEncoder

CORNERS = torch.tensor([[2.0, 3.0]])
# A box from x 8 to 40 and y 16 to 32 of a square of 64: cells are 16 pixels, so 0.5 to 2.5 across and 1 to 2 down.
BOX = torch.tensor([[[8.0, 16.0], [40.0, 32.0]]]), CORNERS
# A click in the middle of the cell in row 1, column 2, and nothing.
CLICK = torch.tensor([[[40.0, 24.0], [0.0, 0.0]]]), torch.tensor([[1.0, -1.0]])


def test_the_maps_of_a_box() -> None:
    maps = Guidance(8).maps(*BOX, 4, 4)[0]
    assert maps.shape == (MAPS, 4, 4)
    # In row 1, column 0, whose middle lies at 0.5, 1.5: on the left edge, 2 cells from the right one, half down.
    wanted = [1, 0, 1, 0, 0.5, (1 - 3) / 2, 2 / 4, 0.5, 0.5, 0.125, 0.125, 0, 1 / 4]
    assert maps[:13, 1, 0].tolist() == wanted
    # In row 3, column 3, at 3.5, 3.5: a cell right of the box, and one and a half below it.
    wanted = [1, 1, -1, 0.75, -0.25, 2, 0.5, 1, -1, 0.625, -0.375, 2, 0.25]
    assert maps[:13, 3, 3].tolist() == wanted
    assert not maps[29:].any(), "no points"


def test_how_much_of_low_res_pixels_a_box_covers() -> None:
    covered = Guidance(8).maps(*BOX, 4, 4)[0, 13:29]
    assert covered[:, 1, 0].tolist() == 4 * [0, 0, 1, 1], "the right half of the cell"
    assert covered[:, 1, 1].tolist() == 16 * [1]
    assert not covered[:, 0].any()
    # From 2 to 6 across and 0 to 2 down: half across of two pixels of 4 x 4, and half down.
    covered = Guidance(8).maps(torch.tensor([[[2.0, 0.0], [6.0, 2.0]]]), CORNERS, 1, 1)[0, 13:29]
    assert covered[:, 0, 0].tolist() == [0.25, 0.25, *14 * [0]]


def test_the_spots_of_points() -> None:
    maps = Guidance(8).maps(*CLICK, 4, 4)[0]
    assert not maps[:29].any(), "no box"
    assert maps[29:32, 1, 2].tolist() == [1, 1, 1]
    assert maps[29:32, 2, 3].tolist() == pytest.approx([0, (2 / 3) ** 2, (7 / 8) ** 2]), "a cell down and one across"
    assert maps[29:32, 1, 0].tolist() == pytest.approx([0, 1 / 3, 6 / 8]), "two cells across"
    assert not maps[32:].any(), "no background points"
    points, labels = torch.cat([CLICK[0], CLICK[0][:, :1]], dim=1), torch.tensor([[0.0, -1.0, 1.0]])
    both = Guidance(8).maps(points, labels, 4, 4)[0]
    assert torch.equal(both[29:32], maps[29:32])
    assert torch.equal(both[32:], maps[29:32])


def test_a_prompt_without_points_has_no_maps() -> None:
    assert not Guidance(8).maps(torch.zeros(2, 0, 2), torch.zeros(2, 0), 4, 4).any()


def test_what_is_drawn_is_added_to_dense_of_each_prompt() -> None:
    model = MergedModel(PRESETS["tiny"].model_copy(update={"guidance": 8}))
    random_init(model, 0)
    drawn, without = model.prompt_encoder, PromptEncoder()
    without.load_state_dict({k: v for k, v in drawn.state_dict().items() if not k.startswith("guidance.")})
    points, labels = (torch.cat(pair) for pair in zip(BOX, CLICK, strict=True))
    rest = torch.randn(1, 1, 16, 16), torch.ones(1)
    sparse, dense = drawn(points, labels, *rest)
    wanted, shared = without(points, labels, *rest)
    assert torch.equal(sparse, wanted)
    assert (shared.shape, dense.shape) == ((1, 256, 4, 4), (2, 256, 4, 4))
    assert drawn.guidance is not None
    assert torch.allclose(dense - shared, drawn.guidance(points, labels, 4, 4), atol=1e-5)
