"""`export --target litert`: what the converter refuses or changes, options that do not fit, and layers that hurt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.tools import flatbuffer_utils
from support import cli
from torch import nn

from samclip_edge import data
from samclip_edge.errors import InputError
from samclip_edge.export.precision.tflite import hurting
from samclip_edge.export.targets import litert
from samclip_edge.export.targets.litert_constants import stored, strange_constants
from samclip_edge.export.targets.litert_conversion import Call, convert

CHECKPOINT = data.CHECKPOINTS["tiny"]
IMAGE = {"image": np.ones((1, 3, 32, 32), np.float32)}


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


class Small(nn.Module):
    """X."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.table = nn.Conv2d(3, 32, 4, stride=4), nn.Parameter(torch.randn(1, 8, 8, 32))
        self.norm, self.linear, self.out = nn.LayerNorm(32), nn.Linear(32, 24), nn.Linear(24, 8, bias=False)
        for each in self.norm.parameters():
            nn.init.normal_(each)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        placed = self.patches(image).permute(0, 2, 3, 1) + self.table
        scaled = self.linear(self.norm(placed)) * 0.3
        return self.out(scaled.relu() + torch.arange(24) / 7)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Small, Path]:
    """A module and what it was converted to."""
    torch.manual_seed(0)
    module, path = Small(), tmp_path_factory.mktemp("converted") / "small.tflite"
    convert([Call("size_32", module, IMAGE, ("y",))], path)
    return module, path


def test_constants_that_the_converter_moved_are_the_models(converted: tuple[Small, Path]) -> None:
    module, path = converted
    assert strange_constants(path, [(module, IMAGE)]) == []
    linear, table, bias = (
        next(each.values for each in stored(path) if each.values.shape == shape)
        for shape in ((24, 32), (1, 8, 8, 32), (32,))
    )
    with torch.no_grad():
        np.testing.assert_allclose(linear, 0.3 * module.linear.weight, rtol=1e-6)
        np.testing.assert_allclose(table, module.table + module.patches.bias, rtol=1e-6, atol=1e-6)
    assert not bias.any()  # it is in the table now


@pytest.mark.parametrize("how", ["one value", "two values swapped", "all a hundredth more", "all zero"])
def test_a_changed_constant_is_found(converted: tuple[Small, Path], tmp_path: Path, how: str) -> None:
    module, path = converted
    for name in [each.name for each in stored(path) if np.ptp(each.values) > 0]:
        changed = rewritten(path, tmp_path / "changed.tflite", name, how)
        assert name in [each.split(" ")[0] for each in strange_constants(changed, [(module, IMAGE)])]


def rewritten(path: Path, to: Path, name: str, how: str) -> Path:
    """A file with one of its constants changed."""
    model = flatbuffer_utils.read_model(str(path))
    tensor = next(each for graph in model.subgraphs for each in graph.tensors if each.name.decode() == name)
    values = np.frombuffer(bytearray(model.buffers[tensor.buffer].data), np.float32).copy()
    first, last = int(values.argmin()), int(values.argmax())
    match how:
        case "one value":
            values[first] += 1e-3 * np.abs(values).max()
        case "two values swapped":
            values[[first, last]] = values[[last, first]]
        case "all a hundredth more":
            values *= 1.01
        case "all zero":
            values[:] = 0
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    flatbuffer_utils.write_model(model, str(to))
    return to


def test_a_changed_number_is_found(converted: tuple[Small, Path], tmp_path: Path) -> None:
    module, path = converted
    (epsilon,) = [each.name for each in stored(path) if each.values.size == 1 and each.values.item()]
    changed = rewritten(path, tmp_path / "changed.tflite", epsilon, "all a hundredth more")
    assert [each.split(" ")[0] for each in strange_constants(changed, [(module, IMAGE)])] == [epsilon]


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
