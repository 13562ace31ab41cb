"""Input sizes: what is one, how maps lie over an input that is no square, and how photos go into it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sizes import of_sides, sides
from samclip_edge.model.clip_head import halved
from samclip_edge.photo.frame import Frame


@pytest.mark.parametrize(
    ("given", "height", "width", "size"),
    [(528, 528, 528, 528), ("512", 512, 512, 512), ("1024x576", 576, 1024, "1024x576"), ("64x64", 64, 64, 64)],
)
def test_a_size_is_a_number_or_width_and_height(given: int | str, height: int, width: int, size: int | str) -> None:
    assert sides(given) == (height, width)
    assert of_sides(height, width) == size


@pytest.mark.parametrize("given", [0, -16, 100, 128.5, "128x", "x128", "128X256", "100x128", "128x128x128", "", "S"])
def test_anything_else_is_none(given: int | str) -> None:
    with pytest.raises(ValueError, match=r"size|neither"):
        sides(given)


def test_patch_features_are_as_many_as_tokens_up_to_32_then_half_rounded_up() -> None:
    spec = PRESETS["vit_b"]
    grids = {224: (14, 14), 512: (32, 32), 528: (17, 17), "1024x576": (18, 32), "512x384": (24, 32), "528x240": (8, 17)}
    assert {size: spec.feature_grid(size) for size in grids} == grids


def test_what_may_be_exported_ends_at_1024_and_begins_where_the_base_does() -> None:
    vit_b, tiny = PRESETS["vit_b"], PRESETS["tiny"]
    assert [size for size in (208, 224, 1024, 1040, "1024x208", "1024x224") if vit_b.takes(size)] == [
        224,
        1024,
        "1024x224",
    ]
    assert [size for size in (48, 64, "64x1024", "64x48") if tiny.takes(size)] == [64, "64x1024"]


def test_an_odd_edge_is_averaged_over_what_is_there() -> None:
    """As torch's own pooling does, asked to round up and to leave the padding out; engines differ in that."""
    for shape in ((1, 3, 5, 7), (2, 1, 4, 5), (1, 2, 3, 4), (1, 1, 2, 2)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        wanted = torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        torch.testing.assert_close(halved(x), wanted)


def test_a_photo_of_the_shape_of_the_input_has_no_padding() -> None:
    frame = Frame(1080, 1920, "1024x576")
    assert frame.scaled == (576, 1024)
    assert frame.to_model([[1919, 1079]]) == pytest.approx(np.array([[1023.47, 575.47]]), abs=0.01)


def test_a_photo_of_another_shape_is_padded_on_one_side() -> None:
    assert Frame(100, 100, "1024x576").scaled == (576, 576)
    assert Frame(100, 800, "1024x576").scaled == (128, 1024)
    image = Frame(2, 4, "64x48").image(np.full((2, 4, 3), 7, np.uint8))
    assert image.shape == (1, 3, 48, 64)
    assert (image[0, :, :32] == 7).all()
    for channel, mean in zip(image[0, :, 32:], (123.675, 116.28, 103.53), strict=True):
        assert channel == pytest.approx(np.full((16, 64), mean))


def test_a_mask_comes_back_over_the_photo_from_an_input_that_is_no_square() -> None:
    """Logits that rise from -1 to 1 along x, halved in the middle: so is the photo, whatever lies below it."""
    logits = np.tile(np.linspace(-1, 1, 32, dtype=np.float32), (16, 1))  # of an input of 64 x 128 pixels
    frame = Frame(50, 200, "128x64")
    mask = frame.to_photo(logits) > 0
    assert mask.shape == (50, 200)
    assert not mask[:, :100].any()
    assert mask[:, 100:].all()


def test_cells_of_an_odd_map_are_as_large_as_those_of_an_even_one() -> None:
    """Of 33 tokens a side, 17 features: each of 32 pixels, so the last reaches half over the border."""
    frame = Frame(528, 528, 528)
    assert frame.cell((17, 17)) == 32
    assert frame.cells((17, 17)) == (17, 17)  # the photo ends at the last centre
    assert Frame(50, 100, 592).cells((19, 19)) == (9, 19)  # of 296 rows; the tenth centre lies at 304
    mask = np.zeros((528, 528), bool)
    mask[512:, :16] = True
    covered = frame.coverage(mask, (17, 17))
    assert covered[16, 0] == pytest.approx(0.25)
    assert np.count_nonzero(covered) == 1
    low = frame.enlarge(np.arange(17, dtype=np.float32)[None].repeat(17, 0))
    assert low.shape == (132, 132)
    # The centre of cell 8 is at 8.5 * 32 = 272 model pixels, between low-res pixels 67 and 68.
    assert (low[0, 67] + low[0, 68]) / 2 == pytest.approx(8)
