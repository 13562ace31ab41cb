"""Tar shards as a stream: every sample once an epoch, mixed, and the same however often a run is stopped."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streams import SHAPE, clip_steps, image_of, lanes, stream, told, write

from samclip_edge.errors import InputError
from samclip_edge.train.data import stream as stream_module
from samclip_edge.train.data.batches import ClipSteps, SamSteps
from samclip_edge.train.data.loading import Loader
from samclip_edge.train.data.places import digest
from samclip_edge.train.data.stream import OPEN, Lane, Position, Stood, Stream
from samclip_edge.train.recipe import Batch


@pytest.mark.parametrize(("shards", "count"), [(6, 1), (6, 2), (6, 4), (3, 8), (1, 6)])
def test_every_sample_comes_once_an_epoch_over_all_lanes(tmp_path: Path, shards: int, count: int) -> None:
    """Also where there are fewer shards than lanes."""
    made = stream(tmp_path, *([13] * shards))
    seen: dict[int, list[tuple[int, int]]] = {0: [], 1: [], 2: []}
    for lane in lanes(made, count):
        passed = 0
        for sample in lane:
            shard, number, epoch = sample.key
            assert told(sample) == (shard, number)
            if epoch in seen:
                seen[epoch].append((shard, number))
            passed = passed + 1 if epoch > 2 else 0
            if passed > OPEN * 13:  # nothing of the first epochs is open any more
                break
    whole = [(shard, number) for shard in range(shards) for number in range(13)]
    assert [sorted(each) for each in seen.values()] == [whole] * 3
    assert seen[0] != seen[1] != seen[2]


def test_shards_of_one_class_each_are_mixed(tmp_path: Path) -> None:
    """Each of the 16 open ones is missed by 8 draws with a chance of (15/16)^8 = 0.597: 16 * 0.403 = 6.45 are seen."""
    (lane,) = lanes(stream(tmp_path, *([20] * 20)), 1)
    batches = [[next(lane).key[0] for _ in range(8)] for _ in range(30)]
    assert np.mean([len(set(batch)) for batch in batches]) == pytest.approx(6.45, abs=0.4)


def test_all_lanes_open_as_many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each once an epoch. The first sample needs one, and a lane has at most `OPEN` open."""
    opened: list[Path] = []
    real = stream_module.open_shard
    monkeypatch.setattr(stream_module, "open_shard", lambda path: (opened.append(path), real(path))[1])
    made = stream(tmp_path, *([5] * 40))
    first, second = lanes(made, 2)
    next(first)
    assert len(opened) == 1
    for _ in range(100):  # half of the images of an epoch
        next(first)
        next(second)
    assert len(opened) <= 40 + 2 * OPEN
    keys = [next(lane).key for lane in lanes(made, 2) for _ in range(60)]
    assert max(Counter(keys).values()) == 1


@pytest.mark.parametrize("after", [0, 1, 7, 40, 95])
@pytest.mark.parametrize("ending", ["tar", "tgz"])
def test_a_lane_goes_on_from_its_position(tmp_path: Path, after: int, ending: str) -> None:
    made = stream(tmp_path, 5, 11, 2, 7)
    if ending == "tgz":
        for index, path in enumerate(made.paths):
            packed = path.with_suffix(".tgz")
            packed.write_bytes(gzip.compress(path.read_bytes()))
            made.paths[index] = packed
    whole, stopped = lanes(made, 3)[1], lanes(made, 3)[1]
    wanted = [next(whole).key for _ in range(120)]
    for _ in range(after):
        next(stopped)
    saved = json.loads(json.dumps(stopped.position))
    gone_on = Lane(made, 3, Position(*saved))
    assert [told(next(gone_on)) for _ in range(120 - after)] == [key[:2] for key in wanted[after:]]


def test_other_lanes_than_before_begin_an_epoch_that_none_had(tmp_path: Path) -> None:
    made = stream(tmp_path, *([4] * 6))
    before = lanes(made, 2)
    reached = max(next(lane).key[2] for lane in before for _ in range(30))
    starts = made.starts(3, Stood(digest(made.names), 6, [lane.position for lane in before]))
    epochs = [next(Lane(made, 3, start)).key[2] for start in starts]
    assert len(set(epochs)) == 1
    assert reached < epochs[0] <= reached + 2


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_steps_go_on_as_if_nothing_had_been(tmp_path: Path, workers: int) -> None:
    """Two processes, each with loaders of its own, stopped after three steps and after five."""
    made = stream(tmp_path, *([9] * 5))
    whole = [list(Loader(clip_steps(made, range(8), (rank, 2)), workers)) for rank in range(2)]
    saved = None
    for first, last in ((0, 3), (3, 5), (5, 8)):
        loaders = [Loader(clip_steps(made, range(first, last), (rank, 2)), workers, saved) for rank in range(2)]
        for rank, loader in enumerate(loaders):
            for step, parts in zip(range(first, last), loader, strict=True):
                assert all(same(a, b) for a, b in zip(parts, whole[rank][step], strict=True))
        saved = loaders[0].stood(loader.positions for loader in loaders)
    assert whole[0][0][0].pixels.dtype == torch.uint8
    drawn = [tuple(image[:2, 0, 0].tolist()) for steps in whole for (part,) in steps for image in part.pixels]
    assert max(Counter(drawn).values()) == 1  # all are of the first epoch


