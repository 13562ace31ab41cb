"""How a task is run: limits, samples that cannot be used, a run that was stopped, and the report of all tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubled import Doubled
from PIL import Image
from support import Ran
from trees import WORDNET, save

from samclip_edge import SamClip
from samclip_edge.benchmarks.evaluation import classification, everything, run
from samclip_edge.benchmarks.evaluation.families import FAMILIES
from samclip_edge.benchmarks.evaluation.journal import Journal
from samclip_edge.benchmarks.evaluation.layout import sizes_of
from samclip_edge.benchmarks.evaluation.task import Asked, Sample
from samclip_edge.cache import VARIABLE
from samclip_edge.cli import eval as command
from samclip_edge.errors import InputError


@pytest.fixture
def asked(tiny: SamClip, tmp_path: Path) -> Asked:
    return Asked(tiny, tmp_path)


def test_samples_are_read_in_other_processes_in_order_and_broken_ones_are_named(asked: Asked) -> None:
    task = Doubled(20)
    found = run.measure(task, asked)
    assert task.asked == [n for n in range(20) if n not in (7, 17)]
    assert found.measures == {"sum": 2 * (190 - 7 - 17)}
    assert found.skipped == {"7": "7: broken", "17": "17: broken"}
    assert found.of == 20


def test_a_run_that_was_stopped_continues(asked: Asked, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(KeyboardInterrupt):
        run.measure(Doubled(20, last=9), asked)
    (journal,) = (tmp_path / "cache" / "evaluations").iterdir()
    with journal.open("ab") as file:
        file.write(b'["9", {"twi')  # as a full disk, or a kill, leaves it
    task = Doubled(20)
    assert run.measure(task, asked).measures == {"sum": 2 * (190 - 7 - 17)}
    assert task.asked == [8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19], "two calls of four were kept"
    assert not journal.exists(), "a run that came to its end begins anew"


def test_what_was_found_of_other_samples_is_not_taken(asked: Asked, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(KeyboardInterrupt):
        run.measure(Doubled(20, last=9), asked)
    other = Doubled(20)
    other.protocol = {"how": "twice, in another way"}
    run.measure(other, asked)
    assert len(other.asked) == 18


def test_a_journal_keeps_only_whole_lines(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    stopped = Journal("a run")
    stopped.__enter__().add({"a": 1, "b": [2.5]})
    path = stopped.path
    assert path is not None
    path.write_bytes(path.read_bytes()[:-3])
    continued = Journal("a run")
    assert continued.__enter__().found == {"a": 1}
    continued.add({"c": 3})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [["a", 1], ["c", 3]]


def test_a_limit_takes_the_same_samples_each_time_and_more_of_them_for_a_larger_one() -> None:
    samples = Doubled(1000).samples
    few, more = run.limited(samples, 10), run.limited(samples, 200)
    assert few == run.limited(samples, 10)
    assert len(few) == 10
    assert set(few) < set(more)
    assert [each.truth for each in more] == sorted(each.truth for each in more)
    assert max(each.truth for each in more) > 900, "sorted sets are not cut off"
    assert run.limited(samples, 5000) == samples


def test_nothing_that_can_be_used_is_one_line(asked: Asked) -> None:
    task = Doubled(1)
    task.samples = [Sample("7", Path("7"), 7)]
    with pytest.raises(InputError, match="no sample can be used \\(7: broken\\)"):
        run.measure(task, asked)


def test_a_size_that_is_not_there_is_refused_with_the_command_that_adds_it(tiny: SamClip) -> None:
    assert sizes_of(tiny, (), (128,)) == [128]
    assert sizes_of(tiny, (256,), (448,)) == [256]
    with pytest.raises(InputError) as refused:
        sizes_of(tiny, (), (448, 128))
    assert "holds 128 and 256, not 448" in str(refused.value)
    assert "--target onnx --precision fp32 --size 128 --size 256 --size 448 -o DIR" in str(refused.value)


def test_every_family_has_its_command() -> None:
    names = {each.name for each in command.app.registered_commands if each.name}
    assert names - {"all"} == set(FAMILIES)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of data sets that holds ImageNet alone."""
    for number, name in enumerate(WORDNET):
        save(number, tmp_path / "root" / "imagenet" / "val" / name / f"{number}.JPEG", format="JPEG")
    (tmp_path / "root" / "imagenet" / "val" / WORDNET[0] / "broken.JPEG").write_bytes(b"no photo")
    return tmp_path / "root"


def test_all_tells_what_it_measured_and_what_it_left_out(
    run: Callable[..., Ran], root: Path, tmp_path: Path, tiny_folder: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(classification, "read_templates", lambda _: ["a photo of a {}."])  # of 1,000 names: quicker
    (root / "voc").mkdir()
    report = tmp_path / "report"
    arguments = ("eval", "all", "--data-root", root, "--bundle", tiny_folder, "--size", 128, "-o", report, "--json")
    ran = run(*arguments)
    assert ran.code == 0, ran.err
    (said,) = ran.json["tasks"]
    assert said["columns"]["128"]["measured"] == 3
    assert list(said["columns"]["128"]["skipped"]) == [f"val/{WORDNET[0]}/broken.JPEG"]
    assert said["bundle_facts"]["manifest_sha256"]
    assert ran.json["not_measured"]["places365"] == "no folder places365"
    page = (report / "report.md").read_text()
    assert "## imagenet" in page
    assert "- places365: no folder places365" in page
    pictures = sorted(each.name for each in (report / "imagenet" / "128").iterdir())
    assert pictures == [f"{what}-{n}.jpg" for what in ("best", "drawn", "worst") for n in (1, 2, 3)]
    assert Image.open(report / "imagenet" / "128" / "best-1.jpg").size == (960, 960)

    def fails(*_: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(everything, "measure", fails)
    assert run(*arguments).json == ran.json, "an unfinished report goes on behind what it has"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("imagenet", "--data", "{}/nowhere"),
            "--data {}/nowhere: no such folder; ImageNet's validation photos lie in",
        ),
        (("imagenet", "--data", "{}/voc"), "--data {}/voc: holds no n[0-9]*/ and no val/n[0-9]*/"),
        (("imagenet", "--data", "{}/imagenet"), "holds 128 and 256, not 224 and 336; add it by `samclip-edge export"),
        (("imagenet", "--data", "{}/imagenet", "--size", "100"), "--size 100: the bundle holds 128, 256"),
        (("all", "--data-root", "{}/imagenet", "-o", "{}/o"), "--data-root {}/imagenet: nothing could be measured"),
        (("imagenet", "--data", "{}/imagenet", "--size", "128", "-o", "{}/imagenet/val/x.txt"), "cannot be written"),
    ],
)
def test_bad_input_is_one_line(
    run: Callable[..., Ran], root: Path, tiny_folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    (root / "imagenet" / "val" / "x.txt").write_text("a file")
    (root / "voc").mkdir()
    ran = run("eval", *(each.replace("{}", str(root)) for each in arguments), "--bundle", tiny_folder)
    assert ran.code == 2
    assert told.replace("{}", str(root)) in ran.err
    assert [line for line in ran.err.splitlines() if not line.startswith("note: ")] == [ran.err.splitlines()[-1]]
