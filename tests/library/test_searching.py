"""What a library answers, held against the model itself and against arithmetic done by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samclip_edge import InputError, SamClip
from samclip_edge.library import Library, Match
from samclip_edge.library.file import LibraryFile
from samclip_edge.library.rows import Rows, best, rows_of
from samclip_edge.library.searching import Asked, by_feature
from samclip_edge.library.store import Entry, Store, Thing
from samclip_edge.library.things import MOST
from samclip_edge.photo.elsewhere import Source
from samclip_edge.photo.masks import encode_rle
from samclip_edge.rendered import render

SEEDS = range(20_000, 20_016)  # scenes that training never saw


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered scenes, by their seeds."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in SEEDS:
        Image.fromarray(render(seed, 256).image).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def indexed(shapes: SamClip, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library of them, with their things."""
    library = Library.open(tmp_path_factory.mktemp("library") / "library.db", shapes, things=True)
    library.add([scenes])
    return library


def names(matches: list[Match]) -> list[str]:
    return [Path(each.path).name for each in matches]


def test_photos_are_ranked_by_the_cosine_and_judged_as_classify_judges(
    indexed: Library, shapes: SamClip, scenes: Path
) -> None:
    photos = sorted(scenes.iterdir())
    (name,) = {render(SEEDS[0], 256).things[0].kind}
    cosines = shapes.embed(photos, indexed.size) @ shapes.words.features([name])[0]
    matches = indexed.search(name, min_score=0).matches
    assert len(matches) == len(photos)
    assert [each.similarity for each in matches] == sorted((each.similarity for each in matches), reverse=True)
    for match in matches:
        assert match.similarity == pytest.approx(cosines[photos.index(Path(match.path))], abs=0.01)
        scene = shapes.look(match.path, indexed.size)
        (guess,) = scene.classify([name])
        assert match.score == pytest.approx(guess.score, abs=0.03)
        assert (match.width, match.height, match.thing) == (256, 256, None)


def test_a_name_that_nothing_shows_is_answered_by_none_and_the_nearest_come_apart(indexed: Library) -> None:
    shown = {thing.kind for seed in SEEDS for thing in render(seed, 256).things}
    absent = next(name for name in ("white crescent", "black heart", "green arrow", "purple star") if name not in shown)
    found = indexed.search(absent, n=3, min_score=0.97)
    assert found.matches == []
    assert len(found.nearest) == 3
    assert all(each.score is not None and each.score < 0.97 for each in found.nearest)
    there = indexed.search(render(SEEDS[0], 256).things[0].kind, things=True, min_score=0.5)
    assert there.matches
    assert there.nearest == []
    assert all(each.score is not None and each.score >= 0.5 for each in there.matches)


def test_every_thing_has_the_features_of_what_is_under_its_mask(
    indexed: Library, shapes: SamClip, scenes: Path
) -> None:
    photo = scenes / f"{SEEDS[0]}.png"
    scene, store = shapes.look(photo, indexed.size), indexed.store
    with store.file.reading():
        rows, (photo_id,) = store.rows("thing"), store.file.row("SELECT id FROM photos WHERE path = ?", str(photo))
        own = np.flatnonzero(rows.photos == photo_id)
        assert 0 < len(own) <= MOST
        things = [store.thing(int(rows.ids[place])) for place in own]
    assert [each.predicted_iou for each in things] == sorted((each.predicted_iou for each in things), reverse=True)
    for thing, stored in zip(things, rows.features(own), strict=True):
        mask = Match("", 0, None, 256, 256, thing).mask
        assert mask is not None
        assert stored @ scene.features_under(mask.bits) > 0.99
        assert np.abs(np.subtract(mask.box, thing.box)).max() <= 1


def test_a_thing_is_found_by_its_name_and_its_mask_lies_on_it(indexed: Library) -> None:
    hits = 0
    for seed in SEEDS:
        thing = max(render(seed, 256).things, key=lambda each: each.mask.sum())
        for match in indexed.search(thing.kind, things=True, min_score=0).matches:
            if names([match]) == [f"{seed}.png"] and match.mask is not None:
                overlap = (match.mask.bits & thing.mask).sum() / (match.mask.bits | thing.mask).sum()
                hits += overlap > 0.5
    assert hits >= len(SEEDS) / 2


def test_like_finds_the_photo_itself_and_the_thing_itself(indexed: Library, shapes: SamClip, scenes: Path) -> None:
    for seed in SEEDS[:4]:
        scene = shapes.look(scenes / f"{seed}.png", indexed.size)
        first, *others = indexed.like(scene)
        assert names([first]) == [f"{seed}.png"]
        assert first.similarity > 0.999
        assert first.score is None
        assert len(others) == len(SEEDS) - 1
        thing = render(seed, 256).things[0]
        ys, xs = np.nonzero(thing.mask)
        middle = len(xs) // 2
        (mask,) = scene.segment(points=[[xs[middle], ys[middle]]])
        found = indexed.like(scene, mask, n=3)
        assert f"{seed}.png" in names(found)
        assert all(each.thing is not None for each in found)


def test_only_photos_under_a_folder(library: Library, folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "0.png").rename(folder / "deep" / "0.png")
    (folder.parent / "photos2").mkdir()
    (folder / "1.png").rename(folder.parent / "photos2" / "1.png")
    library.add([folder, folder.parent / "photos2"])
    assert sorted(names(library.search("square", min_score=0, under=folder).matches)) == ["0.png", "2.png", "3.png"]
    assert names(library.search("square", min_score=0, under=f"{folder}/deep/").matches) == ["0.png"]
    with pytest.raises(InputError, match=r"^under .*nowhere: no photo of the library lies in it"):
        library.search("square", under=folder / "nowhere")