def test_parts_have_their_share_of_the_images(tmp_path: Path) -> None:
    for parts in Loader(clip_steps(stream(tmp_path, *([9] * 5)), range(6), parts=2), 0):
        assert [len(part.pixels) for part in parts] in ([2, 2], [1, 1])


def test_a_damaged_shard_costs_what_lies_behind_the_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With one warning, however many epochs; a shard that is gone and one without images cost themselves."""
    made = stream(tmp_path, 4, 4, 4, 0)
    data = bytearray(made.paths[0].read_bytes())
    data[2048:2054] = b"\xff" * 6  # the header of the third image
    made.paths[0].write_bytes(data)
    made.paths[2].unlink()
    seen = Counter()
    for parts in Loader(clip_steps(made, range(30)), 0):
        for part in parts:
            seen.update((part.pixels[:, 0, 0, 0] * 16 + part.pixels[:, 1, 0, 0]).tolist())
            assert not part.skipped  # of samples
    assert set(seen) == {0, 1, 16, 17, 18, 19}
    assert sorted(record.message.partition(": ")[0] for record in caplog.records) == [
        str(made.paths[0]),
        str(made.paths[2]),
    ]
    assert "damaged at byte 2048" in caplog.text


def test_a_broken_sample_is_named_and_another_takes_its_place(tmp_path: Path) -> None:
    made = stream(tmp_path, 3)
    write(made.paths[0], {"a.png": image_of(1, 1), "b.png": b"not a photo", "c.png": image_of(2, 2)})
    (parts,) = Loader(ClipSteps(made, [SHAPE], range(1), (0, 1), 1, None), 0)
    assert parts[0].pixels.shape == (4, 3, 128, 128)
    assert {line.partition(": ")[0] for line in parts[0].skipped} == {f"{made.paths[0]} (b.png)"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, r"recipe: 100 shards in a row hold no image; the last: .*00\.tar"),
        ({"a.png": b"x"}, r"recipe: 100 broken samples in a row; the last: .*00\.tar \(a\.png\): "),
    ],
)
def test_data_of_which_nothing_can_be_used_ends_in_one_line(
    tmp_path: Path, members: dict[str, bytes], said: str
) -> None:
    made = Stream([write(tmp_path / "00.tar", members)], 0, False, None)
    with pytest.raises(InputError, match=said) as error:
        next(iter(Loader(clip_steps(made, range(1)), 0)))
    assert "\n" not in str(error.value)


class Forward(gzip.GzipFile):
    """To go back, it would unpack anew from the beginning."""

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == io.SEEK_CUR or offset >= super().seek(0, io.SEEK_CUR)
        return super().seek(offset, whence)


@pytest.mark.parametrize("packed", [False, True])
def test_images_meet_their_jsons_wherever_they_lie_in_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    masks = json.dumps({"annotations": [{"segmentation": {"size": [4, 6], "counts": [4, 8, 12]}}]}).encode()
    members = {"1.png": image_of(0, 1), "2.png": image_of(0, 2), "2.json": masks, "1.json": masks}
    members |= {"._3.png": b"", "3.png": image_of(0, 3), "4.png": image_of(0, 4), "4.seg.json": masks}
    path = write(tmp_path / "a.tar", members)
    if packed:
        path = path.rename(tmp_path / "a.tar.gz")
        path.write_bytes(gzip.compress(path.read_bytes()))
        monkeypatch.setattr(stream_module, "open_shard", lambda shard: (Forward(shard, "rb"), True))
    made = Stream([path], 0, True, None)
    (lane,) = lanes(made, 1)
    samples = [next(lane) for _ in range(3)]  # used one by one below, before the next shard is opened
    assert [sample.key[1] for sample in samples] == [0, 1, 2]
    (parts,) = Loader(SamSteps(4, made, [Batch(size=128, images=3)], range(1), (0, 1), 1, None), 0)
    assert sorted(parts[0].pixels[:, 1, 0, 0].tolist()) == [1, 2, 4]
    # By hand: runs of 4 and 8 down columns of 4 are the second and third column of 6, a third of 128 pixels in width.
    assert parts[0].masks[:, :85].float().mean().item() == pytest.approx(1 / 3, abs=0.02)


def test_few_images_reach_every_lane(tmp_path: Path) -> None:
    """Most cards of their shard hold none of them, which is no sign that the shard is empty."""
    for lane in lanes(stream(tmp_path, 1), 64)[:8]:
        assert told(next(lane)) == (0, 0)
