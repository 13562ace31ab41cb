"""What of a recipe's data is a stream, how it is counted and measured, and what happens when it is not what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from streams import clip_steps, image_of, stream

from samclip_edge.errors import InputError
from samclip_edge.train import speed
from samclip_edge.train.data.loading import Loader
from samclip_edge.train.data.stream import Stream, open_data
from samclip_edge.train.recipe import FOLDER, Data, Recipe, Stage
from samclip_edge.train.trainer import Trainer


def test_after_other_shards_than_before_an_epoch_begins_that_none_had(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Taken away, added or renamed: each with one warning, from the main process. Else none."""
    made = stream(tmp_path, *([9] * 5))
    loader = Loader(clip_steps(made, range(20)), 0)
    list(loader)
    stood = loader.stood([loader.positions])
    whole = made.paths
    for paths in (
        whole,
        whole[1:],
        [*whole, tmp_path / "5.tar"],
        [tmp_path / "4a.tar" if p == whole[4] else p for p in whole],
    ):
        caplog.clear()
        again = Stream(paths, 5, False, None)
        for rank in range(2):
            changed = Loader(clip_steps(again, range(20, 21), (rank, 2)), 0, stood._replace(lanes=stood.lanes * 2))
        kept = paths == whole
        assert (changed.positions == stood.lanes) == kept
        assert [record.message.partition(":")[0] for record in caplog.records] == (
            [] if kept else ["files were added, taken away or renamed since the run was stopped"]
        )
        if not kept:
            assert changed.positions[0].following // len(paths) == 1 + (stood.lanes[0].following - 1) // 5


def test_what_is_a_stream_and_what_has_numbers(tmp_path: Path) -> None:
    made = stream(tmp_path, 2, 2)
    places = (str(tmp_path / "{00..01}.tar"),)
    assert isinstance(open_data(Data(files=places), 0, False, tmp_path), Stream)
    assert isinstance(open_data(Data(files=(str(tmp_path),)), 0, False, tmp_path), Stream)
    assert not list(tmp_path.glob("*.npy"))
    (tmp_path / "00_stats.json").write_text("{}")  # as img2dataset writes beside each shard
    for annotated in (False, True):
        both = open_data(Data(files=(*places, str(tmp_path))), 0, annotated, tmp_path)
        assert isinstance(both, Stream)
        assert both.paths == made.paths  # each once, whatever names it twice
    numbered = open_data(Data(files=places, variants=2), 0, False, tmp_path)
    assert len(numbered) == 4
    (tmp_path / "alone.png").write_bytes(image_of(9, 9))
    assert len(open_data(Data(files=(str(tmp_path),)), 0, False, tmp_path)) == 5
    assert len(made) == 0


def test_a_run_of_epochs_over_uncounted_shards_does_not_begin(tmp_path: Path) -> None:
    stream(tmp_path, 2)
    stage = {"task": "probe", "epochs": 1, "rate": 1e-3, "clip": [{"size": 128, "images": 2}]}
    teach = {"task": "teach_sam", "steps": 1, "rate": 1e-3, "sam": {"size": 128, "images": 2}}
    scenes = {"scenes": {"first": 0, "count": 2}}
    data = {"clip_data": {"files": [f"{tmp_path}/*.tar"]}, "sam_data": {"scenes": {"first": 9, "count": 2}}}
    recipe = {"preset": "tiny", "clip_teacher": "a:b", "held_out": scenes, "stages": [teach, stage], **data}
    with pytest.raises(InputError, match="the probe stage counts in epochs, but clip_data is tar shards"):
        Trainer(Recipe.model_validate(recipe), tmp_path / "run")


def test_the_speed_of_loading_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream(tmp_path, 5, 5)
    text = (FOLDER / "one-gpu.yaml").read_text().replace("data/clip/*.tar", f"{tmp_path}/*.tar")
    (tmp_path / "recipe.yaml").write_text(text.replace("workers: 6", "workers: 0").replace("images: 256", "images: 8"))
    monkeypatch.setattr("sys.argv", ["speed", str(tmp_path / "recipe.yaml"), "--seconds", "0"])
    speed.main()
    told = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["first image", "first batch", "loader", "decoding alone", "reading alone"]


def test_a_stage_of_epochs_needs_the_number_of_images() -> None:
    stage = Stage.model_validate(
        {"task": "probe", "epochs": 2, "rate": 1e-3, "clip": [{"size": 224, "images": 20}, {"size": 448, "images": 10}]}
    )
    assert stage.all_steps(150, 0) == 20  # two epochs of 150 images, 15 a step in the mean
    with pytest.raises(InputError, match=r"recipe: the probe stage counts in epochs.*`images` in clip_data"):
        stage.all_steps(0, 150)
