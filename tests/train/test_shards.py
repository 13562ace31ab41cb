"""Tar shards of every ending and compression hold what their folder holds; damaged ones and full disks are named."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from samclip_edge.errors import InputError
from samclip_edge.train.data.files import Files

Usage = namedtuple("Usage", "total used free")


def image_of(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (colour, 0, 0)).save(file, "png")
    return file.getvalue()


def annotated(*runs: int) -> bytes:
    return json.dumps({"annotations": [{"segmentation": {"size": [4, 6], "counts": runs}}]}).encode()


def tar(path: Path, members: dict[str, bytes], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return path


def samples(count: int = 3) -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for number in range(count):
        made |= {f"{number}.png": image_of(number + 1), f"{number}.json": annotated(number, 24 - number)}
    return made


def reds(files: Files) -> list[int]:
    """What `image_of` made each image of."""
    return [int(files[index].pixels()[0, 0, 0]) for index in range(len(files))]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.tar", "w"),
        ("a.TAR", "w"),
        ("a.tar.gz", "w:gz"),
        ("a.TGZ", "w:gz"),
        ("a.tar.bz2", "w:bz2"),
        ("a.txz", "w:xz"),
        ("a.tar", "w:gz"),  # the bytes say what it is, not the name
        ("a.tgz", "w"),
    ],
)
def test_a_shard_is_read_whatever_packs_it(tmp_path: Path, cache: Path, name: str, mode: str) -> None:
    shard = tar(tmp_path / name, samples(), mode)
    files = Files([str(shard)], annotated=True, cache=cache)
    assert reds(files) == [1, 2, 3]
    assert [each.segmentation["counts"] for index in range(3) for each in files[index].masks()] == [
        [0, 24],
        [1, 23],
        [2, 22],
    ]
    assert files[1].name.startswith(f"{shard} (bytes ")
    unpacked = list(cache.glob("*.tar"))
    assert len(unpacked) == (mode != "w")
    stamps = [path.stat().st_ino for path in unpacked]
    for with_masks in (True, False):  # once, for whoever asks again
        assert reds(Files([str(shard)], with_masks, cache)) == [1, 2, 3]
    assert [path.stat().st_ino for path in cache.glob("*.tar")] == stamps


def test_a_shard_stays_open_for_all_its_images(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tar(tmp_path / "a.tar", samples())
    files = Files([str(shard)], annotated=True, cache=cache)
    opened: list[Path] = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *rest, **more: (opened.append(path), real(path, *rest, **more))[1])
    assert reds(files) == reds(files) == [1, 2, 3]
    assert len([rle for index in range(3) for rle in files[index].masks()]) == 3
    assert opened == [shard]


def test_a_compressed_shard_cut_short_is_named_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    for mode in ("w:gz", "w:bz2", "w:xz"):
        shard = tar(tmp_path / "a.tar.gz", samples(), mode)
        shard.write_bytes(shard.read_bytes()[:-30])
        with pytest.raises(InputError, match=r"a\.tar\.gz: cannot be unpacked"):
            Files([str(shard)], annotated=False, cache=cache)
        assert not list(cache.iterdir())


def test_unpacking_does_not_fill_the_disk(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tar(tmp_path / "a.tgz", samples(), "w:gz")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 1 << 30))
    with pytest.raises(InputError, match=r"a\.tgz: unpacked into .* leaves less than 1 GiB free; "):
        Files([str(shard)], annotated=False, cache=cache)
    assert not list(cache.iterdir())


def test_a_shard_rewritten_at_the_same_size_is_read_anew(tmp_path: Path, cache: Path) -> None:
    """The second one has the same files in another order, so every place in it is another one."""
    for mode in ("w", "w:gz"):
        shard = tmp_path / "a.tar"
        tar(shard, {"1.png": image_of(1), "2.txt": b"-" * 2000}, mode)
        os.utime(shard, ns=(0, 5_000_000_000))
        size = shard.stat().st_size
        assert reds(Files([str(shard)], annotated=False, cache=cache)) == [1]
        tar(shard, {"2.txt": b"-" * 2000, "1.png": image_of(1)}, mode)
        if mode == "w":
            assert shard.stat().st_size == size
        os.utime(shard, ns=(0, 5_000_000_001))
        assert reds(Files([str(shard)], annotated=False, cache=cache)) == [1]


def test_a_damaged_shard_costs_what_lies_behind_the_damage(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """tarfile takes a header that is none for the end, and would lose what follows without a word."""
    shard = tar(tmp_path / "a.tar", {"0.png": image_of(1), "1.png": image_of(2)})
    data = bytearray(shard.read_bytes())
    data[1024:1030] = b"\xff" * 6
    shard.write_bytes(data)
    assert reds(Files([str(shard)], annotated=False, cache=cache)) == [1]
    assert f"{shard}: not a whole tar shard (damaged at byte 1024)" in caplog.text
    shard.write_bytes(b"\xff" * 900)
    with pytest.raises(InputError, match=r"a\.tar: not a whole tar shard"):
        Files([str(shard)], annotated=False, cache=cache)


def test_bad_shards_beside_a_good_one_stop_nothing(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tar(tmp_path / "good.tar", {"0.png": image_of(7)})
    (tmp_path / "page.tar").write_bytes(b"<html>not found</html>" * 100)
    cut = tar(tmp_path / "cut.tar.gz", samples(), "w:gz")
    cut.write_bytes(cut.read_bytes()[:-30])
    assert reds(Files([str(tmp_path)], annotated=False, cache=cache)) == [7]
    assert sorted(record.message.partition(": ")[0] for record in caplog.records) == [
        str(cut),
        str(tmp_path / "page.tar"),
    ]


def test_an_index_cut_short_is_made_anew(tmp_path: Path, cache: Path) -> None:
    shard = tar(tmp_path / "a.tar", samples())
    Files([str(shard)], annotated=False, cache=cache)
    (index,) = cache.glob("index-*.npy")
    index.write_bytes(b"")
    assert reds(Files([str(shard)], annotated=False, cache=cache)) == [1, 2, 3]


def test_litter_in_a_shard_is_skipped(tmp_path: Path, cache: Path) -> None:
    litter = ("._0.png", "./._1.png", "__MACOSX/0.png", "a/.ipynb_checkpoints/0.png", ".hidden/0.png")
    shard = tar(tmp_path / "a.tar", {"./0.png": image_of(1)} | dict.fromkeys(litter, image_of(9)))
    assert reds(Files([str(shard)], annotated=False, cache=cache)) == [1]


@pytest.mark.parametrize("packed", [False, True])
def test_names_with_dots_pair_as_webdataset_does(tmp_path: Path, cache: Path, packed: bool) -> None:
    """The same names first; then the key up to the first dot, where it is plain which two it means."""
    alike = {"a.v1.png": image_of(1), "a.v2.png": image_of(2), "a.v1.json": annotated(24), "a.v2.json": annotated(24)}
    keyed = {"in.x/1.png": image_of(3), "in.x/1.seg.json": annotated(24)}
    keyed |= {"2.rgb.png": image_of(4), "2.json": annotated(24)}
    apart = {"3.x.png": image_of(5), "3.y.json": b"", "4.png": image_of(6), "4.a.json": b"", "4.b.json": b""}
    members = alike | keyed | apart
    place = tmp_path / ("a.tar" if packed else "folder")
    if packed:
        tar(place, members)
    for name, data in {} if packed else members.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    assert sorted(reds(Files([str(place)], annotated=True, cache=cache))) == [1, 2, 3, 4]


def test_images_and_their_jsons_meet_though_a_shard_lies_between(tmp_path: Path, cache: Path) -> None:
    for name, data in samples().items():
        (tmp_path / name).write_bytes(data)
    shard = tar(tmp_path / "a.tar", {"x.png": image_of(9), "x.json": annotated(24)})
    places = [f"{tmp_path}/*.png", str(shard), f"{tmp_path}/*.json"]
    assert sorted(reds(Files(places, annotated=True, cache=cache))) == [1, 2, 3, 9]


def test_a_name_that_is_not_utf_8_is_read(tmp_path: Path, cache: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (tmp_path / name).write_bytes(image_of(7))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    tar(tmp_path / os.fsdecode(b"\xe9.tar.gz"), {name: image_of(8)}, "w:gz")
    assert np.array_equal(reds(Files([str(tmp_path)], annotated=False, cache=cache)), [7, 8])
