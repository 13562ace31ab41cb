"""`export --target litert`: what the converter refuses or changes, options that do not fit, and layers that hurt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import cli
from torch import nn

from samclip_edge import data
from samclip_edge.errors import InputError
from samclip_edge.export.precision.tflite import hurting
from samclip_edge.export.targets import litert
from samclip_edge.export.targets.litert_conversion import Call, convert

CHECKPOINT = data.CHECKPOINTS["tiny"]


def test_layers_that_hurt_are_found_by_halves() -> None:
    hurts = {"a": 0.001, "b": 0.02, "c": 0.004, "d": 0.0, "e": 0.03}
    asked: list[tuple[str, ...]] = []

    def hurt(layers: list[str]) -> bool:
        asked.append(tuple(layers))
        return float(np.linalg.norm([hurts[each] for each in layers])) > 0.01

    assert hurting(list(hurts), hurt) == ["b", "e"]
    assert ("a",) in asked  # beside one that hurts
    assert ("c",) in asked
    assert hurting(["a", "c", "d"], hurt) == []
    assert asked[-1] == ("a", "c", "d")  # together they move too little to be looked at one by one


class Refused(nn.Module):
    """A product, and after it what LiteRT has no operator for."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ x
        return torch.unique(y) if self.what == "unique" else torch.histc(y)


@pytest.mark.parametrize("what", ["unique", "histc"])
def test_what_the_converter_refuses_is_named_with_its_line(tmp_path: Path, what: str) -> None:
    inputs = {"x": np.eye(4, dtype=np.float32)}
    path = tmp_path / "some.tflite"
    with pytest.raises(InputError) as refused:
        convert([Call("size_4", Refused(what), inputs, ("y",))], path)
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "torch.unique(y) if" in text)
    told = str(refused.value)
    assert told.startswith("some.tflite: LiteRT's converter refuses the operator aten.")
    assert what in told
    assert told.endswith(f"tests/export/{Path(__file__).name}:{line}; no bundle was written")
    assert "\n" not in told
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--int8", "qdq", "--precision", "int8"), "--int8 qdq: give dynamic, static, weights"),
        (("--precision", "int8", "--points", "4"), "--points 4: int8 is measured on prompts of 2 or 3 points"),
        (("--points", "1"), "--points 1: give 2 or more points"),
        (("--int8", "static"), "--int8: is of precision int8, not of fp32"),
        (("--precision", "palette8"), "fp32, fp16, int8 for litert"),
        (("--qdq",), "--qdq: is of --target onnx only"),
        (("--photos", "x"), "only --precision int8 for onnx, tensorrt or litert"),
        (("--size", "100"), "--size 100"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    capfd: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    ran = cli(capfd, monkeypatch, "export", "--target", "litert", "--model", "tiny", *options, "-o", tmp_path / "out")
    assert ran.code == 2
    assert told in ran.err
    assert not list(tmp_path.iterdir())


def test_an_option_of_this_target_is_refused_for_another(
    capfd: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = cli(capfd, monkeypatch, "export", "--int8", "static", "-o", tmp_path / "out")
    assert (ran.code, "--int8: is of --target litert only" in ran.err) == (2, True)


def test_a_model_of_two_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Spec:
        kind = "sam+clip"

    monkeypatch.setattr(litert, "read_spec", lambda checkpoint: (Spec(), None))
    with pytest.raises(InputError, match="name a merged model"):
        litert.export_litert(CHECKPOINT, tmp_path / "out")
