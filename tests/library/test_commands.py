"""`index` and `search` as commands: what they print and draw, and the lines for bad input."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco
from support import Ran, paint

from samclip_edge import SamClip, data
from samclip_edge.library import Library

TINY = ("--bundle", "tiny")


@pytest.fixture
def path(tmp_path: Path, folder: Path, run: Callable[..., Ran]) -> Path:
    """A library of four photos and their things."""
    ran = run("index", folder, "-o", tmp_path / "library.db", "--things", *TINY)
    assert ran.code == 0, ran.err
    return tmp_path / "library.db"


def test_index_says_what_it_did(run: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    ran = run("index", folder, "-o", tmp_path / "a.db", *TINY)
    assert ran.out.splitlines()[:2] == [f"{tmp_path / 'a.db'}: 4 photos", "4 added"]
    (folder / "0.png").unlink()
    (folder / "bad.png").write_bytes(b"no photo")
    ran = run("index", folder, "-o", tmp_path / "a.db", "--json")
    assert ran.code == 2
    assert ran.err.startswith(f"error: {folder / 'bad.png'}: ")
    document = ran.json
    assert document.pop("seconds") > 0
    (failed,) = document.pop("failed")
    assert failed["path"] == str(folder / "bad.png")
    assert document == {
        "library": str(tmp_path / "a.db"),
        "bundle": str(data.TINY),
        "size": 128,
        "photos": 3,
        "things": None,
        "gone": 1,
        "added": 0,
        "copied": 0,
        "moved": 0,
        "unchanged": 3,
        "vanished": 1,
        "pruned": 0,
    }
    ran = run("index", "-o", tmp_path / "a.db", "--prune")
    assert ran.out.splitlines()[:2] == [f"{tmp_path / 'a.db'}: 3 photos", "1 pruned"]


def test_search_finds_the_bundle_that_made_the_library(run: Callable[..., Ran], path: Path) -> None:
    ran = run("search", path, "square", "--json", "--min-score", 0)
    assert ran.code == 0, ran.err
    assert ran.json["bundle"] == str(data.TINY)
    assert len(ran.json["found"]) == 4


def test_search_prints_what_the_library_says(run: Callable[..., Ran], path: Path, shapes: SamClip) -> None:
    ran = run("search", path, "red square", "--things", "-n", 3, "--min-score", 0, "--json")
    matches = Library.open(path, shapes).search("red square", 3, things=True, min_score=0).matches
    assert ran.json["found"] == json.loads(json.dumps([each.to_json() for each in matches]))
    assert ran.json["nearest"] == []
    for match in ran.json["found"]:
        thing = match["thing"]
        bits = coco.decode(thing["segmentation"])
        assert bits.shape == (match["height"], match["width"])
        assert thing["area"] == bits.sum()
        assert all(side <= most for side, most in zip(thing["box"], (96, 80, 96, 80), strict=True))
    table = run("search", path, "red square", "--min-score", 0).out
    assert all(text in table for text in ('"red square"', "similarity", "0.png"))


def test_search_says_that_no_photo_shows_it(run: Callable[..., Ran], path: Path, tmp_path: Path) -> None:
    ran = run("search", path, "white crescent", "--min-score", 1, "-n", 2, "-o", tmp_path / "sheet.png")
    assert ran.code == 0
    assert 'no photo shows "white crescent"; the nearest:' in ran.out
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    document = run("search", path, "white crescent", "--min-score", 1, "-n", 2, "--json").json
    assert document["found"] == []
    assert len(document["nearest"]) == 2


def test_the_sheet_outlines_things_and_lacks_a_photo_that_is_gone(
    run: Callable[..., Ran], path: Path, folder: Path, tmp_path: Path
) -> None:
    options = ("--min-score", 0, "-o", tmp_path / "sheet.png")
    run("search", path, "red square", *options)
    plain = cv2.imread(str(tmp_path / "sheet.png"))
    assert plain.shape[1] == 4 * (320 + 12) + 12, "four photos in a row"
    run("search", path, "red square", "--things", *options)
    assert not np.array_equal(plain, cv2.imread(str(tmp_path / "sheet.png")))
    for photo in folder.iterdir():
        photo.unlink()
    run("search", path, "red square", *options)
    grey = cv2.imread(str(tmp_path / "sheet.png"))
    assert (grey[60:120, 20:320] == grey[60, 20]).all(), "there is no photo to show"


def test_like_takes_a_photo_a_point_or_a_box(run: Callable[..., Ran], path: Path, folder: Path) -> None:
    for like in (folder / "2.png", f"{folder / '2.png'}@40,40", f"{folder / '2.png'}@24,20,47.5,39"):
        ran = run("search", path, "--like", like, "--json", *TINY)
        assert ran.code == 0, ran.err
        assert ran.json["found"][0]["photo"] == str(folder / "2.png")
        assert ran.json["found"][0]["score"] is None
        assert ("thing" in ran.json["found"][0]) == ("@" in str(like))
    os.rename(folder / "2.png", folder / "@1,2")
    assert run("search", path, "--like", folder / "@1,2", "--json").code == 0, "a photo of that name"


def test_duplicates_are_listed_by_group(run: Callable[..., Ran], path: Path, folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    run("index", folder, "-o", path)
    ran = run("search", path, "--duplicates", "--json")
    assert [[Path(each["photo"]).name for each in group] for group in ran.json["duplicates"]] == [["1.png", "copy.png"]]
    assert "1 group of photos that show the same, of 5 photos" in run("search", path, "--duplicates").out


def test_reindex_starts_over_with_another_model(run: Callable[..., Ran], path: Path, folder: Path) -> None:
    before = path.read_bytes()
    ran = run("index", folder, "-o", path, "--bundle", "photo")
    assert ran.code == 2
    assert path.read_bytes() == before
    ran = run("index", folder, "-o", path, "--bundle", "photo", "--reindex", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["added"], ran.json["size"]) == (4, 384)
    assert ran.json["things"] is not None, "as before"
    assert sorted(each.name for each in path.parent.iterdir()) == ["library.db", "photos"]
    assert run("search", path, "dog", "--json").json["photos"] == 4


def test_reindex_takes_what_the_old_library_holds(run: Callable[..., Ran], path: Path, folder: Path) -> None:
    other = paint(folder.parent / "other" / "9.png", 9)
    run("index", other, "-o", path, *TINY)
    ran = run("index", "-o", path, "--reindex", "--json", *TINY)
    assert (ran.json["added"], ran.json["photos"], ran.json["size"]) == (5, 5, 256)
    assert ran.json["things"]
    (folder / "0.png").unlink()  # which is not known yet
    ran = run("index", "-o", path, "--reindex", "--json", *TINY)
    assert (ran.code, ran.json["photos"]) == (0, 4)
    ran = run("index", folder, "-o", path, "--reindex", "--json", *TINY)
    assert ran.json["photos"] == 3
    assert (
        f"note: 1 photos of the old library lie in none of the folders given, as {other}; they are left out" in ran.err
    )


def test_reindex_goes_on_where_it_was_stopped(
    shapes: SamClip, run: Callable[..., Ran], path: Path, folder: Path
) -> None:
    with Library.open(f"{path}.anew", shapes, things=True) as begun:
        begun.add([folder / "0.png"])
    ran = run("index", folder, "-o", path, "--reindex", "--json", *TINY)
    assert (ran.json["added"], ran.json["unchanged"]) == (3, 1)
    Path(f"{path}.anew").write_text("no library")
    ran = run("index", folder, "-o", path, "--reindex", "--json", *TINY)
    assert ran.json["added"] == 4


def test_reindex_mends_a_library_and_spares_what_is_none(run: Callable[..., Ran], path: Path, folder: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40_000])
    assert run("index", folder, "-o", path, "--reindex", *TINY).code == 0
    photo = paint(folder.parent / "photo.png", 1)
    ran = run("index", folder, "-o", photo, "--reindex", *TINY)
    assert ran.code == 2
    assert "no library" in ran.err
    assert cv2.imread(str(photo)) is not None


def test_parquet_has_all_that_the_library_has(
    run: Callable[..., Ran], path: Path, shapes: SamClip, tmp_path: Path
) -> None:
    assert run("index", "-o", path, "--to", tmp_path / "features.parquet").code == 0
    table = pq.read_table(tmp_path / "features.parquet")
    library = Library.open(path, shapes)
    kinds = table["kind"].to_pylist()
    assert (kinds.count("photo"), kinds.count("thing")) == (4, library.things)
    assert table.schema.field("feature").type.list_size == 128
    assert table.schema.metadata[b"samclip_edge.bundle"].decode() == library.store.about["bundle"]
    (wanted,) = shapes.words.features(["red square"])
    cosines = np.array(table["feature"].to_pylist()) @ wanted
    by_hand = {
        photo: cosine
        for photo, kind, cosine in zip(table["photo"].to_pylist(), kinds, cosines, strict=True)
        if kind == "photo"
    }
    for match in library.search("red square", min_score=0).matches:
        assert by_hand[match.path] == pytest.approx(match.similarity, abs=1e-5)
    things = [row for row in table.to_pylist() if row["kind"] == "thing"]
    assert all(
        coco.decode({"size": [row["mask_height"], row["mask_width"]], "counts": row["mask"]}).any() for row in things
    )
    assert all(len(row["box"]) == 4 and row["predicted_iou"] is not None for row in things)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("index", "{photos}"), "-o: name the library"),
        (("index", "-o", "{library}"), "what to index"),
        (("index", "{photos}", "-o", "{library}", "--size", 100), "--size 100"),
        (("index", "{photos}", "-o", "{library}", "--size", 128), "--size 128"),
        (("index", "{photos}", "-o", "{library}", "--to", "a.csv"), "--to a.csv"),
        (("index", "{photos}", "-o", "{photos}/a.parquet", "--to", "{photos}/a.parquet"), "is the library itself"),
        (("index", "{photos}", "-o", "{photos}"), "is a folder; name the file of a library"),
        (("index", "{photos}.tar.gz", "-o", "{library}"), "a compressed tar"),
        (("index", "{photos}/none", "--ray", "local", "--to", "lance:///tmp/a.lance"), "no such folder"),
        (("index", "{photos}", "-o", "{library}", "--to", "/none/a.parquet"), "--to /none/a.parquet"),
        (("index", "{photos}", "--ray", "local"), "--ray: say with --to"),
        (("index", "{photos}", "--ray", "local", "--to", "a.lance"), "--to a.lance"),
        (("index", "{photos}", "--ray", "local", "--to", "lance:///a", "-o", "b"), "-o: is for a library"),
        (("index", "{photos}/none", "-o", "{library}"), "no such folder"),
        (("search", "{library}"), "what to search for"),
        (("search", "{library}", "cup", "--duplicates"), "what to search for"),
        (("search", "{library}", "--duplicates", "--things"), "--things: is not for --duplicates"),
        (("search", "{library}", "--like", "{photos}/0.png", "--min-score", 0.5), "--min-score: is for words"),
        (("search", "{library}", "cup", "--min-score", 3), "--min-score 3"),
        (("search", "{library}", "cup", "--under", "/none"), "--under /none"),
        (("search", "{library}", "cup", "-o", "sheet.txt"), "-o sheet.txt"),
        (("search", "{library}", "--like", "{photos}/0.png@900,900"), "point 900,900: outside the photo"),
        (("search", "{library}", "--like", "{photos}/0.png@1,2,3"), "--like 1,2,3"),
        (("search", "{library}", "--like", "{photos}/none.png"), "no such photo"),
    ],
)
def test_bad_input_is_told_in_one_line(
    run: Callable[..., Ran],
    path: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = path.read_bytes()
    filled = [str(each).format(library=path, photos=folder) for each in arguments]
    ran = run(*filled, *TINY)
    assert ran.code == 2
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert ran.out == ""
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["library.db", "photos"]
