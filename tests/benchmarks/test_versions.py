"""`bench --against`: that each version runs its own code, and what ratios come to; no timing is asserted."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import Ran

import samclip_edge
from samclip_edge import SamClip, data
from samclip_edge.benchmarks import against, any_version, example_photos, measured
from samclip_edge.benchmarks.against import BEFORE, HELP, NOW, Compared, Version, compare
from samclip_edge.benchmarks.any_version import COLUMNS, ROWS, SCENARIOS, Asked, draw_masks
from samclip_edge.benchmarks.device_report import compared_markdown
from samclip_edge.benchmarks.measured import Measured
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.tasks.everything import Settings

ROOMS = ("runtimes", "export", "train", "benchmarks")


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with another version of the package: this one, under another number and with a mark in its export."""
    folder = tmp_path_factory.mktemp("older")
    package = folder / "samclip_edge"
    package.mkdir()
    (home,) = samclip_edge.__path__
    rooms = [Path(import_module(f"samclip_edge.{room}").__path__[0]) for room in ROOMS]
    for path in (*Path(home).iterdir(), *rooms):
        if path.name not in ("__init__.py", "bundle", "__pycache__") and not (package / path.name).exists():
            (package / path.name).symlink_to(path)
    text = (Path(home) / "__init__.py").read_text("utf-8")
    (package / "__init__.py").write_text(text.replace('__version__ = "', '__version__ = "0.0.1 of '), "utf-8")
    (package / "bundle").mkdir()
    for path in (Path(home) / "bundle").glob("*.py"):
        (package / "bundle" / path.name).symlink_to(path)
    (package / "bundle" / "more.py").write_text('"""What this version does not have."""\n')
    return folder


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(example_photos, "COUNT", 3)
    monkeypatch.setattr(example_photos, "LARGE", (800, 600))
    return example_photos.example_photos(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, photos: dict[str, Any]) -> None:
    for name in ("ROUNDS", "RUNS", "MANY"):
        monkeypatch.setattr(measured, name, 1)


def test_the_photos_are_of_the_sizes_that_are_said(photos: dict[str, Any]) -> None:
    sizes = [Image.open(path).size for path in (photos["photo"], photos["large"], *photos["many"])]
    assert sizes == [(512, 512), (800, 600), *3 * [(640, 480)]]
    assert len({Path(path).read_bytes() for path in photos["many"]}) == 3


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_runs_as_often_as_it_is_asked_to(scenario: str, photos: dict[str, Any]) -> None:
    runs = 0 if "everything" in scenario else 2  # a thousand clicks take seconds: its warm-up must do here
    asked = photos | {"words": ["red circle", "dog"], "drawn": True, "threads": 1, "runs": runs, "most": runs}
    found = any_version.measure(asked | {"bundle": str(data.TINY), "scenario": scenario})
    assert len(found["seconds"]) == (1 if SCENARIOS[scenario] in any_version.ONCE else runs)
    assert 0 <= found["above"] < found["peak"]
    assert not found["told"]


def test_a_version_without_classify_names_as_its_apps_had_to(photos: dict[str, Any]) -> None:
    class Older:
        def __init__(self) -> None:
            self._model = SamClip.load(data.TINY)

        def look(self, photo: str) -> Any:
            return self._model.look(photo)

    _, run, told = any_version.name(Older(), Asked(**photos, words=["red circle", "dog"]))
    assert told.startswith("has no SamClip.classify")
    assert {each.label for each in run()} == {"red circle", "dog"}


