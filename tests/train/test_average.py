"""`train average` mixes the weights of two checkpoints, measures the mixtures and draws them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import weights
from support import Ran

from samclip_edge.bundle.manifest import Chances, Logistic
from samclip_edge.bundle.weights import Weights
from samclip_edge.model import checkpoint
from samclip_edge.rendered import NAMES
from samclip_edge.train.average import averaged, save_average

LIKELY = Logistic(slope=3, offset=5)


def test_weights_between_two_checkpoints(run: Callable[..., Ran], whole: Path, tmp_path: Path) -> None:
    start, tuned = whole / "3-probe.safetensors", whole / "4-distill.safetensors"
    a, b = (checkpoint.load(path)[0] for path in (start, tuned))
    between = averaged(a, b, 0.25).state_dict()
    for name, value in between.items():
        if value.is_floating_point():
            wanted = 0.75 * a.state_dict()[name].double() + 0.25 * b.state_dict()[name].double()
            torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)
    saved = tmp_path / "quarter.safetensors"
    assert run("train", "average", start, tuned, "--alpha", 0.25, "--save", saved).code == 0
    assert all(torch.equal(weights(saved)[name], between[name]) for name in between)
    ran = run("train", "average", start, whole / "nothing.safetensors", "-o", tmp_path / "curves.png")
    assert (ran.code, ran.err.count("\n")) == (2, 1)


def test_an_average_has_chances_of_its_own(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the second checkpoint are not its; where there are none, it has none."""
    from samclip_edge.train import average

    few = average.HELD_OUT.model_copy(update={"scenes": average.HELD_OUT.scenes.model_copy(update={"count": 20})})
    monkeypatch.setattr(average, "HELD_OUT", few)
    start, tuned, out = whole / "5-joint.safetensors", tmp_path / "tuned.safetensors", tmp_path / "out.safetensors"
    model, origin = checkpoint.load(whole / "6-adapt.safetensors")
    average.save_average(start, whole / "6-adapt.safetensors", 0.5, out)
    assert checkpoint.load(out)[1].calibrated is None
    sizes = tuple(Chances(size=size, patches=LIKELY, mask=LIKELY, photo=LIKELY) for size in model.spec.sizes)
    theirs = checkpoint.Calibrated(rivals=("cat",), measured_on="a test", sizes=sizes)
    checkpoint.save(model, tuned, origin.model_copy(update={"calibrated": theirs}))
    average.save_average(start, tuned, 0.5, out)
    ours = checkpoint.load(out)[1].calibrated
    assert ours is not None
    assert ours.rivals[:80] == NAMES
    assert LIKELY not in {each.patches for each in ours.sizes}


def test_an_average_is_made_of_the_weights_of_both(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model, origin = checkpoint.load(tiny_checkpoint)
    research = Weights(what="names", file="a.pt", license="apple-amlr")
    a = checkpoint.save(
        model, tmp_path / "a.safetensors", origin.model_copy(update={"weights": (research,), "trained_at": (128,)})
    )
    b = checkpoint.save(model, tmp_path / "b.safetensors", origin.model_copy(update={"trained_at": (256,)}))
    save_average(a, b, 0.5, tmp_path / "c.safetensors")
    found = checkpoint.read_spec(tmp_path / "c.safetensors")[1]
    assert found.weights == (research,)
    assert found.trained_at == (128, 256)


def test_both_curves_are_measured_and_drawn(
    run: Callable[..., Ran], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from samclip_edge.train import average

    few = average.HELD_OUT.model_copy(update={"scenes": average.HELD_OUT.scenes.model_copy(update={"count": 8})})
    monkeypatch.setattr(average, "HELD_OUT", few)
    picture = tmp_path / "curves.png"
    ran = run("train", "average", whole / "3-probe.safetensors", whole / "4-distill.safetensors",
              "--points", 3, "-o", picture, "--json")  # fmt: skip
    assert [point["alpha"] for point in ran.json["curves"]] == [0, 0.5, 1]
    assert all(0 <= point[key] <= 1 for point in ran.json["curves"] for key in ("top1", "box_iou"))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
