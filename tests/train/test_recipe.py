"""Recipes: what is wrong is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import Ran

from samclip_edge.errors import InputError
from samclip_edge.train.recipe import FOLDER, read_recipe

GOOD = """\
preset: tiny
clip_data: {scenes: {first: 100, count: 50}}
sam_data: {scenes: {first: 100, count: 50}}
held_out: {scenes: {first: 0, count: 10}}
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
        ("rate: 1.0e-3\n    sam", "rats: 1.0e-3\n    sam", 12, "stages.1.rats: Extra inputs"),
        ("rate: 1.0e-3\n    clip", "rate: 3\n    clip", 8, "stages.0.rate: Input should be less than 1"),
        (
            "rate: 1.0e-3\n    clip",
            "rate: 1.0e-3\n    clip_gradient: 0\n    clip",
            9,
            "stages.0.clip_gradient: Input should be greater than 0",
        ),
        (
            "rate: 1.0e-3\n    clip",
            "rate: 1.0e-3\n    clip_gradient: .inf\n    clip",
            9,
            "stages.0.clip_gradient: Input should be a finite",
        ),
        ("images: 4}]", "images: 0}]", 9, "stages.0.clip.0.images: Input should be greater than 0"),
        ("preset: tiny", "preset: huge", 1, "preset: huge is none of vit_b, "),
        ("clip_data: {scenes: {first: 100", "clip_data: {scenes: {first: 5", 1, "held_out shares scenes"),
        (
            "clip_data: {scenes: {first: 100, count: 50}",
            "clip_data: {files: [x], scenes: {first: 100, count: 50}",
            2,
            "clip_data: give scenes or files",
        ),
        ("clip_data: {scenes: {first: 100, count: 50}}", "clip_data: {files: [x]}", 1, "teach_clip needs captions"),
        (
            "clip_data: {scenes",
            "clip_data: {images: 9, scenes",
            2,
            "clip_data: images is for files; scenes have a count",
        ),
        ("sam: {size: 128", "sam: {size: 64", 1, "size 64 is not one of tiny's"),
        ("    sam: {size: 128, images: 4}\n", "", 10, "stages.1: task teach_sam needs a sam batch"),
        (
            "    sam: {size: 128, images: 4}\n",
            "    sam: {size: 128, images: 4}\n    regions: 1\n",
            10,
            "stages that distil",
        ),
        (
            "    sam: {size: 128, images: 4}\n",
            "    sam: {size: 128, images: 4}\n  - {task: probe, steps: 5, rate: 1.0e-3, regions: 1,"
            " clip: [{size: 128, images: 4}], sam: {size: 128, images: 4}}\nstored: x\n",
            1,
            "leave out stored, or regions",
        ),
        (
            "    sam: {size: 128, images: 4}\n",
            "    sam: {size: 128, images: 4}\n    train_prompt_encoder: true\n",
            10,
            "train_prompt_encoder is for joint, not for teach_sam",
        ),
        (
            "    sam: {size: 128, images: 4}\n",
            "    sam: {size: 128, images: 4}\n    names: 1\n",
            10,
            "names are for stages that distil",
        ),
        ("steps: 10\n    rate: 1.0e-3\n    sam", "rate: 1.0e-3\n    sam", 10, "stages.1: give steps or epochs"),
        ("  - task: teach_sam", "  - task: adapt\n    clip: [{size: 128, images: 4}]", 1, "need a teach_sam stage"),
        ("held_out: {scenes: {first: 0, count: 10}}\n", "", 1, "held_out: Field required"),
        ("stages:\n", "stages: [\n", 6, "not YAML"),
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