def test_a_click_without_graphs_runs_them_once(photos: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = SamClip.load(data.TINY)
    ran: list[str] = []
    own = model.sessions.run

    def counted(name: Any, *arguments: Any, **inputs: Any) -> Any:
        ran.append(name)
        return own(name, *arguments, **inputs)

    monkeypatch.setattr(model.sessions, "run", counted)
    warm, run, _ = any_version.large_click(model, Asked(**photos, words=["dog"]))
    warm()
    (first,), (second,) = run(), run()
    assert sorted(ran) == ["image_encoder", "mask_decoder", "prompt_encoder"]
    assert np.array_equal(first.bits, second.bits)
    assert first.bits.shape == (600, 800)


def test_drawn_masks_pass_the_filters_and_are_told_apart() -> None:
    """Sixty-four clicks in turn are answered with discs of which none is another's double."""
    model = SamClip.load(data.TINY)
    draw_masks(model.sessions)
    masks = model.look(data.photos()[0]).everything(settings=Settings(points_per_side=8))
    assert len(masks) == 64 < COLUMNS * ROWS
    small = min(mask.area for mask in masks)
    assert small == pytest.approx(np.pi * (0.42 * 512 / COLUMNS) ** 2, rel=0.1)


def test_a_process_imports_the_version_that_it_is_told_to(older: Path) -> None:
    before, now = Version(BEFORE, older).about(), Version(NOW, None).about()
    assert (before["version"], now["version"]) == (f"0.0.1 of {samclip_edge.__version__}", samclip_edge.__version__)
    assert before["code"] != now["code"]


def test_a_process_may_tidy_up_where_the_command_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = tmp_path / "half-written"
    code = (
        f"import pathlib, signal, sys, time; half = pathlib.Path({str(half)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (half.unlink(), sys.exit()))\n"
        "half.touch(); time.sleep(60)"
    )

    def stopped(process: subprocess.Popen[str]) -> None:
        while not half.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", stopped)
    with pytest.raises(KeyboardInterrupt):
        Version(NOW, None).run(["-c", code], threads=1)
    assert not half.exists()


def test_the_command_measures_a_bundle_with_both(
    run: Callable[..., Ran], older: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenarios = ("one click", "twenty known names")
    monkeypatch.setattr(any_version, "SCENARIOS", {name: SCENARIOS[name] for name in scenarios})
    ran = run("bench", data.TINY, "--against", older, "-o", tmp_path / "out", "--threads", 1, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert set(found["scenarios"]) == {HELP, *scenarios}
    for scenario, both in found["scenarios"].items():
        (ratio,) = found["ratios"][scenario]
        assert ratio == pytest.approx(both[NOW]["p50"] / both[BEFORE]["p50"])
    assert found["versions"][BEFORE].startswith("0.0.1 of ")
    assert found == json.loads((tmp_path / "out" / "report.json").read_text())
    assert str(older) not in ran.out


def test_each_version_exports_a_checkpoint_once(
    older: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(any_version, "SCENARIOS", {"one click": SCENARIOS["one click"]})
    exported: list[list[str]] = []

    def stub(version: Version, arguments: list[str], threads: int, cache: Path | None = None) -> str:
        if arguments[-1] == "{}":
            return json.dumps({"version": version.name, "code": "c0de"})
        if HELP in arguments:
            return ""
        if "export" in arguments:
            exported.append(arguments)
            Path(arguments[-1]).symlink_to(data.TINY)
            return ""
        part = {"seconds": [1.0 + (version.name == BEFORE)], "load": 1.0, "first": 1.0, "peak": 1, "above": 1}
        return json.dumps(part | {"by_graph": [], "told": f"in {Path(json.loads(arguments[1])['bundle']).name}"})

    monkeypatch.setattr(Version, "run", stub)
    checkpoint = data.CHECKPOINTS["tiny"]
    for _ in range(2):
        found, _ = compare(checkpoint, older, tmp_path, threads=1)
    assert [each[3:5] + each[-2:] for each in exported] == [
        ["--model", str(checkpoint.resolve()), "-o", str(tmp_path / f"model_{name}_c0de")] for name in (BEFORE, NOW)
    ]
    assert found.ratios["one click"] == [0.5]
    assert (tmp_path / f"model_{NOW}_c0de" / MANIFEST).is_file()


def test_what_a_version_cannot_do_is_said_and_the_rest_measured(
    older: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def once(scenario: str, version: Version, asked: object, cache: object) -> dict[str, Any]:
        if scenario == "one click" and version.name == BEFORE:
            raise against.InputError("the version before did not run to its end (AttributeError: no such thing)")
        return {"seconds": [1.0], "load": 0.0, "first": 0.0, "peak": 1, "above": 0, "by_graph": [], "told": ""}

    monkeypatch.setattr(against, "_once", once)
    found, _ = compare(data.TINY, older, tmp_path, threads=1)
    assert found.notes["one click"] == "not measured: a version did not run it to its end"
    assert "no such thing" in caplog.text
    assert set(found.scenarios) == {HELP, *SCENARIOS} - {"one click"}


def test_ratios_of_rounds_by_hand() -> None:
    def made_up(seconds: list[float], peak: int) -> Measured:
        return Measured(seconds, [1.0], [1.0], [peak], [peak], {})

    both = {BEFORE: made_up([4.0, 2.0, 3.0], 400_000_000), NOW: made_up([1.0, 1.0, 0.9], 100_000_000)}
    whole = {BEFORE: made_up([0.2] * 20, 0), NOW: made_up([0.1] * 20, 0)}
    on = {
        "processor": "P",
        "cores": 2,
        "memory_gb": 8.0,
        "system": "S",
        "engine": "E",
        "threads": 2,
        "instructions": [],
    }
    found = Compared(
        on | {"instructions": []},
        {"model": "m", "precision": "fp32"},
        {BEFORE: "1", NOW: "2"},
        {"a": both, HELP: whole},
        {"a": [0.25, 0.5, 0.3], HELP: [0.5]},
        {"a": "before does otherwise"},
    )
    text = compared_markdown(found)
    a = "| a | 3.00 s (2.00 s to 4.00 s, 3 runs) | 1.00 s (900 ms to 1.00 s, 3 runs) | 0.30 (0.25 to 0.50) |"
    assert f"{a} 400 MB | 100 MB | 0.25 |" in text
    times = "200 ms, p95 200 ms (200 ms to 200 ms, 20 runs) | 100 ms, p95 100 ms (100 ms to 100 ms, 20 runs)"
    assert f"| --help | {times} | 0.50 |  |  |  |" in text
    assert "- a: before does otherwise" in text


def test_folders_without_a_version_are_refused(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("bench", data.TINY, "--against", tmp_path, "-o", tmp_path / "out")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"--against {tmp_path}: holds no samclip-edge" in ran.err
    ran = run("bench", "--base", "mobile", "--against", tmp_path)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--base mobile: is measured by itself; leave --against out" in ran.err
    assert not list(tmp_path.iterdir())
