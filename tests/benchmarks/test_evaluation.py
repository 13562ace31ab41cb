"""How a task is run: limits, samples that cannot be used, a run that was stopped, and the report of all tasks."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubled import Doubled
from PIL import Image
from support import Ran
from trees import WORDNET, save

from samclip_edge import SamClip
from samclip_edge.benchmarks.evaluation import classification, everything, layout, run
from samclip_edge.benchmarks.evaluation.families import FAMILIES
from samclip_edge.benchmarks.evaluation.identity import stamps
from samclip_edge.benchmarks.evaluation.journal import Journal
from samclip_edge.benchmarks.evaluation.label_maps import LabelMap
from samclip_edge.benchmarks.evaluation.task import Asked, Sample
from samclip_edge.benchmarks.evaluation.true_instances import Annotated
from samclip_edge.cache import VARIABLE
from samclip_edge.cli import eval as command
from samclip_edge.encoded import SideBySide
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


@pytest.fixture
def stopped(asked: Asked, tmp_path: Path, monkeypatch: Any) -> Path:
    """The journal of a run over twenty samples that was stopped after eight, of which one could not be used."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(KeyboardInterrupt):
        run.measure(Doubled(20, last=9), asked)
    (journal,) = (tmp_path / "cache" / "evaluations").iterdir()
    return journal


def test_a_run_that_was_stopped_continues(asked: Asked, stopped: Path) -> None:
    with stopped.open("ab") as file:
        file.write(b'\n01234567 ["9", {"twi')  # as a full disk, or a kill, leaves it
    task = Doubled(20)
    found = run.measure(task, asked)
    assert found.measures == {"sum": 2 * (190 - 7 - 17)}
    assert task.asked == [8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19], "two calls of four were kept"
    again = Doubled(20)
    assert run.measure(again, asked).measures == found.measures
    assert again.asked == [], "nothing is lost before the result is where it belongs"
    found.journal.remove()
    assert not stopped.exists()


def test_a_limited_run_leaves_what_a_whole_one_found(asked: Asked, stopped: Path) -> None:
    few = Doubled(20)
    run.measure(few, asked, limit=3).journal.remove()
    assert set(few.asked) <= set(range(8, 20))
    rest = Doubled(20)
    run.measure(rest, asked).journal.remove()
    assert set(rest.asked) == {8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19} - set(few.asked)
    assert not stopped.exists()
    run.measure(Doubled(20), asked, limit=3).journal.remove()
    assert not stopped.exists(), "what a limited run alone found is not kept"


def test_equal_samples_have_equal_stamps_whichever_strings_are_one_object() -> None:
    name = "dog"
    shared = Annotated(1, 2, 3, [{"id": 1, "name": name}, {"name": name, "id": 2}], None)
    apart = Annotated(
        1, 2, 3, [json.loads(text) for text in ('{"name": "dog", "id": 1}', '{"id": 2, "name": "dog"}')], None
    )
    assert pickle.dumps(shared) != pickle.dumps(apart)
    stamped = [stamps([Sample("a", Path("a.jpg"), truth)], Path()) for truth in (shared, apart)]
    of_map = stamps([Sample("a", Path("a.jpg"), LabelMap(Path("a.png"), {2: 1, 1: 0}))], Path())
    said = json.dumps(["a", [1, 2, 3, [{"id": 1, "name": "dog"}, {"id": 2, "name": "dog"}], None], [None]])
    assert stamped == [{"a": hashlib.sha256(said.encode()).hexdigest()}] * 2, "in every process"
    assert of_map == stamps([Sample("a", Path("a.jpg"), LabelMap(Path("a.png"), {1: 0, 2: 1}))], Path())
    assert of_map != stamps([Sample("a", Path("a.jpg"), LabelMap(Path("a.png"), {1: 1, 2: 0}))], Path())


def test_what_was_found_of_another_question_is_not_taken(asked: Asked, stopped: Path, tmp_path: Path) -> None:
    otherwise, of_others = Doubled(20), Doubled(20)
    otherwise.protocol, of_others.rests_on = {"how": "twice, in another way"}, ["other names"]
    of_other_data = replace(asked, data=tmp_path / "elsewhere")
    for task, question in ((otherwise, asked), (of_others, asked), (Doubled(20), of_other_data)):
        run.measure(task, question)
        assert len(task.asked) == 18


