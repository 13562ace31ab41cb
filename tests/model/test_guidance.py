"""Guidance maps, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.model.guidance import MAPS, Guidance, Prior
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
    told = drawn.guidance.out(drawn.guidance.hidden(drawn.guidance.maps(points, labels, 4, 4)).relu())
    assert torch.allclose(dense[:, :240] - shared[:, :240], told, atol=1e-5)
    assert torch.equal(dense[:, 240:], drawn.guidance.bounds(points, labels, 4, 4))


def test_the_bounds_of_a_box() -> None:
    """In eighths of how many low-res pixels, of 4 x 4 input pixels, their middles lie within the box."""
    bounds = 8 * Guidance(8).bounds(*BOX, 4, 4)[0]
    assert bounds[:, 1, 0].tolist() == [
        *(-1.5, -0.5, 0.5, 0.5),  # two pixels left of the box, then in it, half a pixel from the upper edge
        *(-1.5, -0.5, 0.5, 1.5),
        *(-1.5, -0.5, 0.5, 1.5),
        *(-1.5, -0.5, 0.5, 0.5),
    ]
    assert bounds[15, 3, 3].item() == -7.5, "as far below the box"
    assert Guidance(8).bounds(*BOX, 8, 8)[0, :, 7, 7].tolist() == 16 * [-1], "farther than is told"
    assert (Guidance(8).bounds(*CLICK, 4, 4) == 1).all(), "no box"


def masks_of(box: list[float], logits: float) -> torch.Tensor:
    """The mask, at the size of the input, of a model that answers each low-res pixel with the same logit."""
    points = torch.tensor(box).reshape(1, 2, 2)
    prior = Prior()
    torch.nn.init.zeros_(prior.map.weight)
    assert prior.map.bias is not None
    torch.nn.init.zeros_(prior.map.bias)
    dense = Guidance(8)(torch.zeros(1, 256, 4, 4), points, CORNERS)
    low_res = prior(torch.full((1, 4, 16, 16), logits), dense)
    assert torch.equal(low_res[:, 0], low_res[:, 3])
    return torch.nn.functional.interpolate(low_res, size=(64, 64), mode="bilinear", align_corners=False)[0, 0] > 0


@pytest.mark.parametrize("box", [(8, 16, 40, 32), (13, 22, 51, 47), (0, 0, 64, 64), (30, 5, 41, 60), (8, 9, 62, 62)])
def test_a_mask_keeps_to_its_box(box: tuple[int, int, int, int]) -> None:
    """A model that calls all of it mask answers with the box, but for a pixel or two at its corners."""
    x0, y0, x1, y1 = box
    wanted = torch.zeros(64, 64, dtype=torch.bool)
    wanted[y0:y1, x0:x1] = True
    mask = masks_of(list(map(float, box)), 20.0)
    assert not (mask & ~wanted).any()
    missed = wanted & ~mask
    assert missed.sum() <= 12
    rows, columns = missed.nonzero().T
    assert ((rows - y0 < 3) | (y1 - rows <= 3)).all()
    assert ((columns - x0 < 3) | (x1 - columns <= 3)).all()
    assert not masks_of(list(map(float, box)), -20.0).any(), "and where it sees no mask there is none"


@pytest.mark.parametrize("box", [(21, 30, 24, 35), (33, 10, 34, 12), (2, 2, 60, 7)])
def test_a_box_thinner_than_low_res_pixels_show_is_its_own_mask(box: tuple[int, int, int, int]) -> None:
    """And 4.8 pixels wide at least, for the mask of a pixel is no smaller; whatever the model says."""
    x0, y0, x1, y1 = box
    mask = masks_of(list(map(float, box)), -20.0)
    assert torch.equal(mask, masks_of(list(map(float, box)), 20.0))
    rows, columns = mask.nonzero().T
    for (low, high), cells in (((x0, x1), columns), ((y0, y1), rows)):
        middle, half = (low + high) / 2, max(high - low, 4.8) / 2
        first, last = cells.min().item(), cells.max().item() + 1
        assert first >= middle - half - 1
        assert last <= middle + half + 1
        assert first <= middle <= last
    inside = mask[y0:y1, x0:x1]
    assert inside.float().mean() > 0.5, "most of the box"


def test_masks_begin_as_a_linear_map_of_dense_and_rise_from_the_edge_of_the_box() -> None:
    prior = Prior()
    with torch.no_grad():
        prior.map.weight.zero_()
        prior.map.weight[7, 0, 1, 2] = 3.0
        prior.map.bias.fill_(0.5)
    dense = torch.zeros(1, 256, 1, 1)
    dense[:, 7] = 2.0
    dense[:, 240:] = torch.tensor([1.0, 0.125, -0.25, *13 * [1.0]])[None, :, None, None]  # 8, 1 and -2 low-res pixels
    masks = prior(torch.full((1, 4, 4, 4), 20.0), dense)
    wanted = torch.full((4, 4), 20.5)
    wanted[1, 2] += 6
    wanted[0, 1:3] = torch.tensor([8.0, -16.0])
    assert torch.equal(masks, wanted.expand(1, 4, 4, 4))