@pytest.mark.parametrize(
    ("key", "values"),
    {
        "stages.1.steps": ["1000000000000"],
        "stages.1.epochs": [".inf", ".nan", "1e300"],
        "stages.1.weight_decay": [".inf", ".nan", "1e300"],
        "stages.1.betas": ["[1, 1]", "[0.9, .nan]"],
        "stages.1.warmup": ["1000000000000"],
        "stages.1.names": [".inf"],
        "stages.1.sam_weight": [".inf", ".nan"],
        "stages.1.sam": ["{size: 128, images: 1000000000000}", "{size: 128, images: 4, things: 1000000}"],
        "seed": ["18446744073709551616"],
        "workers": ["1000000"],
    }.items(),
)
def test_numbers_that_no_run_has_are_refused_by_their_name(tmp_path: Path, key: str, values: list[str]) -> None:
    place, name = tmp_path / "recipe.yaml", key.rpartition(".")[2]
    for value in values:
        place.write_text(GOOD + f"{'    ' if '.' in key else ''}{name}: {value}\n")
        with pytest.raises(InputError, match=rf"yaml:\d+: {key}.*: Input should be ") as error:
            read_recipe(str(place))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 5_000,
        b"{a: " * 5_000,
        b"preset: caf\xe9",
        b"preset: \x00",
        b"seed: 2001-99-99",
        b"seed: !!int ''",
        b"seed: !!bool maybe",
        b"seed: " + b"9" * 10_000,
        b"\xff\xfe\x00",
    ],
    ids=lambda text: text[:30],
)
def test_bytes_that_are_no_recipe_are_refused_in_one_line(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text)
    with pytest.raises(InputError) as error:
        read_recipe(str(path))
    assert str(error.value).startswith(f"{path}:")
    assert "\n" not in str(error.value)


def test_a_recipe_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD, "utf-8")
    wanted = read_recipe(str(path))
    for coding in ("utf-8-sig", "utf-16"):
        path.write_bytes(GOOD.replace("\n", "\r\n").encode(coding))
        assert read_recipe(str(path)) == wanted


def test_an_empty_name_of_a_file_is_refused(tmp_path: Path) -> None:
    """It would stand for the folder that one is in."""
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD.replace("sam_data: {scenes: {first: 100, count: 50}}", "sam_data: {files: ['']}"))
    with pytest.raises(InputError, match=r"sam_data\.files\.0: String should have at least 1 character"):
        read_recipe(str(path))


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    """Sec. 4.1 and Appendix A."""
    recipe = read_recipe("paper")
    _, joint, adapt = recipe.stages
    assert (recipe.preset, recipe.ema) == ("vit_b", 0)
    assert recipe.clip_teacher == "ViT-L-14:datacomp_xl_s13b_b90k"
    assert [stage.task for stage in recipe.stages] == ["probe", "joint", "adapt"]
    assert [stage.epochs for stage in recipe.stages] == [20, 20, 3]
    assert joint.epochs is not None
    assert joint.stop_after * joint.epochs == 16
    assert [stage.rate for stage in recipe.stages] == [8e-4, 4e-5, 8e-4]
    assert (joint.slower, joint.sam_weight, joint.masks) == (0.1, 10, 32)
    assert not joint.train_prompt_encoder  # Sec. 3
    assert joint.sam is not None
    assert (joint.sam.size, joint.sam.images) == (1024, 32)
    assert joint.clip[0].model_dump(include={"size", "images"}) == {"size": 224, "images": 2048}
    assert [batch.size for batch in joint.clip] == [224, 448]
    assert [batch.size for batch in adapt.clip] == [224, 448, 1024]
    for stage in recipe.stages:  # the sampler of CVNets keeps the pixels of a batch
        assert len({batch.size**2 * batch.images for batch in stage.clip if batch.size < 1024}) == 1
    assert joint.all_steps(40_600_000, 1) == pytest.approx(20 * 40_600_000 / 1280, rel=1e-3)


def test_where_a_stage_starts() -> None:
    recipe = read_recipe("tiny")
    tasks = [stage.task for stage in recipe.stages]
    assert tasks == [
        "teach_clip", "teach_clip", "teach_sam", "teach_sam", "probe", "distill", "joint", "joint", "adapt", "adapt"
    ]  # fmt: skip
    before = [recipe.before(index, task) for index, task in enumerate(tasks)]
    assert before == [None, 0, None, 2, None, 4, 4, 6, 7, 8]


def test_the_command_names_a_bad_recipe(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("train", "--recipe", "no-such", "-o", tmp_path / "run")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "--recipe no-such" in ran.err
    assert not (tmp_path / "run").exists()
