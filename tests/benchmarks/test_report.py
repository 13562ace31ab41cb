"""`report.json`: what it holds and what it must not, percentiles by hand, and a long run; no timing is asserted."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import Ran

import samclip_edge
from samclip_edge import data
from samclip_edge.benchmarks import alone, machine, measured
from samclip_edge.benchmarks.alone import LongRun, long_run
from samclip_edge.benchmarks.device_report import COLUMNS, long_markdown, row
from samclip_edge.benchmarks.machine import bundle_facts, megahertz
from samclip_edge.benchmarks.measured import figures
from samclip_edge.benchmarks.scenarios import SCENARIOS
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.files import sha256

BRIEF = ("name a photo", "one click", "name and click", "everything, named")


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A bundle in a folder whose name is nobody's business."""
    return Path(shutil.copytree(data.TINY, tmp_path / "secret-project" / "bundle"))


@pytest.fixture
def reported(
    run: Callable[..., Ran], private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """The text of a report.json, and what was printed."""
    for name in ("ROUNDS", "RUNS", "MANY"):
        monkeypatch.setattr(measured, name, 1)
    monkeypatch.setattr(alone, "SCENARIOS", {name: SCENARIOS[name] for name in BRIEF[:3]})
    out = tmp_path / "secret-project" / "out"
    ran = run("bench", private, "--minutes", 0.01, "-o", out, "--threads", 1, "--json")
    assert ran.code == 0, ran.err
    return (out / "report.json").read_text("utf-8"), ran.out


def test_percentiles_by_hand() -> None:
    told = figures([float(each) for each in range(100, 0, -1)])
    assert told == {"p50": 50.5, "p95": 95.0, "least": 1.0, "most": 100.0, "runs": 100}
    for count in (1, 7, 20, 21, 1000):
        seconds = np.random.default_rng(count).random(count)
        assert figures(list(seconds))["p95"] == np.percentile(seconds, 95, method="inverted_cdf")
    assert figures([]) == {}


def test_a_report_holds_all_that_is_asked_of_a_device(reported: tuple[str, str]) -> None:
    found = json.loads(reported[0])
    assert found == json.loads(reported[1])
    assert (found["format"], found["package"]) == (1, samclip_edge.__version__)
    assert set(found) == {"format", "package", "machine", "bundle", "scenarios", "long"}
    assert {"processor", "cores", "threads", "memory_gb", "system", "engine", "instructions"} <= set(found["machine"])
    assert found["bundle"]["manifest_sha256"] == sha256(data.TINY / MANIFEST)
    for systems in found["scenarios"].values():
        (each,) = systems.values()
        assert {"seconds", "p50", "p95", "runs", "load", "peak"} <= set(each)
        assert each["runs"] == len(each["seconds"]) == 1
    assert found["long"]["first"]["runs"] >= 1
    assert found["long"]["last"]["p95"] >= found["long"]["last"]["p50"] > 0


def test_a_report_names_no_user_host_or_path(reported: tuple[str, str]) -> None:
    found = json.loads(reported[0])
    assert "secret" not in reported[0]
    names = {platform.node(), Path.home().name, getpass.getuser()} - {""}

    def strings(value: object) -> list[str]:
        if isinstance(value, dict):
            return [text for key, each in value.items() for text in (str(key), *strings(each))]
        if isinstance(value, list):
            return [text for each in value for text in strings(each)]
        return [value] if isinstance(value, str) else []

    for text in strings(found):
        assert not names & set(text.replace("/", " ").split()), text
        assert not text.startswith(("/", "~")), text
        assert ":\\" not in text, text


def test_facts_of_a_bundle_leave_out_what_its_owner_wrote() -> None:
    facts = bundle_facts(Bundle.open(data.TINY))
    assert facts["trained"]
    assert (facts["model"], facts["target"], facts["kind"]) == ("tiny", "onnx", "merged")
    assert "origin" not in facts


def made_up(seconds: list[float]) -> LongRun:
    return LongRun(list(np.cumsum(seconds)), seconds, [2000.0] * (len(seconds) - 1) + [1000.0])


def test_the_first_and_the_last_minute_by_hand() -> None:
    """Ninety runs of a second, then sixty of two: the last minute has thirty of these."""
    told = made_up([1.0] * 90 + [2.0] * 60).to_json()
    assert (told["window"], told["ratio"]) == (60.0, 2.0)
    assert (told["first"]["runs"], told["first"]["p50"], told["first"]["megahertz"]) == (60, 1.0, 2000)
    assert (told["last"]["runs"], told["last"]["p95"], told["last"]["megahertz"]) == (30, 2.0, 1967)
    assert "| last | 2.00 s | 2.00 s | 30 | 1967 MHz |" in long_markdown(told)


def test_a_run_longer_than_a_minute_is_first_and_last() -> None:
    told = made_up([100.0, 150.0]).to_json()
    assert (told["first"]["runs"], told["first"]["p50"]) == (1, 100.0)
    assert (told["last"]["runs"], told["ratio"]) == (1, 1.5)
    assert made_up([3.0]).to_json()["ratio"] == 1.0


def test_a_long_run_takes_its_time() -> None:
    found = long_run(data.TINY, minutes=0.02, threads=1)
    assert found.ends[-1] >= 1.2
    assert all(end < 1.2 for end in found.ends[:-1])
    assert len(found.ends) == len(found.seconds) == len(found.megahertz)
    assert sum(found.seconds) <= found.ends[-1]


def test_a_clock_is_read_where_the_system_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for core, kilohertz in (("cpu0", 1_500_000), ("cpu1", 2_500_000)):
        (tmp_path / core / "cpufreq").mkdir(parents=True)
        (tmp_path / core / "cpufreq" / "scaling_cur_freq").write_text(f"{kilohertz}\n")
    monkeypatch.setattr(machine, "CPUS", str(tmp_path))
    assert megahertz() == 2000


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("model name\t: Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8\n", "AVX2,AVX-512,VNNI,AMX int8"),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp asimdhp i8mm\n", "NEON,NEON fp16,dot product,i8mm"),
    ],
)
def test_instruction_sets_of_linux(told: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(machine, "CPUINFO", str(tmp_path / "cpuinfo"))
    found = machine.machine(2, Bundle.open(data.TINY))
    assert found["instructions"] == wanted.split(",")


def test_the_row_to_send() -> None:
    def each(p50: float, runs: int) -> dict[str, dict[str, object]]:
        return {"merged": {"p50": p50, "p95": 2 * p50, "runs": runs, "peak": [int(p50 * 1e9)]}}

    on = {"processor": "Jetson", "cores": 6, "memory_gb": 8.0, "system": "Linux aarch64", "engine": "E", "threads": 6}
    document = {
        "machine": on | {"instructions": ["NEON"]},
        "bundle": {"model": "m", "precision": "int8", "target": "onnx", "kind": "merged", "sizes": [224, 1024]},
        "scenarios": {name: each(0.1 * (index + 1), 60 if index == 0 else 3) for index, name in enumerate(BRIEF)},
        "long": {"ratio": 1.25},
    }
    head, _, cells = row(document).splitlines()
    assert head == f"| {' | '.join(COLUMNS)} |"
    wanted = "| Jetson (NEON), 6 cores, 8.0 GB, Linux aarch64, E | m int8, onnx, at 224 and 1024 | 6 "
    assert cells == wanted + "| 100 ms, p95 200 ms | 200 ms | 300 ms | 400 ms | 400 MB | 1.25 |"


def test_a_bundle_alone_is_measured_without_torch() -> None:
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'matplotlib', 'cv2'): sys.modules[name] = None\n"
        "import samclip_edge.benchmarks.alone, samclip_edge.benchmarks.child, samclip_edge.benchmarks.device_report"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "100000"])
def test_minutes_that_are_none_are_refused(minutes: str, run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("bench", data.TINY, f"--minutes={minutes}", "-o", tmp_path)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--minutes" in ran.err
    assert not list(tmp_path.iterdir())
