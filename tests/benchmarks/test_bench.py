"""`bench` on small models: what is counted is held to arithmetic by hand, and it runs; no timing is asserted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from segment_anything.modeling import ImageEncoderViT
from support import Ran

from samclip_edge import SamClip, data
from samclip_edge.benchmarks import baselines, bases, bench, child, measured, report
from samclip_edge.benchmarks.any_version import peak
from samclip_edge.benchmarks.bench import BOTH, MERGED
from samclip_edge.benchmarks.costs import costs, multiply_adds
from samclip_edge.benchmarks.machine import machine
from samclip_edge.benchmarks.measured import MANY, RUNS, Measured
from samclip_edge.benchmarks.scenarios import MASKS, SCENARIOS, WORDS, Asked, scattered, settings_for
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec
from samclip_edge.photo.read import read_photo
from samclip_edge.tasks.everything import Settings

PHOTO = read_photo(data.photos()[0])
MERGED_GRAPHS = ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder")


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """The baseline made small, so that it is exported in seconds."""
    vision = ClipVisionSpec.vit(width=64, depth=2, heads=4, patch=16, size=64)
    spec = PRESETS["tiny"].model_copy(update={"name": "sam+clip", "clip_vision": vision, "sizes": (256,)})
    whole, PRESETS["sam+clip"] = PRESETS["sam+clip"], spec
    yield
    PRESETS["sam+clip"] = whole


@pytest.fixture(scope="module")
def systems(small: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("systems")
    return {
        MERGED: baselines.random_bundle("tiny", folder / "tiny"),
        BOTH: baselines.random_bundle("sam+clip", folder / "sam+clip"),
    }


def test_multiply_adds_by_hand(tmp_path: Path) -> None:
    """A convolution, a product with a matrix, one of two activations, one with a bias, and a convolution backwards."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3, 8, 8])
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("z", "g", "t")]
    weights = [
        helper.make_tensor("w", TensorProto.FLOAT, (5, 3, 2, 2), np.zeros(60)),
        helper.make_tensor("m", TensorProto.FLOAT, (4, 4), np.zeros(16)),
        helper.make_tensor("n", TensorProto.FLOAT, (7, 80), np.zeros(560)),
        helper.make_tensor("b", TensorProto.FLOAT, (7,), np.zeros(7)),
        helper.make_tensor("u", TensorProto.FLOAT, (5, 2, 2, 2), np.zeros(40)),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),  # (B,5,4,4), 12 products each
        helper.make_node("MatMul", ["c", "m"], ["y"]),  # (B,5,4,4), 4 each
        helper.make_node("MatMul", ["y", "c"], ["z"]),  # (B,5,4,4), 4 each
        helper.make_node("Flatten", ["z"], ["f"]),
        helper.make_node("Gemm", ["f", "n", "b"], ["g"], transB=1),  # (B,7), 80 each
        helper.make_node("ConvTranspose", ["c", "u"], ["t"], strides=[2, 2]),  # of each of (B,5,4,4), 2 x 2 x 2
    ]
    graph = helper.make_graph(nodes, "g", [given], outs, weights)
    onnx.save_model(
        helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "g.onnx"
    )
    inputs = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    assert multiply_adds(tmp_path / "g.onnx", inputs) == 80 * 12 + 80 * 4 + 80 * 4 + 7 * 80 + 80 * 8


def test_parameters_are_those_of_the_model(systems: dict[str, Path]) -> None:
    from samclip_edge.model.merged import MergedModel

    counted = {(c.graph, c.size): c for c in costs(Bundle.open(systems[MERGED]))}
    model = MergedModel(PRESETS["tiny"])
    wanted = sum(p.numel() for p in model.mask_decoder.parameters())
    positions = 256 * 16 * 16  # of the embedding, a constant of the graph
    assert counted["mask_decoder", 256].parameters == pytest.approx(wanted + positions, rel=0.01)
    # scores and values of a global layer of 16 x 16 tokens grow sixteenfold with the side doubled, all else fourfold
    assert 4 < counted["image_encoder", 256].multiply_adds / counted["image_encoder", 128].multiply_adds < 16


