"""Stored answers: an image that was broken when they were made is skipped; a shard that is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from samclip_edge.errors import InputError
from samclip_edge.train.data.batches import ClipSteps, SamSteps
from samclip_edge.train.data.files import BrokenSample
from samclip_edge.train.data.sources import Source
from samclip_edge.train.data.stored import Stored, clip_shard, fingerprint, sam_shard
from samclip_edge.train.recipe import Batch, Recipe, read_recipe

SHAPE = Batch(size=128, images=3)


@pytest.fixture
def recipe(recipe: Path) -> Recipe:
    return read_recipe(str(recipe))


@pytest.fixture
def stored(tmp_path: Path, recipe: Recipe) -> Stored:
    """The answers for three images, of which the second was broken."""
    (tmp_path / "stored.json").write_text(json.dumps(fingerprint(recipe)))
    features = np.ones((3, 1, 4), np.float32) * np.array([1, 0, 3], np.float32).reshape(3, 1, 1)
    np.save(clip_shard(tmp_path, SHAPE, 0), features)
    answers = {f"{image}-0.{name}": np.full((2, 1, 4), image) for image in (0, 2) for name in ("logits", "scores")}
    np.savez(sam_shard(tmp_path, SHAPE, 0), **answers)  # type: ignore[arg-type]
    return Stored(tmp_path, recipe)


def test_an_image_without_answers_is_a_broken_sample(stored: Stored) -> None:
    assert stored.features(SHAPE, 2, 0).tolist() == [3, 3, 3, 3]
    assert stored.masks(SHAPE, 2, 0)[0].max() == 2
    for ask in (stored.features, stored.masks):
        with pytest.raises(BrokenSample, match="holds no answer for image 1"):
            ask(SHAPE, 1, 0)


def test_a_batch_takes_another_image_in_its_place(stored: Stored, recipe: Recipe) -> None:
    data = recipe.clip_data.model_copy(update={"scenes": recipe.clip_data.scenes.model_copy(update={"count": 3})})  # type: ignore[union-attr]
    source = Source(data.model_copy(update={"variants": 1}), 0, annotated=True, cache=Path("/nowhere"))
    (images,) = ClipSteps(source, [SHAPE], range(1), (0, 1), 1, stored)[0]
    assert images.features is not None
    assert (len(images.pixels), len(images.features), len(images.skipped)) == (3, 3, 1)
    assert images.features.all()
    (masks,) = SamSteps(1, source, [SHAPE], range(1), (0, 1), 1, stored)[0]
    assert masks.logits is not None
    assert (len(masks.pixels), masks.logits.shape[1], len(masks.skipped)) == (3, 3, 1)


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_damaged_shard_is_named(stored: Stored, keep: int) -> None:
    for path in (clip_shard(stored.folder, SHAPE, 0), sam_shard(stored.folder, SHAPE, 0)):
        path.write_bytes(path.read_bytes()[:keep])
    if keep < 128:  # what follows are the numbers, which are only mapped
        with pytest.raises(InputError, match="missing or damaged"):
            stored.features(SHAPE, 0, 0)
    with pytest.raises(InputError, match="missing or damaged"):
        stored.masks(SHAPE, 0, 0)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{}", "\xe9"])
def test_a_folder_that_holds_no_answers_is_refused(stored: Stored, recipe: Recipe, text: str) -> None:
    (stored.folder / "stored.json").write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"train reinforce"):
        Stored(stored.folder, recipe)
