"""Recipes: what is wrong is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from samclip_edge.train.recipe import FOLDER, read_recipe
from support import Ran

from samclip_edge.errors import InputError

GOOD = """\
preset: tiny
scenes: {first: 100, count: 50}
held_out: {first: 0, count: 10}
stages:
  - task: teach_clip
    steps: 10
    rate: 1.0e-3
    clip: [{size: 128, images: 4}]
  - task: teach_sam
    steps: 10
    rate: 1.0e-3
    sam: {size: 128, images: 4}
"""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert read_recipe(path.stem) == read_recipe(str(path))


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("rate: 1.0e-3\n    sam", "rats: 1.0e-3\n    sam", 11, "stages.1.rats: Extra inputs"),
        ("rate: 1.0e-3\n    clip", "rate: 3\n    clip", 7, "stages.0.rate: Input should be less than 1"),
        ("images: 4}]", "images: 0}]", 8, "stages.0.clip.0.images: Input should be greater than 0"),
        ("preset: tiny", "preset: huge", 1, "preset: Input should be 'tiny' or 'vit_b'"),
        ("first: 100", "first: 5", 1, "scenes and held_out share seeds"),
        ("sam: {size: 128", "sam: {size: 64", 1, "size 64 is not one of tiny's"),
        ("    sam: {size: 128, images: 4}\n", "", 9, "task teach_sam needs a sam batch"),
        ("held_out: {first: 0, count: 10}\n", "", 1, "held_out: Field required"),
        ("stages:\n", "stages: [\n", 5, "not YAML"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD)
    read_recipe(str(path))
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError) as error:
        read_recipe(str(path))
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert said in str(error.value)


def test_the_command_names_a_bad_recipe(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("train", "--recipe", "no-such", "-o", tmp_path / "run")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "--recipe no-such" in ran.err
    assert not (tmp_path / "run").exists()
