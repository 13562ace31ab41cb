"""`bench --runtime native`: its ratios by hand, over a program that stands in for the built one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import Ran

from samclip_edge import InputError, data
from samclip_edge.benchmarks import measured, native

PYTHON = {"load": 0.5, "first": 1.0, "seconds": [0.4, 0.2, 0.3], "by_graph": [], "peak": 200_000_000, "above": 1}
NATIVE = {"load": 0.1, "first": 0.5, "seconds": [0.1, 0.3, 0.15], "by_graph": [], "peak": 150_000_000, "above": 1}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program on the PATH that writes down what it is asked and answers `NATIVE`; Python is not measured."""
    program = tmp_path / native.PROGRAM
    asked = tmp_path / "asked.txt"
    clock = f"exec '{sys.executable}' -c 'import time; print(time.monotonic())'"
    program.write_text(
        f"#!/bin/sh\necho \"$2|$3|$4|$5|$7|$8|$9\" >>'{asked}'\n"
        f"case $2 in start*) {clock};; esac\necho '{json.dumps(NATIVE)}'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(measured, "in_a_process", lambda *_: PYTHON)
    monkeypatch.setattr(measured, "ROUNDS", 2)
    monkeypatch.setattr(native, "STARTS", 1)
    monkeypatch.setattr(native, "CLICK", "import time; time.sleep(1); print(time.monotonic())")
    return asked


def test_ratios_and_marks(stand_in: Path, tmp_path: Path) -> None:
    ((name, found),) = native.measure_native(data.PHOTO, tmp_path, threads=2)
    assert name == "bundle"
    click = found.scenarios["one click"]
    assert click["Python"].latency == 0.3  # the median of 0.2, 0.2, 0.3, 0.3, 0.4, 0.4
    assert click["native"].latency == 0.15
    assert {each.mark.scenario: each.measured for each in found.marks}["one click"] == 0.5
    assert all(each.reached for each in found.marks)
    text = native.native_markdown("photo", found)
    row = next(line for line in text.splitlines() if line.startswith("| name and click"))
    assert "| 0.50 | 200 MB | 150 MB | 0.75 |" in row
    starts = found.scenarios[native.START]
    assert starts["Python"].latency > 1 > starts["native"].latency > 0
    lines = stand_in.read_text().splitlines()
    assert "name a photo|2|3|20|512|512|1" in lines  # scenario, threads, runs, most, sides of the photo, trained
    assert json.loads(json.dumps(found.to_json()))["marks"][0]["reached"] is True


def test_the_shipped_model_has_marks_of_its_own(stand_in: Path, tmp_path: Path) -> None:
    name, found = next(iter(native.measure_native(None, tmp_path, threads=2)))
    assert name == "photo"
    marks = {(each.mark.scenario, each.mark.what): each.mark.most for each in found.marks}
    assert marks[native.START, "time"] == 0.25
    assert marks["everything, named", "time"] == 0.8
    assert marks["name and click", "peak memory"] == 0.8
    assert {each.mark.scenario: each.reached for each in found.marks if each.mark.what == "time"}["one click"]


def test_a_mark_that_is_missed_says_so(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "in_a_process", lambda *_: PYTHON | {"seconds": [0.1]})
    ((_, found),) = native.measure_native(data.PHOTO, tmp_path, threads=2)
    assert "- one click: time 1.50 of Python's; the mark is 1: missed" in native.native_markdown("photo", found)


def test_a_program_that_fails_is_told_by_its_last_line(stand_in: Path, tmp_path: Path) -> None:
    (tmp_path / native.PROGRAM).write_text("#!/bin/sh\necho 'no such bundle' >&2\nexit 1\n")
    with pytest.raises(InputError, match=r"did not run to its end \(no such bundle\)"):
        list(native.measure_native(data.PHOTO, tmp_path, threads=2))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--runtime", "native"], "samclip-edge-measure is not here; build it by `make native`"),
        (["--runtime", "web"], "--runtime web: there are native and litert to be measured"),
        (["--runtime", "native", "--minutes", "1"], "--runtime: measures runtimes only"),
    ],
)
def test_bad_options(
    options: list[str], says: str, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ran = run("bench", data.PHOTO, *options)
    assert ran.code == 2
    assert says in ran.err


def test_a_click_in_python_from_the_start_of_a_process(tmp_path: Path) -> None:
    """What is measured against the native program's start is a whole, working program."""
    np.full((40, 60, 3), 90, np.uint8).tofile(tmp_path / "photo.rgb")
    order = json.dumps([str(data.PHOTO), 1, str(tmp_path / "photo.rgb"), 60, 40])
    before = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", native.CLICK, order], check=True, capture_output=True, text=True)
    assert before < float(ran.stdout) < time.monotonic()
