"""Indexing on a local Ray cluster into Lance and Parquet, and searching what is written."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import lance
import numpy as np
import pyarrow.dataset
import pytest
from support import Ran, paint

from samclip_edge import InputError, SamClip, data
from samclip_edge.library import Library
from samclip_edge.library.lance import LanceLibrary

PHOTOS = 120
# Three CPUs: two for actors of one each, and one for reading and decoding.
WORK = """
import sys, ray
start = ray.init
ray.init = lambda **how: start(num_cpus=3, **how)
from samclip_edge import SamClip
from samclip_edge.library.on_ray import index_on_ray
print(index_on_ray([sys.argv[1]], sys.argv[2], SamClip.load(sys.argv[3]), "local", things=True))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "photos"
    for seed in range(PHOTOS):
        paint(folder / f"{seed}.png", seed)
    (folder / "bad.png").write_bytes(b"no photo")
    return folder


def encoders() -> list[int]:
    """The processes of Ray's actors that encode."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"_Encoder" in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def told(photos: Path) -> tuple[Path, int]:
    """A Lance data set, of whose two workers one was killed halfway, and how many things it is said to have."""
    place = photos.parent / "features.lance"
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, photos, f"lance://{place}", data.TINY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed = []

    def kill() -> None:
        while process.poll() is None and not killed:
            workers = encoders()
            if len(workers) >= 2:
                time.sleep(2)
                os.kill(workers[0], signal.SIGKILL)
                killed.append(workers[0])
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    out, err = process.communicate()
    killer.join()
    assert process.returncode == 0, err
    assert killed
    assert f"Failed(path='{photos}/bad.png', error=" in out
    return place, int(re.findall(rf"OnRay\(photos={PHOTOS}, things=(\d+),", out)[0])


@pytest.fixture(scope="module")
def written(told: tuple[Path, int]) -> Path:
    return told[0]


def test_every_photo_is_there_once_though_a_worker_was_killed(
    told: tuple[Path, int], photos: Path, shapes: SamClip
) -> None:
    table = lance.dataset(str(told[0])).to_table()
    rows = table.select(["kind", "photo", "box", "mask", "sha256", "bytes"]).to_pylist()
    of_photos = {row["photo"]: row for row in rows if row["kind"] == "photo"}
    assert sorted(of_photos) == sorted(str(photos / f"{seed}.png") for seed in range(PHOTOS))
    assert [row["kind"] for row in rows].count("photo") == PHOTOS
    things = [(row["photo"], *row["box"], row["mask"]) for row in rows if row["kind"] == "thing"]
    assert len(things) == len(set(things)) == told[1]
    assert {photo for photo, *_ in things} <= set(of_photos)
    for path, row in of_photos.items():
        assert row["bytes"] == Path(path).stat().st_size
        assert row["sha256"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    place = [row["kind"] for row in rows].index("photo")
    (wanted,) = shapes.embed([rows[place]["photo"]], 256)
    assert np.dot(table["feature"][place].as_py(), wanted) > 0.9999


def test_a_lance_data_set_answers_as_a_library_does(
    written: Path, photos: Path, shapes: SamClip, run: Callable[..., Ran], tmp_path: Path
) -> None:
    library = Library.open(tmp_path / "library.db", shapes, things=True)
    library.add([photos])
    lance_library = LanceLibrary(f"lance://{written}", shapes)
    assert (len(lance_library), lance_library.things, lance_library.size) == (PHOTOS, library.things, library.size)
    scene = shapes.look(photos / "7.png", library.size)
    (mask,) = scene.segment(points=[[48, 40]])
    for things in (False, True):
        pairs = [
            (each.search("red square", 5, things, 0).matches, each.like(scene, n=5, things=things))
            for each in (library, lance_library)
        ]
        for one, other in zip(*pairs, strict=True):
            assert [each.path for each in one] == [each.path for each in other]
            assert [each.similarity for each in one] == pytest.approx([each.similarity for each in other], abs=0.01)
            assert [each.thing and each.thing.box for each in one] == [each.thing and each.thing.box for each in other]
    assert lance_library.like(scene, mask, n=1)[0].path == library.like(scene, mask, n=1)[0].path
    with pytest.raises(InputError, match=r"none: no photo of the library lies in it"):
        lance_library.search("red square", under=photos.parent / "none")
    assert len(lance_library.search("red square", n=500, under=photos, min_score=0).matches) == PHOTOS
    ran = run("search", f"lance://{written}", "red square", "--json", "--min-score", 0, "-n", 3, "--bundle", "tiny")
    assert ran.code == 0, ran.err
    assert [each["photo"] for each in ran.json["found"]] == [
        each.path for each in library.search("red square", 3, min_score=0).matches
    ]


def test_parquet_is_written_by_the_command(run: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "features"
    paint(folder / "_4 ?%#.png", 4)
    paint(folder / ".hidden" / "5.png", 5)
    ran = run("index", folder, "--ray", "local", "--to", f"parquet://{place}", "--json", "--bundle", "tiny")
    assert ran.code == 0, ran.err
    assert (ran.json["photos"], ran.json["things"], ran.json["failed"]) == (5, None, [])
    found = pyarrow.dataset.dataset(place).to_table()
    assert sorted(found["photo"].to_pylist()) == [
        *(str(folder / f"{seed}.png") for seed in range(4)),
        str(folder / "_4 ?%#.png"),
    ]
    ran = run("index", folder, "--ray", "local", "--to", f"parquet://{place}", "--bundle", "tiny")
    assert ran.code == 2
    assert ran.err == f"error: --to parquet://{place}: something lies there already; name another place\n"


def test_what_is_no_lance_data_set(shapes: SamClip, written: Path, run: Callable[..., Ran]) -> None:
    with pytest.raises(InputError, match=r"^lance:///none/a\.lance: no such data set"):
        LanceLibrary("lance:///none/a.lance", shapes)
    with pytest.raises(InputError, match=r"name a data set that ends in \.lance"):
        LanceLibrary("lance:///none/a", shapes)
    ran = run("search", f"lance://{written}", "cup", "--bundle", "photo")
    assert ran.code == 2
    assert "was made by another model, tiny" in ran.err
    ran = run("search", written, "--duplicates", "--bundle", "tiny")
    assert (ran.code, ran.err) == (2, "error: --duplicates: is for a library file; a Lance data set has none\n")
