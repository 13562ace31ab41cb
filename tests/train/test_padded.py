"""Whole photos, padded as inference pads them, and what of a batch goes to the device."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from samclip_edge.bundle.spec import PIXEL_MEAN
from samclip_edge.photo.frame import Frame
from samclip_edge.train.data.batches import ClipSteps, Images, Masks
from samclip_edge.train.data.loading import on_device
from samclip_edge.train.data.sources import Source, View
from samclip_edge.train.recipe import Batch, Data, Recipe, read_recipe
from samclip_edge.train.stages import clip_loss

PADDED = Batch(size=128, images=2, padded=True)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 60 x 90 pixels."""
    pixels = np.random.RandomState(0).randint(0, 255, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def batch(photo: Path, shape: Batch) -> Images:
    source = Source(Data(files=(str(photo),)), 0, False, photo.parent)
    (made,) = ClipSteps(source, [shape], range(1), (0, 1), 1, None, View(64, "shortest", True))[0]
    return made


def test_a_padded_photo_lies_as_frame_lays_it(photo: Path) -> None:
    """All of it, not mirrored, at the top left: 85 x 128 pixels of 128 x 128. Padding is rounded to whole numbers."""
    pixels = np.asarray(Image.open(photo))
    wanted = Frame.of(pixels, 128).image(pixels)[0]
    for got in batch(photo, PADDED).pixels:
        assert torch.equal(got[:, :85].float(), torch.from_numpy(wanted[:, :85]))
        assert got[:, 85:].flatten(1).unique(dim=1).flatten().tolist() == [round(value) for value in PIXEL_MEAN]


def test_the_clip_teacher_sees_the_photo_as_open_clip_shows_it(photo: Path) -> None:
    """Without the padding: open_clip's transform, before it normalises."""
    transform = open_clip.image_transform(64, is_train=False, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    wanted = 255 * transform(Image.open(photo))
    shown = batch(photo, PADDED).shown
    assert shown is not None
    torch.testing.assert_close(shown[0].float(), wanted)
    assert batch(photo, PADDED.model_copy(update={"padded": False})).shown is None


def test_eq_1_compares_the_padded_photo_with_the_one_that_is_not() -> None:
    seen: list[torch.Tensor] = []

    def teacher(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels)
        return torch.ones(1, 4)

    model: Any = SimpleNamespace(
        image_encoder=SimpleNamespace(tokens=lambda pixels: pixels),
        clip_head=SimpleNamespace(image_features=lambda tokens, left_out: torch.ones(1, 4)),
    )
    pixels, shown = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 8, 8)
    clip_loss(model, teacher, Images(pixels, [""], [""], None, [0], [], shown), 1.0)  # type: ignore[arg-type]
    clip_loss(model, teacher, Images(pixels, [""], [""], None, [0], []), 1.0)  # type: ignore[arg-type]
    assert seen[0] is shown
    assert seen[1] is pixels


def test_pixels_become_floats_on_the_device_and_masks_stay_where_no_loss_reads_them() -> None:
    """torch's device `meta` stands for one, as it keeps no values."""
    meta = torch.device("meta")
    pixels, bits = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8, dtype=torch.bool)
    points = torch.zeros(1, 3, 2)
    masks = Masks(pixels, torch.tensor([0]), bits, points, points[..., 0], None, None, [], [])
    there = {reads: on_device(masks, meta, reads) for reads in (True, False)}
    assert {name: part.device.type for name, part in there[True]._asdict().items() if hasattr(part, "device")} == (
        dict.fromkeys(("pixels", "owner", "masks", "points", "labels"), "meta")
    )
    assert there[False].masks is bits
    assert there[False].points.device.type == "meta"
    images = on_device(Images(pixels, [""], [""], None, [0], [], pixels), meta)
    assert {part.dtype for part in (there[True].pixels, images.pixels, images.shown)} == {torch.float32}
    assert there[True].masks.dtype == torch.bool
    assert on_device(None, meta) is None


def test_the_last_stage_of_the_papers_recipes_shows_padded_photos() -> None:
    for name in ("paper", "one-gpu", "mobile-one-gpu"):
        recipe = read_recipe(name)
        assert {stage.task for stage in recipe.stages for shape in stage.clip if shape.padded} == {"adapt"}
        assert recipe.clip_data.images


def test_stored_answers_are_about_crops() -> None:
    recipe = read_recipe("paper").model_dump(mode="json") | {"stored": "folder"}
    with pytest.raises(ValueError, match="stored answers are about crops; leave out stored, or padded"):
        Recipe.model_validate(recipe)
