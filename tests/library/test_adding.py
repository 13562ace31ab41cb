"""Photos into a library: what is encoded, what is known again, and what is gone."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support import paint

from samclip_edge import InputError, SamClip
from samclip_edge.library import Added, Library
from samclip_edge.library.sources import Failed


def added(**counts: int) -> Added:
    return Added(**dict.fromkeys(("added", "copied", "moved", "unchanged", "vanished"), 0) | counts, failed=[])


def rows(library: Library) -> dict[str, int]:
    """The id of each photo, by the end of its path."""
    store = library.store
    with store.file.reading():
        return {os.path.basename(path): id_ for id_, path in store.file.rows("SELECT id, path FROM photos")}


def feature(library: Library, name: str) -> np.ndarray:
    store = library.store
    with store.file.reading():
        found, id_ = store.rows("photo"), rows(library)[name]
        return found.features(np.flatnonzero(found.ids == id_))[0]


def test_what_is_stored_is_what_embed_says(library: Library, shapes: SamClip, folder: Path) -> None:
    assert library.add([folder]) == added(added=4)
    for seed, wanted in enumerate(shapes.embed([folder / f"{seed}.png" for seed in range(4)], library.size)):
        stored = feature(library, f"{seed}.png")
        # Each of the numbers is off by half a quarter at most, of 1/127.125 of the largest.
        assert np.abs(stored / np.abs(stored).max() - wanted / np.abs(wanted).max()).max() <= 0.125 / 127.125 + 1e-5


def test_photos_that_stay_are_not_encoded_again(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add([folder])
    monkeypatch.setattr(library.model.sessions, "run", None)  # nothing may run
    assert library.add([folder]) == added(unchanged=4)
    os.utime(folder / "0.png", ns=(1, 1))  # another time, the same sha256
    assert library.add([folder]) == added(unchanged=4)
    assert library.add([folder]) == added(unchanged=4)


def test_a_moved_file_keeps_its_row(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.add([folder])
    before = rows(library)
    (folder / "deep").mkdir()
    (folder / "0.png").rename(folder / "deep" / "moved.png")
    monkeypatch.setattr(library.model.sessions, "run", None)
    assert library.add([folder]) == added(moved=1, unchanged=3)
    after = rows(library)
    assert after["moved.png"] == before["0.png"]
    assert "0.png" not in after
    assert len(library) == 4


def test_a_file_that_was_moved_over_another_takes_its_place(library: Library, folder: Path) -> None:
    library.add([folder])
    before = rows(library)
    (folder / "0.png").replace(folder / "1.png")
    assert library.add([folder]) == added(moved=1, unchanged=2)
    assert rows(library) == {"1.png": before["0.png"], "2.png": before["2.png"], "3.png": before["3.png"]}


@pytest.mark.parametrize("shift", [{0: 1, 1: 2, 2: 3, 3: 4}, {1: 0, 2: 1, 3: 2}, {0: 1, 1: 0}, {0: 1, 1: 2, 2: 0}])
def test_photos_that_change_their_names_among_each_other_keep_their_rows(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch, shift: dict[int, int]
) -> None:
    library.add([folder])
    before = rows(library)
    for old in shift:
        (folder / f"{old}.png").rename(folder / f"{old}.away")
    for old, new in shift.items():
        (folder / f"{old}.away").rename(folder / f"{new}.png")
    monkeypatch.setattr(library.model.sessions, "run", None)  # nothing may run
    assert library.add([folder]).moved == len(shift)
    after = {
        f"{shift.get(old, old)}.png": before[f"{old}.png"] for old in range(4) if old or 1 not in shift or 0 in shift
    }
    assert {name: id_ for name, id_ in rows(library).items() if name in after} == after
    monkeypatch.undo()
    assert len(library.search("square", min_score=0).matches) == len(list(folder.iterdir()))


def test_a_touched_file_keeps_its_row_beside_its_copy(library: Library, folder: Path) -> None:
    library.add([folder])
    before = rows(library)
    shutil.copyfile(folder / "3.png", folder / "00.png")  # which is listed first
    os.utime(folder / "3.png", ns=(1, 1))
    assert library.add([folder]) == added(copied=1, unchanged=4)
    assert rows(library)["3.png"] == before["3.png"]


def test_a_copy_has_a_row_of_its_own_and_is_not_encoded(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add([folder])
    shutil.copyfile(folder / "2.png", folder / "copy.png")
    monkeypatch.setattr(library.model.sessions, "run", None)
    assert library.add([folder]) == added(copied=1, unchanged=4)
    assert np.array_equal(feature(library, "copy.png"), feature(library, "2.png"))
    assert len(library) == 5


def test_copies_among_new_photos_are_encoded_once(library: Library, folder: Path) -> None:
    shutil.copyfile(folder / "2.png", folder / "copy.png")
    assert library.add([folder]) == added(added=4, copied=1)
    assert np.array_equal(feature(library, "copy.png"), feature(library, "2.png"))


def test_a_changed_file_is_encoded_again(library: Library, shapes: SamClip, folder: Path) -> None:
    library.add([folder])
    before, old = rows(library), feature(library, "3.png")
    paint(folder / "3.png", 99, side=128)
    assert library.add([folder]) == added(added=1, unchanged=3)
    assert rows(library).keys() == before.keys()
    new = feature(library, "3.png")
    assert not np.array_equal(new, old)
    assert new @ shapes.embed([folder / "3.png"], library.size)[0] > 0.999


def test_vanished_photos_answer_nothing_until_they_are_back(library: Library, folder: Path) -> None:
    library.add([folder])
    (folder / "1.png").rename(folder.parent / "away.png")
    assert library.add([folder]) == added(vanished=1, unchanged=3)
    assert library.add([folder]) == added(unchanged=3)
    names = [Path(each.path).name for each in library.search("square", min_score=0).matches]
    assert sorted(names) == ["0.png", "2.png", "3.png"]
    (folder.parent / "away.png").rename(folder / "1.png")
    assert library.add([folder]) == added(unchanged=4)
    assert len(library.search("square", min_score=0).matches) == 4


def test_prune_takes_out_what_has_vanished_and_remove_what_is_named(library: Library, folder: Path) -> None:
    library.add([folder])
    (folder / "1.png").unlink()
    library.add([folder])
    assert (len(library), library.vanished) == (3, 1)
    assert library.prune() == 1
    assert library.prune() == 0
    assert library.remove([folder / "0.png", folder / "none.png"]) == 1
    assert library.remove(str(folder / "nowhere")) == 0, "one path, and not its letters"
    with pytest.raises(InputError, match=r"^photos: an empty path"):
        library.remove("")
    assert sorted(rows(library)) == ["2.png", "3.png"]
    assert library.remove([folder]) == 2
    assert len(library) == 0
    with library.store.file.reading():
        assert list(library.store.file.rows("SELECT * FROM blocks")) == [], "features of no photo"


def test_prune_takes_out_a_folder_that_was_removed(library: Library, folder: Path) -> None:
    other = paint(folder.parent / "other" / "9.png", 9).parent
    library.add([folder, other])
    shutil.rmtree(other)
    assert library.prune() == 1
    assert len(library) == 4


def test_a_photo_elsewhere_does_not_vanish_because_another_folder_was_indexed(library: Library, folder: Path) -> None:
    other = paint(folder.parent / "other" / "9.png", 9).parent
    library.add([folder, other])
    shutil.rmtree(folder)
    assert library.add([other]) == added(unchanged=1)
    assert len(library.search("square", min_score=0).matches) == 5


def test_what_cannot_be_read_is_named_and_tried_again(library: Library, folder: Path) -> None:
    whole = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(whole[: len(whole) // 2])
    found = library.add([folder])
    assert found.added == 3
    assert [Path(each.path).name for each in found.failed] == ["0.png"]
    assert "\n" not in found.failed[0].error
    assert library.add([folder]).failed == found.failed
    (folder / "0.png").write_bytes(whole)
    assert library.add([folder]) == added(added=1, unchanged=3)


def test_a_photo_that_became_unreadable_answers_no_more(library: Library, folder: Path) -> None:
    library.add([folder])
    (folder / "0.png").write_bytes(b"gone")
    found = library.add([folder])
    assert (found.vanished, len(found.failed)) == (1, 1)
    assert len(library.search("square", min_score=0).matches) == 3


def test_tars_and_lists_and_single_photos(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = folder.parent / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(folder / "0.png", "a/0.png")
        tar.add(folder / "1.png", "./1.png")
        tar.add(folder / "1.png", "1.json")
    assert library.add([shard]) == added(added=2)
    assert library.add([shard]) == added(unchanged=2)
    assert sorted(each.path for each in library.search("square", min_score=0, under=shard).matches) == [
        f"{shard}/1.png",
        f"{shard}/a/0.png",
    ]
    monkeypatch.chdir(folder.parent)
    Path("photos.txt").write_text("\ufeffphotos/2.png\n\nphotos/none.png\n", encoding="utf-8")
    found = library.add(["photos.txt", "photos/3.png"])
    assert found.added == 2
    assert found.failed == [Failed(str(folder / "none.png"), "cannot be read (No such file or directory)")]
    assert library.add([folder]) == added(copied=2, unchanged=2), "the two of the tar are the same files"


def test_a_photo_of_a_tar_that_is_away_is_not_thought_to_have_moved(library: Library, folder: Path) -> None:
    shard = folder.parent / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(folder / "0.png", "0.png")
    library.add([shard])
    assert library.add([folder]) == added(added=3, copied=1)
    shard.unlink()
    paint(folder / "0.png", 50)
    paint(folder / "again.png", 0)  # as the one of the tar, which is gone
    assert library.add([folder]).moved == 1


def test_a_tar_that_breaks_off_loses_nothing(library: Library, folder: Path) -> None:
    shard = folder.parent / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        for seed in range(4):
            tar.add(folder / f"{seed}.png")
    assert library.add([shard]).added == 4
    data = shard.read_bytes()
    shard.write_bytes(data[: 1024 + 512 + 1024])
    found = library.add([shard])
    assert [each.path for each in found.failed][-1] == str(shard)
    assert found.vanished == 0, "what lies behind the break is not known to be gone"
    assert len(library) == 4


def test_names_that_are_no_utf8_are_told(library: Library, folder: Path) -> None:
    bad = os.fsdecode(b"\xff.png")
    shutil.copyfile(folder / "0.png", folder / bad)
    shard = folder.parent / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(folder / "1.png", bad)
        tar.add(folder / "2.png", "2.png")
    found = library.add([folder, shard])
    assert (found.added, found.copied) == (4, 1)
    assert [each.error for each in found.failed] == ["its name is no UTF-8; rename it"] * 2
    for ask in (lambda: library.search("square", under=bad), lambda: library.remove(bad), lambda: library.add([bad])):
        with pytest.raises(InputError, match="no UTF-8"):
            ask()


def test_a_pipe_is_no_photo_and_a_photo_of_a_list_can_vanish(library: Library, folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    listed = folder.parent / "photos.txt"
    listed.write_text("".join(f"{folder}/{seed}.png\n" for seed in range(4)))
    found = library.add([folder, listed])
    assert found.added == 4
    assert [each.error for each in found.failed] == ["is no file, but a pipe, a folder or a device"]
    (folder / "1.png").unlink()
    assert library.add([listed]).vanished == 1
    assert len(library) == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [("nowhere", "no such folder or file"), ("text.txt", "'no photo' is no photo's name"), ("raw.bin", "no list")],
)
def test_what_is_no_folder_nor_list(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("no photo\n")
    Path("raw.bin").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match=told):
        library.add([given])


def test_hidden_files_are_left_out(library: Library, folder: Path) -> None:
    paint(folder / ".thumbnails" / "0.png", 70)
    paint(folder / "._1.png", 71)
    assert library.add([folder]).added == 4


def test_many_photos_are_decoded_in_other_processes(library: Library, folder: Path) -> None:
    for seed in range(20):
        paint(folder / f"more{seed}.png", 100 + seed)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    found = library.add([folder])
    assert found.added == 24
    assert [Path(each.path).name for each in found.failed] == ["bad.png"]
    assert library.add([folder])._replace(failed=[]) == added(unchanged=24)
