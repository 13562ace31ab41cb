"""The trainer moves the parts of each stage, at their rates, and measures and stops as the recipe says."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from runs import JOINT, lines, variation, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from samclip_edge import data
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.photo.masks import mask_box
from samclip_edge.rendered import NAMES, render
from samclip_edge.text.names import read_names
from samclip_edge.train.data.panoptic import Layers, Segment
from samclip_edge.train.measure import box_iou, top1
from samclip_edge.train.recipe import Batch, Data, Recipe, Scenes, Stage
from samclip_edge.train.trainer import rate_at

SAM_PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_each_stage_moves_its_parts_and_no_others(whole: Path) -> None:
    clip, sam, probed, distilled, joint, adapted = (weights(path) for path in sorted(whole.glob("*.safetensors")))
    assert moved(sam, probed) == {
        "clip_head",
        "text_encoder",
    }  # the words are the CLIP teacher's, put there at the start
    assert all(torch.equal(probed[name], clip[name]) for name in clip if name.startswith("text_encoder."))
    assert moved(probed, distilled) == {"clip_head", "image_encoder"}
    assert moved(probed, joint) == {
        "clip_head",
        "image_encoder",
        "mask_decoder",
    }  # Sec. 3: the prompt encoder is frozen
    assert moved(joint, adapted) == {"clip_head"}
    for fixed in ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
                  "image_encoder.patch_embed.layers.0.1.running_mean"):  # fmt: skip
        assert all(torch.equal(a[fixed], sam[fixed]) for a in (probed, distilled, joint, adapted))
    learned = "image_encoder.patch_embed.layers.0.1.running_mean"
    assert not torch.equal(clip[learned], torch.zeros_like(clip[learned]))


def test_joint_learns_ten_times_slower_behind_the_heads(whole: Path) -> None:
    """AdamW's first step moves every weight by its rate, but for decay: the shares of the rate can be read off."""
    stages = Recipe.model_validate_json((whole / "recipe.json").read_text()).stages
    one = stages[JOINT].model_copy(update={"steps": 1, "weight_decay": 0.0, "train_prompt_encoder": True})
    after = weights(variation(whole, "one step", {"stages": (*stages[:3], one)}).train())
    before = weights(whole / "3-probe.safetensors")
    for part, share in {"clip_head": 1.0, "image_encoder": 0.1, "prompt_encoder": 0.1, "mask_decoder": 0.1}.items():
        steps = torch.cat([(after[n] - before[n]).abs().flatten() for n in before if n.startswith(part)])
        assert steps[steps > 0].median().item() == pytest.approx(share * one.rate, rel=0.05)


def test_metrics_hold_every_step_and_both_losses(whole: Path) -> None:
    entries = lines(whole)
    steps = [e for e in entries if e["stage"] == JOINT + 1 and "rate" in e]
    assert [e["step"] for e in steps] == [1, 2, 3, 4, 5]
    assert all({"clip", "sam"} <= e.keys() for e in steps)
    watched = [e["overlap with the SAM teacher"] for e in entries if "overlap with the SAM teacher" in e]
    assert len(watched) == 2
    assert all(0 <= each <= 1 for each in watched)
    measured = [sorted(e["measured"]) for e in entries if "measured" in e]
    both = ["box IoU", "skipped steps", "top-1"]
    assert measured == [both[1:], both[:2], *[both] * 4]
    board = EventAccumulator(str(whole / "tensorboard" / "5-joint"))
    board.Reload()
    shown = board.Scalars("sam")
    assert [point.step for point in shown] == [1, 2, 3, 4, 5]
    assert [point.value for point in shown] == pytest.approx([e["sam"] for e in steps])