def test_duplicates_are_files_that_were_compressed_or_resized_again(
    indexed: Library, shapes: SamClip, scenes: Path
) -> None:
    first, second = (Image.open(scenes / f"{seed}.png") for seed in SEEDS[:2])
    copies = scenes.parent / "copies"
    copies.mkdir()
    first.save(copies / "compressed.jpg", quality=80)
    first.resize((512, 512)).save(copies / "enlarged.png")
    second.save(copies / "other.png")
    library = Library.open(copies / "library.db", shapes, size=256)
    library.add([scenes, copies])
    groups = [names(group) for group in library.duplicates()]
    assert sorted(groups) == [
        ["enlarged.png", "compressed.jpg", f"{SEEDS[0]}.png"],  # the largest first, and then by their paths
        ["other.png", f"{SEEDS[1]}.png"],
    ]
    assert indexed.duplicates() == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"text": ""}, "text"),
        ({"text": "cup", "n": 0}, "^n 0: ask for one photo at least"),
        ({"text": "cup", "min_score": 2}, "^min_score 2: give a chance"),
    ],
)
def test_questions_that_are_none(indexed: Library, asked: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        indexed.search(**asked)


# By hand, on features of two numbers.


def unit(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


@pytest.fixture
def by_hand(tmp_path: Path) -> Store:
    """Three photos at 0, 30 and 60 degrees; the things of the first at 70 and 90, and of the last at 5."""
    file = LibraryFile.create(
        tmp_path / "by_hand.db",
        {"features": "2", "size": "128", "things": "1", "bundle": "", "model": "{}", "name": ""},
    )
    store = Store(file)
    mask = encode_rle(np.ones((1, 1), bool))
    photos = {"a/0": (0, (70, 90)), "a/1": (30, ()), "b/2": (60, (5,))}
    with file.writing():
        for path, (own, things) in photos.items():
            made = [Thing((angle, 0, 1, 1), 0.5, mask) for angle in things]
            features = np.array([unit(angle) for angle in things], np.float32).reshape(-1, 2)
            entry = Entry(1, 1, bytes(64), unit(own)[None], made, features)
            store.add([(Source(f"/{path}", 0, 0), path.encode(), entry)])
    return store


def cosine(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def test_the_rank_is_the_mean_of_the_photo_and_its_nearest_thing(by_hand: Store) -> None:
    with by_hand.file.reading():
        photos = by_feature(by_hand, unit(0), Asked(9, True, False, None))
        both = by_feature(by_hand, unit(90), Asked(9, True, True, None))
        things = by_feature(by_hand, unit(90), Asked(9, False, True, None))
        under = by_feature(by_hand, unit(0), Asked(9, True, True, "/a"))
    near = 0.01  # of int8
    assert [each.path for each in photos] == ["/a/0", "/a/1", "/b/2"]
    assert [each.similarity for each in photos] == pytest.approx([1, cosine(30), cosine(60)], abs=near)
    assert [each.path for each in both] == ["/a/0", "/a/1", "/b/2"]
    expected = [(cosine(90) + 1) / 2, cosine(60), (cosine(30) + cosine(85)) / 2]
    assert sorted((each.similarity for each in both), reverse=True) == pytest.approx(
        sorted(expected, reverse=True), abs=near
    )
    assert [(each.path, each.thing and each.thing.box[0]) for each in things] == [("/a/0", 90), ("/b/2", 5)]
    assert [each.similarity for each in things] == pytest.approx([1, cosine(85)], abs=near)
    assert [each.path for each in under] == ["/a/1", "/a/0"]
    assert under[1].similarity == pytest.approx((1 + cosine(70)) / 2, abs=near)


def test_a_scan_in_pieces_and_threads_is_one_product() -> None:
    random = np.random.default_rng(0)
    for count in (0, 1, 3, 5000):
        features = random.standard_normal((count, 384)).astype(np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        rows = rows_of(range(count), range(count), features)
        wanted = random.standard_normal(384).astype(np.float32)
        wanted /= np.linalg.norm(wanted)
        assert rows.cosines(wanted) == pytest.approx(features @ wanted, abs=5e-3)
        by_hand = rows.vectors.astype(np.float32) @ wanted / np.linalg.norm(rows.vectors.astype(np.float32), axis=1)
        assert rows.cosines(wanted) == pytest.approx(by_hand, abs=1e-5)
        near = rows.features(np.arange(count))
        assert near @ wanted == pytest.approx(features @ wanted, abs=1e-3)
        again = rows_of(range(count), range(count), near)
        assert all(np.array_equal(one, other) for one, other in zip(rows, again, strict=True)), "a copy is the same"


def test_a_library_that_another_process_has_made_meanwhile_stays(by_hand: Store) -> None:
    again = Store(LibraryFile.create(by_hand.file.path, {**by_hand.about, "size": "256"}))
    assert again.about["size"] == "128"
    with again.file.reading():
        assert again.count("photo") == 3
    assert [each.name for each in by_hand.file.path.parent.iterdir()] == ["by_hand.db"]


def test_rows_of_zeros_are_near_to_nothing() -> None:
    rows = rows_of([1], [1], np.zeros((1, 4), np.float32))
    assert rows.cosines(np.array([1, 0, 0, 0], np.float32)).tolist() == [0]


def test_the_best_of_some_values() -> None:
    values = np.array([0.1, -np.inf, 0.9, 0.5], np.float32)
    assert best(values, 2).tolist() == [2, 3]
    assert best(values, 9).tolist() == [2, 3, 0]
    assert best(values[:0], 3).tolist() == []
    assert isinstance(rows_of([], [], np.zeros((0, 4), np.float32)), Rows)