def test_a_sample_that_changed_is_measured_again(asked: Asked, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    task = Doubled(6)
    task.samples = [each._replace(photo=tmp_path / each.key) for each in task.samples]
    task.samples[4].photo.write_text("a photo")
    before = run.measure(task, asked)
    task.samples[2] = task.samples[2]._replace(truth=30)
    task.samples[4].photo.write_text("another photo")
    task.asked.clear()
    after = run.measure(task, asked)
    assert task.asked == [30, 4]
    assert after.measures == {"sum": 2 * (0 + 1 + 30 + 3 + 4 + 5)}
    assert before.fingerprint != after.fingerprint == run.fingerprint_of(task, asked, None)


def test_a_key_that_is_there_twice_is_one_line(asked: Asked) -> None:
    task = Doubled(3)
    task.samples += task.samples[1:2]
    with pytest.raises(InputError, match="its lists have 1 twice"):
        run.measure(task, asked)


ODD = (b"5", b"null", b"[[1],2]", b'["key",{}]', b"[" * 100_000, b'00000000 ["c", 1]', b"\xff", b"", b"00000000 ")


def test_a_journal_drops_lines_that_are_not_as_they_were_written(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with Journal("a run") as journal:
        journal.add({"a": 1, "b": [2.5]})
    (path,) = (tmp_path / "evaluations").iterdir()
    path.write_bytes(b"\n".join([*ODD, path.read_bytes()[:-3]]))
    with Journal("a run") as continued:
        assert continued.found == {"a": 1}
        continued.add({"c": 3})
    with Journal("a run") as last:
        assert last.found == {"a": 1, "c": 3}


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
    assert layout.sizes_of(tiny, (), (128,)) == [128]
    assert layout.sizes_of(tiny, (256,), (448,)) == [256]
    with pytest.raises(InputError) as refused:
        layout.sizes_of(tiny, (), (448, 128))
    assert "holds 128 and 256, not 448" in str(refused.value)
    assert "--target onnx --precision fp32 --size 128 --size 256 --size 448 -o DIR" in str(refused.value)


def test_a_clip_beside_sam_has_one_size_and_no_other(tiny: SamClip, monkeypatch: Any) -> None:
    assert layout.clip_sizes_of(tiny, (), (128,)) == [128]
    monkeypatch.setattr(layout, "kind_of", lambda _: SideBySide)
    assert layout.clip_sizes_of(tiny, (), (448,)) == [None]
    with pytest.raises(InputError, match=r"^size: the CLIP of .* has a size of its own, and no other; leave it out"):
        layout.clip_sizes_of(tiny, (128,), (448,))


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
    os.utime(root / "imagenet" / "val" / WORDNET[1] / "1.JPEG", (1, 1))
    assert run(*arguments).code == 70, "of other photos, it is measured again"


def test_all_goes_on_whatever_a_task_raises(
    run: Callable[..., Ran], root: Path, tmp_path: Path, tiny_folder: Path, monkeypatch: Any
) -> None:
    def doubled(name: str, asked: Asked) -> list[Doubled]:
        if name == "imagenet":
            raise ZeroDivisionError("of nothing")
        return [Doubled(3)]

    for name in FAMILIES:
        monkeypatch.setitem(FAMILIES, name, doubled)
    (root / "places365").mkdir()
    report = tmp_path / "report"
    ran = run("eval", "all", "--data-root", root, "--bundle", tiny_folder, "-o", report, "--json")
    assert [said["measures"] for said in ran.json["tasks"]] == [{"doubled": {"sum": 6}}]
    assert "- imagenet: failed, ZeroDivisionError: of nothing" in (report / "report.md").read_text()
    assert ran.code == 70
    assert "a fault of samclip-edge (ZeroDivisionError: of nothing)" in ran.err.splitlines()[-1]


def test_a_result_that_cannot_be_written_is_no_task_left_out(
    run: Callable[..., Ran], root: Path, tmp_path: Path, tiny_folder: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setitem(FAMILIES, "imagenet", lambda *_: [Doubled(3)])
    report = tmp_path / "report"
    arguments = ("eval", "all", "--data-root", root, "--bundle", tiny_folder, "-o", report, "--json")
    (report / "imagenet" / "doubled" / "best-1.jpg").mkdir(parents=True)
    ran = run(*arguments, "--size", "128", "--size", "0128")
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith(f"error: -o {report}/imagenet/doubled/best-1.jpg: cannot be written (")
    assert "left out" not in ran.err
    assert [(said["task"], said["sizes"]) for said in ran.json["tasks"]] == [("imagenet", [128])]
    (report / "imagenet").rename(tmp_path / "away")
    (report / "report.md").unlink()
    (report / "report.md").mkdir()
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "doubled: goes on behind 3 samples" in ran.err
    assert ran.err.splitlines()[-1].startswith(f"error: -o {report}: cannot be written (")


def test_a_name_that_is_no_utf8_is_written(
    run: Callable[..., Ran], tmp_path: Path, tiny_folder: Path, monkeypatch: Any
) -> None:
    task, name = Doubled(3), os.fsdecode(b"br\xfcken-7")
    task.samples[1] = task.samples[1]._replace(key=name)
    monkeypatch.setitem(FAMILIES, "imagenet", lambda *_: [task])
    ran = run("eval", "imagenet", "--data", tmp_path, "--bundle", tiny_folder, "-o", tmp_path)
    assert ran.code == 0, ran.err
    said = json.loads((tmp_path / "imagenet.json").read_text("utf-8"))
    assert said["columns"]["doubled"]["skipped"] == {name: f"{name}: broken"}


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