def test_the_average_of_the_weights_is_what_it_says(whole: Path) -> None:
    """ema 0.75 over two steps from w0: w1 after the first, as torch's `AveragedModel` starts, then 3/4 w1 + 1/4 w2."""
    stages = Recipe.model_validate_json((whole / "recipe.json").read_text()).stages
    ends = []
    for name, steps, ema in (("first", 1, 0.0), ("second", 2, 0.0), ("average", 2, 0.75)):
        stage = stages[2].model_copy(update={"steps": 2, "stop_after": steps / 2})
        run = variation(whole, name, {"stages": (*stages[:2], stage), "ema": ema}, stages=2)
        ends.append(weights(run.train()))
    for key, got in ends[2].items():
        if got.is_floating_point():
            torch.testing.assert_close(got, 0.75 * ends[0][key] + 0.25 * ends[1][key])


def test_the_forgetting_monitor_stops_a_stage(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlaps of 0.9 after the second step and of 0.7 after the fourth, where 0.8 is asked for."""
    overlaps = iter([0.9, 0.7])
    monkeypatch.setattr("samclip_edge.train.trainer.overlap", lambda *_: next(overlaps))
    stages = list(Recipe.model_validate_json((whole / "recipe.json").read_text()).stages)
    stages[JOINT] = stages[JOINT].model_copy(update={"forget": 0.8})
    run = variation(whole, "forgetful", {"stages": (*stages[:3], stages[JOINT])})
    run.train()
    assert [e["step"] for e in lines(run.folder) if "rate" in e] == [1, 2, 3, 4]


def test_a_batch_that_does_not_split_is_refused_before_the_first_step(whole: Path) -> None:
    """That of the last stage, in which each part would have one image and a half."""
    stages = list(Recipe.model_validate_json((whole / "recipe.json").read_text()).stages)
    stages[-1] = stages[-1].model_copy(update={"clip": (Batch(size=128, images=3),)})
    run = variation(whole, "uneven", {"stages": tuple(stages), "accumulate": 2})
    with pytest.raises(
        InputError, match="a batch of 3 images in a adapt stage does not split over 1 processes times 2"
    ):
        run.train()
    assert not (run.folder / "metrics.jsonl").exists()


def test_a_step_that_fills_the_memory_says_what_to_do(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("samclip_edge.train.trainer.gradients", full)
    with pytest.raises(InputError, match=r"recipe: a step of distill fills the GPU's memory; raise accumulate"):
        variation(whole, "large", {}).train()


def test_a_stage_with_names_ends_with_its_chances_measured(whole: Path) -> None:
    """Over the held-out scenes, at each size; a stage without names, or with too few scenes, has none."""
    recipe = Recipe.model_validate_json((whole / "recipe.json").read_text())
    held_out = recipe.held_out.model_copy(update={"scenes": Scenes(first=0, count=24)})
    sam = Batch(size=128, images=2)
    named = recipe.stages[-1].model_copy(update={"names": 1.0, "sam": sam, "masks": 2, "steps": 1})
    run = variation(whole, "named", {"stages": (*recipe.stages[:-1], named), "held_out": held_out}, stages=5)
    _, origin = checkpoint.load(run.train())
    (step,) = [entry for entry in lines(run.folder) if "rate" in entry]
    assert 0 < step["names"] < 100
    assert origin.calibrated is not None
    assert origin.calibrated.rivals == (*NAMES, *read_names(data.RIVALS))
    assert [each.size for each in origin.calibrated.sizes] == [128, 256]
    assert checkpoint.load(whole / "6-adapt.safetensors")[1].calibrated is None


def write_named(folder: Path, first: int, count: int) -> None:
    """Rendered scenes as files whose masks have names; what is around them is stuff."""
    folder.mkdir()
    for number in range(count):
        scene = render(first + number, 128, 2, 2)
        kinds = [thing.kind for thing in scene.things]
        labels = np.full((128, 128), len(kinds) + 1, np.int32)
        for place, thing in enumerate(scene.things, 1):
            labels[thing.mask] = place
        layers = Layers(scene.image, labels, [*(Segment(kind, True) for kind in kinds), Segment("ground", False)])
        cv2.imwrite(str(folder / f"{number}.png"), scene.image[..., ::-1])
        (folder / f"{number}.json").write_text(json.dumps(layers.annotations()))


def test_names_may_come_from_files(whole: Path, tmp_path: Path) -> None:
    """Of things and stuff; the chances of things are measured on held-out ones, whose masks are measured too."""
    write_named(tmp_path / "train", 500, 4)
    write_named(tmp_path / "held-out", 600, 20)
    recipe = Recipe.model_validate_json((whole / "recipe.json").read_text())
    sam = Batch(size=128, images=2)
    named = recipe.stages[-1].model_copy(update={"names": 1.0, "sam": sam, "masks": 3, "steps": 1})
    files = {"sam_data": tmp_path / "train", "held_out": tmp_path / "held-out"}
    changed = {name: Data(files=(str(folder),)) for name, folder in files.items()}
    run = variation(whole, "named by files", {"stages": (*recipe.stages[:-1], named), **changed}, stages=5)
    kinds = {thing.kind for number in range(4) for thing in render(500 + number, 128, 2, 2).things}
    assert run.names == sorted({*kinds, "ground"})
    _, origin = checkpoint.load(run.train())
    (step,) = [entry for entry in lines(run.folder) if "rate" in entry]
    assert 0 < step["names"] < 100
    (measured,) = [entry["measured"] for entry in lines(run.folder) if "measured" in entry]
    assert sorted(measured) == ["IoU of the box itself", "box IoU", "click IoU", "first name", "skipped steps"]
    asked = sorted({thing.kind for number in range(20) for thing in render(600 + number, 128, 2, 2).things})
    assert origin.calibrated is not None
    assert origin.calibrated.rivals == (*asked, "ground", *read_names(data.RIVALS))
    assert origin.calibrated.measured_on.startswith("held-out photos")
    boxes = [mask.sum() / ((y1 - y0) * (x1 - x0)) for mask, (x0, y0, x1, y1) in boxes_of(600, 20)]
    assert measured["IoU of the box itself"] == pytest.approx(np.mean(boxes), abs=1e-6)


def boxes_of(first: int, count: int) -> Iterator[tuple[np.ndarray, tuple[int, int, int, int]]]:
    """The masks of `write_named` and their boxes."""
    for number in range(count):
        things = [thing.mask for thing in render(first + number, 128, 2, 2).things]
        for mask in (*things, ~np.any(things, axis=0)):
            yield mask, mask_box(mask)


@pytest.mark.parametrize(
    ("place", "said"), [("*.tar", "tar shards, which are not"), ("*[0-9].*", "no mask of sam_data")]
)
def test_names_that_cannot_be_listed_are_refused_at_the_start(
    whole: Path, tmp_path: Path, place: str, said: str
) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "0.json").write_text('{"annotations": [{"segmentation": [[1, 1, 5, 1, 5, 5]]}]}')
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name in ("0.png", "0.json"):
            tar.add(tmp_path / name, name)
    recipe = Recipe.model_validate_json((whole / "recipe.json").read_text())
    named = recipe.stages[-1].model_copy(update={"names": 1.0, "sam": Batch(size=128, images=1)})
    changed = {"stages": (*recipe.stages[:-1], named), "sam_data": Data(files=(str(tmp_path / place),))}
    with pytest.raises(InputError, match=said):
        variation(whole, f"no names {place[1:3]}", changed)


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    stage = Stage.model_validate(
        {"task": "probe", "steps": 110, "rate": 0.01, "warmup": 10, "clip": [{"size": 128, "images": 1}]}
    )
    wanted = {0: 0.001, 9: 0.01, 10: 0.01, 60: 0.005, 110: 0.0}
    for step, rate in wanted.items():
        assert rate_at(stage, step, 110) == pytest.approx(rate, abs=1e-12)


def test_measures_of_a_model_that_knows_nothing(whole: Path) -> None:
    run = variation(whole, "measured", {})
    model = checkpoint.load(whole / "2-teach_sam.safetensors")[0]
    assert top1(model, run.clip_data) < 0.2  # one of 80 names by chance
    assert box_iou(model, Batch(size=128, images=1), run.held_out) < 0.6
