"""int8: the arithmetic by hand, layers that hurt, a bundle held against torch, and what it costs on the task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from support import Ran
from torch import nn

from samclip_edge import data
from samclip_edge.accuracy.synthetic import Counts
from samclip_edge.bundle.contract import Signature, Tensor
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Parity
from samclip_edge.bundle.verify import passes, verify
from samclip_edge.export import costs
from samclip_edge.export.precision.choice import Switched, choose, switched
from samclip_edge.export.precision.int8 import by_column, layer_names, layers, quantize
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.export.targets.tracing import trace

SIDES = Signature(inputs=(Tensor(name="x", shape=(5, 8)),), outputs=(Tensor(name="y", shape=(5, 6)),))


class Two(nn.Module):
    """Two layers, of which the second is given numbers of very different size."""

    def __init__(self, spike: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(8, 16, bias=False), nn.Linear(16, 6, bias=False)
        with torch.no_grad():
            self.first.weight[0] *= spike
            self.second.weight[:, 0] /= spike

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.second(self.first(x[None]))
        return out[0]


def traced(module: nn.Module) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    inputs = {"x": np.random.RandomState(1).standard_normal((5, 8)).astype(np.float32)}
    return trace(module.eval(), SIDES, inputs), inputs


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def test_a_weight_by_column_by_hand() -> None:
    weight = np.array([[1.0, 0.0, -254.0], [-0.5, 0.0, 2.0]], np.float32)
    values, scale = by_column(weight)
    np.testing.assert_allclose(scale, [1 / 127, 1, 2], rtol=1e-6)
    assert values.dtype == np.int8
    assert values.tolist() == [[127, 0, -127], [-64, 0, 1]]  # -63.5 rounds to even


def test_an_integer_product_by_hand() -> None:
    """The standard's DynamicQuantizeLinear (uint8 over a range that holds 0), then a product of integers."""
    module = Two(1)
    model, inputs = traced(module)
    quantize(model, layer_names(module), kept=["first"])
    x = module.first(torch.from_numpy(inputs["x"])).detach().numpy()
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = np.float32(high - low) / 255
    zero = np.clip(np.round(-low / scale), 0, 255)
    rounded = np.clip(np.round(x / scale) + zero, 0, 255) - zero
    values, columns = by_column(module.second.weight.detach().numpy().T)
    wanted = rounded @ values.astype(np.float64) * (scale * columns)
    assert [node.op_type for node in model.graph.node].count("MatMulInteger") == 1
    np.testing.assert_allclose(run(model, inputs), wanted, rtol=1e-4, atol=1e-5)


def test_the_layer_that_hurts_is_found() -> None:
    calm, wild = Two(1), Two(300)
    for module, hurt in ((calm, []), (wild, ["second"])):
        model, inputs = traced(module)
        before = model.SerializeToString()
        names = layer_names(module)
        assert list(layers(model, names).values()) == ["first", "second"]
        with switched(model, names) as graph:
            assert list(choose(graph, [inputs]).in_float) == hurt
            assert list(choose(graph, [inputs], most=1).in_float) == hurt, "its own error is the largest too"
        assert model.SerializeToString() == before, "measuring changes nothing"


def test_a_switched_graph_is_the_graph_with_those_layers_in_int8() -> None:
    module = Two(1)
    model, inputs = traced(module)
    names, wanted = layer_names(module), run(model, inputs)
    with switched(model, names) as graph:
        outputs, own = graph.measure(inputs)
        np.testing.assert_allclose(outputs["y"], wanted, rtol=1e-5, atol=1e-6)
        alone = graph.run(inputs, ["second"])["y"]
        together = choose(graph, [inputs])
    quantize(model, names, kept=["first"])
    rounded = run(model, inputs)
    np.testing.assert_allclose(alone, rounded, rtol=1e-5, atol=1e-6)
    # The second layer gives the output, and reads in float what it reads in its own measure: the two errors are one.
    assert own["second"] == pytest.approx(np.linalg.norm(rounded - wanted) / np.linalg.norm(wanted), rel=1e-3)
    model, _ = traced(module)
    quantize(model, names)
    both = run(model, inputs)
    assert together.in_float == ()
    assert together.moved["y"].error == pytest.approx(np.linalg.norm(both - wanted) / np.linalg.norm(wanted), rel=1e-3)
    cosine = (both.ravel() @ wanted.ravel()) / np.linalg.norm(both) / np.linalg.norm(wanted)
    assert together.moved["y"].cosine == pytest.approx(cosine, abs=1e-6)


def test_layers_of_equal_weights_are_all_rounded() -> None:
    """As those of a CLIP head are before it is trained."""
    module = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(3)))
    for each in module[1:]:
        each.weight = nn.Parameter(module[0].weight.detach().clone())
    x, y = Tensor(name="x", shape=(1, 5, 8)), Tensor(name="y", shape=(1, 5, 8))
    inputs = {"x": np.random.RandomState(2).standard_normal((1, 5, 8)).astype(np.float32)}
    model = trace(module.eval(), Signature(inputs=(x,), outputs=(y,)), inputs)
    wanted = run(model, inputs)
    quantize(model, layer_names(module))
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("MatMulInteger"), kinds.count("MatMul")) == (3, 0)
    assert np.corrcoef(run(model, inputs).ravel(), wanted.ravel())[0, 1] > 0.999


