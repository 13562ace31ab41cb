"""The table of bases: what is measured and how ratios come out, on made-up times; no timing is asserted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from support import Ran

from samclip_edge import data
from samclip_edge.benchmarks import bases, child, scenarios
from samclip_edge.benchmarks.bases import CAMERA, PAIRS, SIZES, Facts, measure_bases
from samclip_edge.benchmarks.bases_report import bases_markdown
from samclip_edge.benchmarks.marks import MARKS, judged
from samclip_edge.benchmarks.measured import Measured
from samclip_edge.benchmarks.operators import by_operator, encoder_by_operator
from samclip_edge.benchmarks.published import PUBLISHED
from samclip_edge.benchmarks.scenarios import WIDE, Asked, widened
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.model.open_clips import side_by_side
from samclip_edge.pipeline import SamClip

MOBILE_PAIR = "MobileSAM + MobileCLIP2-S0"
# By system: seconds of a run, and peak bytes.
MADE_UP = {
    "vit_b": (4.0, 10**9),
    "mobile": (0.5, 6 * 10**8),
    "mobile fp16": (0.5, 7 * 10**8),
    "mobile int8": (0.3, 10**8),
    "MobileSAM + ViT-B-32": (0.6, 10**9),
    MOBILE_PAIR: (0.5, 10**9),
}
ROWS = list(MADE_UP)


def made_up(seconds: float, peak: int) -> Measured:
    return Measured([seconds], [0.25], [seconds], [peak], [peak], {"image_encoder": seconds / 2})


class Stub:
    """Takes the place of exports and of measurements, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.exported: dict[str, tuple[str, str, Sequence[Size]]] = {}
        self.measured: list[tuple[str, list[str]]] = []

    def random_bundle(
        self, model: str | ModelSpec, folder: Path, precision: str, sizes: Sequence[Size], progress: object
    ) -> Path:
        what = model if isinstance(model, str) else model.name
        self.exported[folder.name] = (what, precision, sizes)
        return data.TINY

    def in_turn(self, systems: dict[str, Path], scenario: str, threads: int) -> dict[str, Measured]:
        self.measured.append((scenario, list(systems)))
        times = {**MADE_UP, "1024": (4.0, 10**9), CAMERA: (2.0, 5 * 10**8)}
        return {name: made_up(*times[name]) for name in systems}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub()
    monkeypatch.setattr(bases, "random_bundle", made.random_bundle)
    monkeypatch.setattr(bases, "in_turn", made.in_turn)
    monkeypatch.setattr(bases, "facts_of", lambda bundle: Facts(3 * 10**8, 2 * 10**8, 5_700_000, 38_400_000_000))
    monkeypatch.setattr(bases, "encoder_by_operator", lambda bundle, size, threads: {"MatMul": 3.0, "Add": 1.0})
    return made


def test_mobile_is_measured_beside_vit_b_and_both_pairs_in_turn(stub: Stub, tmp_path: Path) -> None:
    found = measure_bases(["mobile", "mobile"], tmp_path, threads=1)
    assert stub.exported == {
        "vit_b": ("vit_b", "fp32", SIZES),
        "mobile": ("mobile", "fp32", SIZES),
        "mobile_fp16": ("mobile", "fp16", SIZES),
        "mobile_int8": ("mobile", "int8", SIZES),
        "mobilesam+vit-b-32": ("sam+clip", "fp32", (1024,)),
        "mobilesam+mobileclip2-s0": ("sam+clip", "fp32", (1024,)),
        "vit_b_1024x576": ("vit_b", "fp32", ("1024x576",)),
        "mobile_1024x576": ("mobile", "fp32", ("1024x576",)),
    }
    alone = [(scenario, ROWS) for scenario in ("encode", "name a photo", "name and click", "words to masks")]
    shapes = [(scenario + WIDE, ["1024", "1024x576"]) for scenario in ("encode", "name and click")]
    assert stub.measured == alone + 2 * shapes
    assert list(found.shapes) == ["vit_b", "mobile"]
    assert set(found.profiles) == {"vit_b", "mobile"}  # its peak memory misses the mark
    assert json.loads(json.dumps(found.to_json()))["facts"]["mobile"]["disk"] == 300_000_000