def test_the_facts_of_a_base(systems: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from samclip_edge.model.merged import MergedModel

    monkeypatch.setattr(bases, "SIZES", (128, 256))
    bundle = Bundle.open(systems[MERGED])
    found, counted = bases.facts_of(bundle), {(c.graph, c.size): c.multiply_adds for c in costs(bundle)}
    assert found.parameters == sum(p.numel() for p in MergedModel(PRESETS["tiny"]).image_encoder.parameters())
    assert found.encoder == counted["image_encoder", 256]
    assert found.answer == sum(counted[name, 256] for name in MERGED_GRAPHS)
    assert found.download < found.disk == sum(file.bytes for file in bundle.files())


def test_every_scenario_runs_on_one_model_and_on_two(systems: dict[str, Path]) -> None:
    for path in systems.values():
        model = SamClip.load(path)
        asked = Asked(PHOTO, WORDS, Settings(4, score=-99, stability=0.0))
        for scenario in SCENARIOS.values():
            scenario(model, asked)


def test_scattered_words_are_all_found_without_refinement(systems: dict[str, Path]) -> None:
    names = WORDS[:6]
    scene = scattered(SamClip.load(systems[MERGED]), names).look(PHOTO)
    assert {mask.label for mask in scene.find(names, refine=False, min_score=0)} == set(names)


def test_the_settings_of_random_weights_keep_a_hundred_masks(systems: dict[str, Path]) -> None:
    model = SamClip.load(systems[BOTH])
    settings = settings_for(model, PHOTO)
    assert len(model.look(PHOTO).everything(settings=settings)) == MASKS
    assert settings_for(SamClip.load(data.TINY), PHOTO) == Settings()


def test_a_process_tells_time_and_memory(systems: dict[str, Path]) -> None:
    found = measured.in_a_process(systems[MERGED], "one click", threads=1)
    assert RUNS <= len(found["seconds"]) <= MANY
    assert set(found["by_graph"][0]) == {"image_encoder", "prompt_encoder", "mask_decoder"}
    for total, by_graph in zip(found["seconds"], found["by_graph"], strict=True):
        assert 0 < sum(by_graph.values()) < total
    assert 0 < found["above"] < found["peak"]
    block = np.ones(80 << 20, np.uint8)  # what this process takes, its own peak shows
    assert peak() >= block.nbytes
    before = peak()
    more = np.ones(before, np.uint8)
    assert peak() >= before + more.nbytes // 2


def test_systems_take_turns_and_a_long_one_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    def one(path: Path, scenario: str, threads: int) -> dict[str, object]:
        turns.append(path.name)
        seconds = 61.0 if path.name == "slow" else 1.0
        return {"seconds": [seconds], "load": 1.0, "first": 1.0, "peak": 1, "above": 1, "by_graph": [{}]}

    monkeypatch.setattr(measured, "in_a_process", one)
    found = measured.in_turn({name: Path(name) for name in ("a", "slow", "b")}, "one click", threads=1)
    assert turns == ["a", "slow", "b", "a", "b", "a", "b"]
    assert {name: len(each.seconds) for name, each in found.items()} == {"a": 3, "slow": 1, "b": 3}


def test_words_are_read_before_they_are_timed() -> None:
    """The shipped bundle holds a text encoder, where the baselines of the other tests hold a vocabulary."""
    found = measured.in_a_process(data.TINY, "words to masks", threads=1)
    assert [set(by_graph) for by_graph in found["by_graph"]] == [set(MERGED_GRAPHS)] * len(found["seconds"])


def test_the_naive_export_is_what_torch_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Small:
        image_encoder = ImageEncoderViT(
            img_size=64, embed_dim=32, depth=2, num_heads=2, use_rel_pos=True, global_attn_indexes=(1,)
        )

    monkeypatch.setattr("segment_anything.sam_model_registry", {"vit_b": Small})
    path = baselines.naive_encoder(tmp_path / "naive" / "encoder.onnx")
    assert path is not None
    assert [len(each.type.tensor_type.shape.dim) for each in onnx.load(path).graph.input] == [4]
    found = child.measure_file(path, threads=1, runs=2)
    assert len(found["seconds"]) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["naive"]


def made_up(seconds: float, peak: int) -> Measured:
    return Measured([seconds, seconds * 1.1, seconds * 0.9], [0.5], [seconds * 2], [peak], [peak - 50], {})


def test_ratios_by_hand_and_where_two_models_win() -> None:
    found = {name: {MERGED: made_up(1.0, 300_000_000), BOTH: made_up(4.0, 600_000_000)} for name in ("a", "b")}
    found["b"][MERGED] = made_up(5.0, 300_000_000)
    result = bench.Result(
        machine=machine(2, Bundle.open(data.TINY)) | {"sizes": [1, 2], "model": "m"},
        sizes={MERGED: (100, 50), BOTH: (200, 200)},
        scenarios=found,
        encoder={bench.NAIVE: made_up(8.0, 1_000_000_000), "merged int8": made_up(2.0, 80_000_000)},
        growth={},
        costs=[],
    )
    text = report.markdown(result)
    assert (
        "| a | 1.00 s (900 ms to 1.10 s, 3 runs) | 4.00 s (3.60 s to 4.40 s, 3 runs) | 0.25 | 300 MB | 600 MB | 0.50 |"
        in text
    )
    assert "| 1.25 two models are faster |" in text
    assert (
        "| merged int8 | 500 ms | 4.00 s | 2.00 s (1.80 s to 2.20 s, 3 runs) | 0.25 | 80 MB | 80 MB | 0.080 |" in text
    )
    assert "| merged | 0 MB | 0.50 | 0 MB | 0.25 |" in text


def test_the_command_writes_a_report(
    run: Callable[..., Ran], systems: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROUNDS", "RUNS", "MANY"):
        monkeypatch.setattr(measured, name, 1)
    folder = systems[BOTH].parent  # where the baseline is found again
    ran = run("bench", systems[MERGED], "-o", folder, "--threads", 1, "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json["scenarios"]) == set(SCENARIOS)
    assert all(set(found) == {MERGED, BOTH} for found in ran.json["scenarios"].values())
    assert (folder / "bench.png").stat().st_size > 10_000
    assert "peak" in (folder / "bench.md").read_text()
    ran = run("bench", systems[BOTH], "-o", tmp_path)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "name a merged bundle" in ran.err