@pytest.fixture(scope="module")
def runs() -> list[int]:
    """The side of the image in each run of the image encoder that finds its layers."""
    return []


@pytest.fixture(scope="module")
def int8(tiny_checkpoint: Path, runs: list[int]) -> Iterator[Bundle]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("run", "measure"):
            whole = getattr(Switched, name)

            def counted(self: Switched, inputs: dict[str, np.ndarray], *more: object, whole: Any = whole) -> object:
                runs.extend([inputs["image"].shape[-1]] if "image" in inputs else [])
                return whole(self, inputs, *more)

            patch.setattr(Switched, name, counted)
        yield export_onnx(tiny_checkpoint, tiny_checkpoint.with_name("int8"), precision="int8")


def test_few_runs_of_the_encoder_find_its_layers(int8: Bundle, runs: list[int]) -> None:
    """A run in float and a last one for each photo of the package, and one for each of twelve layers: of sixteen, all
    of which were once run on each photo."""
    photos = len(data.photos())
    assert [runs.count(size) for size in int8.manifest.sizes] == [2 * photos + 12] * 2
    assert 2 * photos + 12 + photos <= 30, "with torch's own answer to each photo"


def test_a_bundle_says_what_it_was_measured_on_and_what_moved(int8: Bundle) -> None:
    manifest = int8.manifest
    assert (manifest.quantisation, manifest.measured_on) == ("dynamic", "the 3 photos of the package")
    for graph in manifest.graphs:
        assert set(graph.moved) == (set() if graph.name == "prompt_encoder" else set(graph.reference)), graph.name
        assert all(0 < each.error < 0.2 and each.cosine < 1 for each in graph.moved.values()), graph.name


def test_a_bundle_is_smaller_near_and_verified(int8: Bundle, tiny_folder: Path) -> None:
    whole = Bundle.open(tiny_folder)
    assert int8.manifest.precision == "int8"
    rounded, halved = 0, 0
    for graph in int8.manifest.graphs:
        assert all(parity.cosine > 0.99 for parity in graph.parity.values()), graph.name
        proto = onnx.load(int8.folder / graph.files[0].path, load_external_data=False)
        products = sum(node.op_type == "MatMulInteger" for node in proto.graph.node)
        assert (products > 0) == (graph.name != "prompt_encoder"), graph.name
        if graph.size in (None, 128):
            rounded += sum(np.prod(each.dims) for each in proto.graph.initializer if each.data_type == 2)
            halved += sum(np.prod(each.dims) for each in proto.graph.initializer if each.data_type == 10)
    saved = sum(f.bytes for f in whole.files()) - sum(f.bytes for f in int8.files())
    assert halved > 0, "convolutions and tables are stored in half"
    assert saved == pytest.approx(3 * rounded + 2 * halved, rel=0.1), "a weight takes a byte or two, not four"
    assert all(row.ok for row in verify(int8))


def test_verify_asks_int8_to_be_as_near_as_at_export() -> None:
    then = Parity(error=0.1, cosine=0.99)
    assert passes(Parity(error=9, cosine=0.981), "int8", then)
    assert not passes(Parity(error=0, cosine=0.97), "int8", then)
    assert passes(Parity(error=0, cosine=0.9995), "int8", Parity(error=0, cosine=1.0))
    assert not passes(Parity(error=0, cosine=0.0), "int8")


def test_it_costs_at_most_a_point(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny`, trained, by the command, on few scenes; one scene named otherwise is allowed."""
    monkeypatch.setattr(costs, "COUNTS", Counts(one_thing=30, captions=20, several=4, trusted=0))
    ran = run("export", "--model", "tiny", "--precision", "int8", "--size", 256, "-o", tmp_path / "bundle", "--json")
    assert ran.code == 0, ran.err
    cost = ran.json["cost"]
    assert list(cost) == ["float", "image_encoder", "clip_head", "mask_decoder", "text_encoder", "all in int8"]
    for name, score in cost["all in int8"].items():
        scenes = {"classification top-1": 30, "text-to-image recall@1": 20}.get(name)
        assert score >= cost["float"][name] - (0.01 if scenes is None else 1.5 / scenes), name
    assert json.loads((tmp_path / "bundle" / "manifest.json").read_text())["precision"] == "int8"


def test_what_cannot_be_measured_is_said(run: Callable[..., Ran], tiny_checkpoint: Path, tmp_path: Path) -> None:
    photo = data.photos()[0]
    given = ("export", "--model", tiny_checkpoint, "-o", tmp_path / "bundle", "--size", 128)
    ran = run(*given, "--precision", "int8", "--photo", photo)
    assert ran.code == 0
    assert "not trained on rendered scenes" in ran.err
    assert "1 photos that the export was given" in " ".join(ran.out.split())
    ran = run(*given, "--photo", photo)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"--photo {photo}" in ran.err
