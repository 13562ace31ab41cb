"""`litert_constants`: what the converter moves is the model's, and what is changed in a file is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import radio
import torch
from ai_edge_litert.tools import flatbuffer_utils
from torch import Tensor, nn

from samclip_edge import data
from samclip_edge.bundle.contract import probe
from samclip_edge.errors import ParityError
from samclip_edge.export.forms.mobile_gpu import graph_module
from samclip_edge.export.options import LiteRTOptions
from samclip_edge.export.targets import litert, litert_conversion
from samclip_edge.export.targets.litert_constants import stored, strange_constants
from samclip_edge.export.targets.litert_conversion import Call, convert
from samclip_edge.model.checkpoint import load

IMAGE = {"image": np.ones((1, 3, 32, 32), np.float32)}
Changed = Callable[[np.ndarray], None]


class Small(nn.Module):
    """Constants that the converter moves: a BatchNorm, a bias beside a table, a norm and a number; and others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.batch_norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.patches, self.table = nn.Conv2d(6, 32, 4, stride=4), nn.Parameter(torch.randn(1, 8, 8, 32))
        self.norm, self.linear, self.out = nn.LayerNorm(32), nn.Linear(32, 24), nn.Linear(24, 8, bias=False)
        for each in (*self.norm.parameters(), *self.batch_norm.parameters(), self.batch_norm.running_mean):
            nn.init.normal_(each)

    def forward(self, image: Tensor) -> Tensor:
        """(1,3,32,32) to (1,64,8)."""
        patches = self.patches(self.batch_norm(self.first(image)).relu())
        placed = (patches.permute(0, 2, 3, 1) + self.table).flatten(1, 2)
        scaled = self.linear(self.norm(placed)) * 0.3
        return self.out(scaled.clamp(min=0.25) + torch.arange(24) / 7)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Small, Path]:
    """A module and what it was converted to."""
    torch.manual_seed(0)
    module, path = Small().eval(), tmp_path_factory.mktemp("converted") / "small.tflite"
    convert([Call("size_32", module, IMAGE, ("y",))], path)
    return module, path