def test_tables_with_ratios_by_hand(stub: Stub, tmp_path: Path) -> None:
    text = bases_markdown(measure_bases(["mobile"], tmp_path, threads=1))
    assert PUBLISHED.strip() in text
    assert PUBLISHED in (Path(__file__).parents[2] / "docs/performance.md").read_text("utf-8")
    assert "| mobile | 5.7 M | 38.4 G |  | 300 MB | 1.00 | 200 MB |" in text
    assert "| mobile | 250 ms | 500 ms (1 run) | 0.125 | 600 MB | 0.60 |" in text
    assert "| time of mobile, of vit_b: name and click | 0.15 | 0.12 | yes |" in text
    assert "| peak memory of mobile, of vit_b: name and click | 0.50 | 0.60 | no |" in text
    assert f"| time of mobile, of {MOBILE_PAIR}: name and click | 1.00 | 1.00 | yes |" in text
    assert "| time of mobile int8, of mobile: the encoder alone | 0.70 | 0.60 | yes |" in text
    wide = "| mobile, the encoder alone | 4.00 s (1 run) | 2.00 s (1 run) | 0.50 |"
    assert f"{wide} 1000 MB | 500 MB |" in text
    assert "| mobile's encoder: operator | seconds | share |\n| --- | --- | --- |\n| MatMul | 3.00 s | 0.75 |" in text


def test_a_base_without_marks_has_no_table_of_them(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("radio", "radio fp16", "radio int8", "SAM ViT-B + ViT-B-16"):
        monkeypatch.setitem(MADE_UP, name, (9.0, 10**9))
    found = measure_bases(["radio"], tmp_path, threads=1)
    assert (found.marks, found.profiles) == ([], {})
    assert list(found.shapes) == ["vit_b"]
    assert "reached?" not in bases_markdown(found)


def test_marks_compare_what_they_name() -> None:
    measured = {scenario: {name: made_up(*each) for name, each in MADE_UP.items()} for scenario in bases.SCENARIOS}
    ratios = [0.5 / 4.0, 0.6, 1.0, 0.3 / 0.5, 0.3 / 0.5]
    found = judged(measured)
    assert [each.mark for each in found] == list(MARKS)
    assert [each.measured for each in found] == pytest.approx(ratios)
    assert [each.reached for each in found] == [True, False, True, True, True]
    del measured["name and click"]["mobile int8"]
    assert len(judged(measured)) == len(MARKS) - 1


@pytest.mark.parametrize(("base", "two"), [(base, two) for base, pairs in PAIRS.items() for two in pairs])
def test_the_two_models_of_a_base_can_be_built(base: str, two: str) -> None:
    pair = PAIRS[base][two]
    spec = side_by_side(pair.sam, pair.clip)
    assert spec.kind == "sam+clip"
    assert spec.encoder == PRESETS[pair.sam].encoder
    assert (base == "radio") == (spec.encoder != PRESETS[base].encoder)


def test_seconds_by_operator_are_those_of_the_last_run() -> None:
    def node(name: str, ts: int, dur: int) -> dict[str, object]:
        return {"name": f"n{ts}_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": name}}

    events = [
        {"name": "model_loading_uri", "ts": 0, "dur": 5, "args": {}},
        node("Add", 12, 100),
        {"name": "model_run", "ts": 10, "dur": 200, "args": {}},
        node("Add", 320, 1_000_000),
        node("MatMul", 330, 3_000_000),
        {"name": "n330_fence_before", "ts": 330, "dur": 7, "args": {"op_name": "MatMul"}},
        node("MatMul", 340, 500_000),
        {"name": "model_run", "ts": 310, "dur": 5_000_000, "args": {}},
    ]
    assert list(by_operator(events).items()) == [("MatMul", 3.5), ("Add", 1.0)]


def test_the_profile_of_an_encoder() -> None:
    found = encoder_by_operator(Bundle.open(data.TINY), 128, threads=1)
    assert {"MatMul", "Softmax", "Conv"} <= set(found)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_the_middle_of_a_photo_in_the_shape_of_a_camera() -> None:
    photo = np.arange(512 * 512 * 3, dtype=np.uint32).astype(np.uint8).reshape(512, 512, 3)
    assert np.array_equal(widened(photo), photo[112:400])
    assert widened(photo[:100]).shape == (100, 512, 3)


def test_a_scenario_of_16_9_is_given_such_a_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def look(model: SamClip, asked: Asked) -> None:
        seen.append(asked.photo.shape)

    monkeypatch.setitem(scenarios.SCENARIOS, "one click", look)
    for scenario in ("one click", "one click" + WIDE):
        child.measure(data.TINY, scenario, threads=1, runs=1)
    assert seen == 2 * [(512, 512, 3)] + 2 * [(288, 512, 3)]  # to warm up, and the run
    assert set(child.measure(data.TINY, "encode" + WIDE, 1, 1)["by_graph"][0]) == {"image_encoder"}


def test_bases_that_cannot_be_measured_are_refused(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("bench", "--base", "vit_x", "-o", tmp_path)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--base vit_x: is none of mobile, vit_l, vit_h, radio" in ran.err
    ran = run("bench", data.TINY, "--base", "mobile", "-o", tmp_path)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--base mobile: is measured without a bundle" in ran.err
    assert not list(tmp_path.iterdir())
