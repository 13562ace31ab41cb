"""Weight decay leaves alone what it should; a step that is not finite changes nothing, and a few in a row end a run."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import lines, variation, weights
from timm.optim import param_groups_weight_decay

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError
from samclip_edge.model.merged import MergedModel
from samclip_edge.train.learner import Learner, by_decay
from samclip_edge.train.recipe import Recipe
from samclip_edge.train.state import VERSION, save_state
from samclip_edge.train.trainer import Trainer

TABLES = (  # by their names in SAM's and open_clip's weights, and in MobileSAM's
    *("*.pos_embed", "*.rel_pos_h", "*.rel_pos_w", "*.attention_biases"),
    *("*.point_embeddings.*", "*.not_a_point_embed.*", "*.no_mask_embed.*", "*.iou_token.*", "*.mask_tokens.*"),
    *("*.positional_embedding", "*.token_embedding.*"),
)


@pytest.mark.parametrize("preset", ["tiny", "vit_b", "mobile"])
def test_weight_decay_leaves_alone_what_timm_leaves_alone(preset: str) -> None:
    """timm's rule is MAE's: nothing of one dimension, no biases, and no tables, which it has to be told by name."""
    with torch.device("meta"):
        model = MergedModel(PRESETS[preset])
    left, shrunk = param_groups_weight_decay(model, 0.1, no_weight_decay_list=TABLES)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ours, theirs = (
        [{names[id(each)] for each in group} for group in groups]
        for groups in (by_decay(model), (shrunk["params"], left["params"]))
    )
    assert ours == theirs
    assert "text_encoder.text_projection" in ours[0]
    assert "text_encoder.logit_scale" in ours[1]


def learner(recipe: Recipe, index: int) -> Learner:
    model = MergedModel(PRESETS["tiny"])
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return Learner(model, recipe.stages[index], recipe)


@pytest.fixture
def recipe_of(whole: Path) -> Recipe:
    return Recipe.model_validate_json((whole / "recipe.json").read_text()).model_copy(update={"ema": 0.5})


def test_a_step_without_gradients_shrinks_matrices_by_rate_times_decay(recipe_of: Recipe) -> None:
    """AdamW moves nothing then, but for decay: by 0.01 * 0.1 in the CLIP head, and a tenth of it in the backbone."""
    made = learner(recipe_of, 4)
    before = {name: tensor.clone() for name, tensor in made.model.named_parameters()}
    made.begin(0.01)
    for parameter in made.model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    made.take({})
    kept = {"clip_head.mlp.layers.0.weight": 0.999, "image_encoder.blocks.0.mlp.lin1.weight": 0.9999}
    kept |= dict.fromkeys(("clip_head.mlp.layers.0.bias", "clip_head.norm.weight", "image_encoder.pos_embed"), 1.0)
    after = dict(made.model.named_parameters())
    for name, share in kept.items():
        torch.testing.assert_close(after[name], share * before[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(recipe_of: Recipe, where: str) -> None:
    """Not even the statistics of BatchNorm, which the forward pass of such a step has spoilt by then."""
    one, two = (learner(recipe_of, 0) for _ in range(2))
    for made in (one, two):
        for step in range(3):
            if step == 1 and made is two:
                continue
            made.begin(0.01)
            bad = torch.inf if step == 1 else 1.0
            for number, parameter in enumerate(made.model.parameters()):
                if parameter.requires_grad:
                    parameter.grad = torch.full_like(parameter, 1.0 + number % 7)
                    if where == "gradient" and number == 9:
                        parameter.grad *= bad
            for buffer in made.model.buffers():
                if buffer.is_floating_point():
                    buffer += bad
            made.take({"clip": torch.tensor(bad if where == "loss" else 1.0)})
    assert (one.step, one.skipped, one.in_a_row) == (3, 1, 0)
    states = [made.state() for made in (one, two)]
    for key in ("model", "optimizer", "average"):
        torch.testing.assert_close(states[0][key], states[1][key], rtol=0, atol=0)


def poisoned(run: Trainer, steps: set[int], stop: int | None = None) -> Trainer:
    """A run of a teacher whose images are no numbers in some steps, and which is stopped after one of them."""
    batches = run.batches

    def spoilt(stage, which, *rest):  # type: ignore[no-untyped-def]
        for step, parts in zip(which, batches(stage, which, *rest), strict=True):
            for clip, _ in parts:
                clip.pixels.mul_(torch.nan if step + 1 in steps else 1)
            yield parts

    def report(stage: str, step: int, steps: int) -> None:
        if step == stop:
            raise KeyboardInterrupt

    run.batches, run.report = spoilt, report  # type: ignore[method-assign]
    return run


@pytest.fixture
def one_stage(whole: Path) -> dict[str, object]:
    stages = Recipe.model_validate_json((whole / "recipe.json").read_text()).stages
    return {"stages": (stages[0].model_copy(update={"steps": 9}),), "ema": 0.5}


def test_skipped_steps_are_counted_and_a_stopped_run_goes_on_over_them(
    whole: Path, one_stage: dict[str, object]
) -> None:
    through = poisoned(variation(whole, "through", one_stage, stages=0), {2, 4, 5, 6, 7})
    end = through.train()
    stopped = poisoned(variation(whole, "stopped", one_stage, stages=0), {2, 4, 5, 6, 7}, stop=7)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    again = poisoned(Trainer(stopped.recipe, stopped.folder), {2, 4, 5, 6, 7})
    ours, theirs = weights(again.train()), weights(end)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(tensor.isfinite().all() for tensor in theirs.values())
    assert lines(stopped.folder) == lines(through.folder)
    told = [entry.get("skipped steps") for entry in lines(through.folder) if "rate" in entry]
    assert told == [None, 1, None, 2, 3, 4, 5, None, None]
    assert lines(through.folder)[-1]["measured"]["skipped steps"] == 5


def test_five_skipped_steps_in_a_row_end_a_run_also_where_it_was_stopped_between(
    whole: Path, one_stage: dict[str, object]
) -> None:
    run = poisoned(variation(whole, "lost", one_stage, stages=0), {4, 5, 6, 7, 8, 9}, stop=7)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    with pytest.raises(InputError) as error:
        poisoned(Trainer(run.recipe, run.folder), {4, 5, 6, 7, 8, 9}).train()
    said = str(error.value)
    assert said.startswith("stage 1 teach_clip, step 8: contrastive, gradient not finite in 5 steps in a row; choose a")
    assert "\n" not in said
    state = torch.load(run.folder / "state.pt", weights_only=True)
    assert (state["step"], state["in_a_row"]) == (6, 3)
    assert all(tensor.isfinite().all() for key in ("model", "average") for tensor in state[key].values())
    assert not run.finished(0).exists()
    assert "NaN" not in (run.folder / "metrics.jsonl").read_text()


def test_the_gradient_is_clipped_to_the_norm_of_the_recipe(recipe_of: Recipe) -> None:
    """AdamW's first moment is a tenth of the first gradient, of norm 0.25 then."""
    stages = tuple(stage.model_copy(update={"clip_gradient": 0.25}) for stage in recipe_of.stages)
    made = learner(recipe_of.model_copy(update={"stages": stages}), 2)
    made.begin(0.01)
    for parameter in made.model.clip_head.parameters():
        parameter.grad = torch.ones_like(parameter)
    count = sum(parameter.numel() for parameter in made.model.clip_head.parameters())
    assert made.take({})["gradient"] == pytest.approx(count**0.5, rel=1e-5)  # before it was clipped
    moments = [each["exp_avg"].square().sum() for each in made.optimizer.state.values()]
    assert sum(moments).sqrt().item() == pytest.approx(0.025, rel=1e-3)