def test_what_the_converter_moves_is_the_models(converted: tuple[Small, Path]) -> None:
    module, path = converted
    assert strange_constants(path, [(module, IMAGE)]) == []
    linear, table, bias = (
        next(each.values for each in stored(path) if each.values.shape == shape and each.reader[0] != "MUL")
        for shape in ((24, 32), (1, 8, 8, 32), (6,))
    )
    with torch.no_grad():  # by hand: the number, the bias and the BatchNorm have moved
        np.testing.assert_allclose(linear, 0.3 * module.linear.weight * module.norm.weight, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(table, module.table + module.patches.bias, rtol=1e-5, atol=1e-6)
        norm = module.batch_norm
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        np.testing.assert_allclose(bias, norm.bias - norm.running_mean * scale, rtol=1e-5, atol=1e-6)


def rewritten(path: Path, to: Path, name: str, change: Changed) -> Path:
    """A file with one of its constants changed."""
    model = flatbuffer_utils.read_model(str(path))
    tensor = next(each for graph in model.subgraphs for each in graph.tensors if each.name.decode() == name)
    values = np.frombuffer(bytearray(model.buffers[tensor.buffer].data), np.float32).copy()
    change(values)
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    flatbuffer_utils.write_model(model, str(to))
    return to


def one_value(values: np.ndarray) -> None:
    values[values.argmin()] += 1e-3 * np.abs(values).max()


def two_swapped(values: np.ndarray) -> None:
    least, most = values.argmin(), values.argmax()
    values[[least, most]] = values[[most, least]]


def infinite(values: np.ndarray) -> None:
    values[0] = np.inf


def a_hundredth_more(values: np.ndarray) -> None:
    values *= 1.01


def one_more(values: np.ndarray) -> None:
    values += 1


def times_epsilon(values: np.ndarray) -> None:
    values *= 1e-5


def ones(values: np.ndarray) -> None:
    values[:] = 1


def zeros(values: np.ndarray) -> None:
    values[:] = 0


def last_value(values: np.ndarray) -> None:
    values[-1] += 1e-3 * np.abs(values).max()


def sides_swapped(values: np.ndarray) -> None:
    values[:] = values.reshape(8, 8).T.ravel()


@pytest.mark.parametrize(
    "change", [one_value, last_value, two_swapped, infinite, a_hundredth_more, one_more, times_epsilon, ones, zeros]
)
def test_a_changed_constant_is_found(converted: tuple[Small, Path], tmp_path: Path, change: Changed) -> None:
    module, path = converted
    names = [each.name for each in stored(path) if np.ptp(each.values) > 0]
    assert len(names) >= 8
    for name in names:
        changed = rewritten(path, tmp_path / "changed.tflite", name, change)
        assert strange_constants(changed, [(module, IMAGE)]), name


@pytest.mark.parametrize("change", [a_hundredth_more, one_more])
def test_a_changed_number_is_found(converted: tuple[Small, Path], tmp_path: Path, change: Changed) -> None:
    module, path = converted
    numbers = [each for each in stored(path) if each.values.size == 1 and each.values.item()]
    assert {("ADD", 1), ("MAXIMUM", 1)} <= {each.reader for each in numbers}  # the norm's epsilon, and the least
    for each in numbers:
        changed = rewritten(path, tmp_path / "changed.tflite", each.name, change)
        (told,) = strange_constants(changed, [(module, IMAGE)])
        assert told.endswith(f"read by {each.reader[0]}")


def test_a_number_of_another_use_is_found(converted: tuple[Small, Path], tmp_path: Path) -> None:
    module, path = converted
    epsilon = next(each.name for each in stored(path) if each.reader == ("ADD", 1) and each.values.size == 1)

    def least(values: np.ndarray) -> None:
        values[:] = 0.25  # the number of the module's `clamp`

    changed = rewritten(path, tmp_path / "changed.tflite", epsilon, least)
    assert strange_constants(changed, [(module, IMAGE)]) == [
        "torch.nn.modules.normalization.LayerNorm_norm;1 0.25, read by ADD"
    ]


class Two(nn.Module):
    """Two layers of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """(1,8) to (1,8)."""
        y: Tensor = self.second(self.first(x).relu())
        return y


def test_a_weight_in_the_place_of_another_or_turned_is_found(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path, given = Two(), tmp_path / "two.tflite", {"x": np.ones((1, 8), np.float32)}
    convert([Call("one", module, given, ("y",))], path)
    first, second = (each for each in stored(path) if each.values.shape == (8, 8))

    def copied(values: np.ndarray) -> None:
        values[:] = second.values.ravel()

    changed = rewritten(path, tmp_path / "changed.tflite", first.name, copied)
    assert strange_constants(changed, [(module, given)]) == ["a constant (8, 8) that is not there"]
    turned = rewritten(path, tmp_path / "turned.tflite", first.name, sides_swapped)
    assert len(strange_constants(turned, [(module, given)])) == 2  # it is strange, and the weight is not there


def test_norms_that_are_almost_alike_are_told_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(*(each for _ in range(4) for each in (nn.LayerNorm(32), nn.Linear(32, 32))))
    given = {"input": np.ones((1, 32), np.float32)}
    for off, name in ((2e-4, "a"), (1e-6, "b")):
        for each in module[::2]:
            nn.init.normal_(each.weight, 1, off)
            nn.init.normal_(each.bias, 0, off)
        path = tmp_path / f"{name}.tflite"
        convert([Call("one", module, given, ("y",))], path)
        assert strange_constants(path, [(module, given)]) == []


def test_attention_that_torch_has_whole_is_the_models(tmp_path: Path) -> None:
    """RADIO's encoder: the converter takes its attention apart, and shares the scale out."""
    model, _ = load(radio.make_checkpoint(tmp_path / "radio.safetensors"))
    module, given = graph_module(model, "image_encoder", 128), probe(model.spec, "image_encoder", 128)
    convert([Call("size_128", module, given, ("tokens", "embedding"))], tmp_path / "encoder.tflite")
    assert strange_constants(tmp_path / "encoder.tflite", [(module, given)]) == []


class Answered(nn.Module):
    """A module that answers with a constant, beside what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.table = nn.Linear(8, 8), nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(1,8) to (1,8), and (5,)."""
        return self.linear(x), self.table * 1


def test_a_constant_that_is_an_output_is_looked_at(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path, given = Answered(), tmp_path / "answered.tflite", {"x": np.ones((1, 8), np.float32)}
    convert([Call("one", module, given, ("y", "table"))], path)
    assert strange_constants(path, [(module, given)]) == []
    (table,) = [each.name for each in stored(path) if each.values.shape == (5,)]
    changed = rewritten(path, tmp_path / "changed.tflite", table, a_hundredth_more)
    assert strange_constants(changed, [(module, given)]) == [f"{table} (5,), read by nothing"]


def test_no_bundle_is_written_of_a_changed_constant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a graph is spoilt after it is converted: the embedding of a label is next to nothing."""
    plain = litert_conversion.convert

    def spoilt(calls: list[Call], path: Path) -> None:
        plain(calls, path)
        if path.name.startswith("prompt_encoder"):
            name = next(e.name for e in stored(path) if e.values.shape == (1, 1, 256) and e.reader == ("MUL", 1))
            rewritten(path, path, name, times_epsilon)

    monkeypatch.setattr(litert_conversion, "convert", spoilt)
    with pytest.raises(ParityError, match=r"^prompt_encoder.tflite: the converter changed .*, read by MUL, a constant"):
        litert.export_litert(
            data.CHECKPOINTS["tiny"],
            tmp_path / "out",
            [128],
            ["cat"],
            options=LiteRTOptions(points=2),
            templates=["a {}"],
        )
    assert not list(tmp_path.iterdir())