@pytest.mark.parametrize("steps", [1, 9])
def test_weights_that_are_not_finite_are_not_saved(whole: Path, one_stage: dict[str, Any], steps: int) -> None:
    """Losses and gradients of the first step are finite; the weights that it leaves are not."""
    stages = (one_stage["stages"][0].model_copy(update={"steps": steps, "weight_decay": 1e300}),)
    run = variation(whole, f"decayed {steps}", {"stages": stages}, stages=0)
    with pytest.raises(
        InputError, match=r"^stage 1 teach_clip, step [12]: .* is not finite, so nothing is saved"
    ) as error:
        run.train()
    assert "\n" not in str(error.value)
    assert {path.name for path in run.folder.iterdir()} == {"recipe.json", "metrics.jsonl", "tensorboard"}
    assert "measured" not in (run.folder / "metrics.jsonl").read_text()


def states() -> dict[str, Any]:
    """What `state.pt` may hold that is none, or not that of its stage."""
    whole = {"version": VERSION, "stage": 3, "data": "{}", "average": None, "model": {}}
    whole |= dict.fromkeys(("step", "skipped", "in_a_row", "images", "seconds"), 1)
    whole["optimizer"] = {"state": {}, "param_groups": []}
    data = '{"clip": {"names": "", "shards": 1, "lanes": [[-1, 0, []]]}}'
    return {
        "list": [],
        "text": "state",
        "no keys": {"version": VERSION},
        "versions": whole | {"version": torch.tensor([VERSION, VERSION])},
        "no model": {name: each for name, each in whole.items() if name != "model"},
        "no steps": whole | {"step": None},
        "steps before the first": whole | {"step": -1},
        "no data": whole | {"data": "x"},
        "no place": whole | {"data": data},
        "another model": whole,
        "another optimizer": whole | {"optimizer": {}},
    }


@pytest.mark.parametrize("name", states())
def test_a_state_that_is_none_is_refused(whole: Path, name: str) -> None:
    run = variation(whole, f"none {name}", {})
    torch.save(states()[name], run.folder / "state.pt")
    with pytest.raises(InputError, match=r"state.pt: .*; remove it, and its stage begins anew$") as error:
        run.train()
    assert "\n" not in str(error.value)


def test_a_state_of_an_older_version_or_a_damaged_one_is_refused(whole: Path) -> None:
    """And `recipe.json` may lack the keys that are new since."""
    run = variation(whole, "older", {})
    told = json.loads((run.folder / "recipe.json").read_text())
    for stage in told["stages"]:
        del stage["clip_gradient"]
    (run.folder / "recipe.json").write_text(json.dumps(told))
    run = Trainer(run.recipe, run.folder)
    state = run.folder / "state.pt"
    torch.save({"stage": 3, "step": 1, "model": {}, "optimizer": {}, "average": None}, state)
    with pytest.raises(InputError, match=r"state.pt: an older version of samclip-edge wrote it; .* remove it"):
        run.train()
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"state.pt: cannot be read \(.*\); remove it, and its stage begins anew"):
        run.train()


def test_a_full_disk_is_told_and_leaves_nothing_half_written(recipe_of: Recipe, tmp_path: Path) -> None:
    """Files of a megabyte at most stand for the disk."""
    made, path = learner(recipe_of, 2), tmp_path / "state.pt"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(InputError, match=r"state.pt: cannot be written \(File too large\); make room"):
            save_state(path, 2, made, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
