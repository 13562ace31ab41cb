"""The file of a library: what may happen to it, and what any SQLite can read of it."""

from __future__ import annotations

import json
import math
import random
import resource
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Ran, paint

from samclip_edge import InputError, SamClip, data
from samclip_edge.library import Library
from samclip_edge.library.file import FORMAT
from samclip_edge.photo.elsewhere import Source

WRITER = """
import sys
from samclip_edge import SamClip
from samclip_edge.library import Library, adding, file
adding.BATCH_SECONDS = 0.0  # each photo is a batch
put = file.LibraryFile.commit
def commit(self):
    put(self)
    print(self.row("SELECT count(*) FROM photos")[0], flush=True)
file.LibraryFile.commit = commit
Library.open(sys.argv[1], SamClip.load(sys.argv[2], threads=1), things=sys.argv[4] == "things").add([sys.argv[3]])
"""


def writer(library: Path, photos: Path, things: bool = False, limit: int | None = None) -> subprocess.Popen[str]:
    """A process that indexes, and prints how many photos are in the file after each batch."""

    def cap() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", WRITER, library, data.TINY, photos, "things" if things else "photos"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=cap)


def check_whole(path: Path) -> int:
    """Hold a library against itself. Returns how many photos it has."""
    file = sqlite3.connect(path)
    assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for kind in ("photo", "thing"):
        blocks = file.execute("SELECT ids FROM blocks WHERE kind = ?", (kind,)).fetchall()
        ids = [id_ for (block,) in blocks for id_ in np.frombuffer(block, "<i8").tolist()]
        assert sorted(ids) == [row[0] for row in file.execute(f"SELECT id FROM {kind}s ORDER BY id")]
    (photos, digests), *_ = file.execute("SELECT count(*), count(DISTINCT sha256) FROM photos")
    assert photos == digests, "a photo is there twice"
    return int(photos)


def test_twenty_kills_lose_the_batch_in_hand_and_nothing_else(tmp_path: Path, shapes: SamClip) -> None:
    for seed in range(300):
        paint(tmp_path / "photos" / f"{seed}.png", seed)
    library, chance, reached = tmp_path / "library.db", random.Random(0), 0
    for number in range(20):
        process = writer(library, tmp_path / "photos", things=True)
        assert process.stdout
        if number % 4:
            process.stdout.readline()  # its first batch; every fourth is killed while it starts
        time.sleep(chance.uniform(0, 0.15 if number % 4 else 0.8))
        process.send_signal(signal.SIGKILL)
        told = process.communicate()[0].split()
        if library.exists():
            there = check_whole(library)
            assert there >= max([reached, *map(int, told)]), "a batch that was told of is lost"
            reached = there
    with Library.open(library, shapes, things=True) as opened:
        found = opened.add([tmp_path / "photos"])
    assert (found.added, found.unchanged, found.failed) == (300 - reached, reached, [])
    assert check_whole(library) == 300


def test_a_full_disk_is_told_in_one_line_and_the_old_answers_stay(library: Library, folder: Path) -> None:
    library.add([folder])
    before = library.search("square", min_score=0)
    for seed in range(200):
        paint(folder / f"more{seed}.png", 10 + seed)
    process = writer(library.path, folder, limit=40_000)  # a page and a bit
    err = process.communicate()[1]
    assert "InputError" in err.splitlines()[-1]
    assert "the disk is full or fails" in err.splitlines()[-1]
    there = check_whole(library.path)
    assert 4 <= there < 204
    again = library.search("square", n=300, min_score=0)
    assert set(before.matches) <= set(again.matches)
    assert library.add([folder]).added == 204 - there


def test_one_writes_and_others_read_meanwhile(library: Library, shapes: SamClip, folder: Path) -> None:
    library.add([folder])
    other = Library.open(library.path, shapes)
    with library.store.file.writing():
        library.store.remove([1])
        assert len(other.search("square", min_score=0).matches) == 4, "what is not committed is not seen"
        with pytest.raises(InputError, match=r"library\.db: another process writes to it"):
            other.add([folder])
    assert len(other.search("square", min_score=0).matches) == 3


def test_a_thread_searches_while_another_adds(library: Library, folder: Path) -> None:
    library.add([folder])
    for seed in range(4, 8):
        paint(folder / f"{seed}.png", seed)
    seen = []
    with ThreadPoolExecutor(1) as other:

        def asking(items: Sequence[Source], what: str, /) -> Iterator[Source]:
            for item in items:
                asked = other.submit(library.search, "square", min_score=0)
                seen.append(len(asked.result(timeout=20).matches))
                yield item

        assert library.add([folder], progress=asking).added == 4
    assert seen == [4] * 4, "of a batch that is not in the file nothing is seen"
    assert len(library.search("square", min_score=0).matches) == 8


def test_threads_add_one_after_another(library: Library, folder: Path) -> None:
    library.add([folder])
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(library.search, "square", min_score=0) for _ in range(20)]
        added = [pool.submit(library.add, [folder]) for _ in range(5)]
        assert {len(each.result().matches) for each in asked} == {4}
        assert {each.result().unchanged for each in added} == {4}


def test_plain_sqlite_answers_as_the_library_does(library: Library, shapes: SamClip, folder: Path) -> None:
    """By the words of docs/library.md alone: the standard library's SQLite, and sums written out."""
    library.add([folder])
    (wanted,) = shapes.words.features(["red square"]).tolist()
    file = sqlite3.connect(library.path)
    found = {}
    for ids, vectors, lengths in file.execute("SELECT ids, vectors, lengths FROM blocks WHERE kind = 'photo'"):
        width = len(vectors) // (len(ids) // 8)
        for row, (id_,) in enumerate(struct.iter_unpack("<q", ids)):
            numbers = struct.unpack(f"{width}b", vectors[row * width : (row + 1) * width])
            (length,) = struct.unpack_from("<f", lengths, 4 * row)
            assert length == pytest.approx(1 / math.sqrt(sum(each * each for each in numbers)))
            (path,) = file.execute("SELECT path FROM photos WHERE id = ?", (id_,)).fetchone()
            found[path] = length * sum(a * b for a, b in zip(numbers, wanted, strict=True))
    matches = library.search("red square", min_score=0).matches
    assert [each.path for each in matches] == sorted(found, key=lambda path: -found[path])
    for each in matches:
        assert each.similarity == pytest.approx(found[each.path], abs=5e-3), "which has the quarters too"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40_000])


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute(f"PRAGMA user_version = {FORMAT + 1}")


def _other(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE photos (id)")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.write_text("hello, " * 99), "no library"),
        (lambda path: path.write_bytes(b""), "no library"),
        (lambda path: path.unlink(), "no such library"),
        (_other, "no library"),
        (_newer, f"format {FORMAT + 1} is newer than {FORMAT}"),
        (_cut, "is damaged or cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[:90]), "is damaged or cut short"),
    ],
)
def test_files_that_are_no_library(
    library: Library, folder: Path, run: Callable[..., Ran], spoil: Callable[[Path], Any], told: str
) -> None:
    library.add([folder])
    library.close()
    spoil(library.path)
    before = library.path.read_bytes() if library.path.exists() else None
    verbs = [("search", library.path, "square")]
    if before is not None:
        verbs += [("index", folder, "-o", library.path)]
    for verb in verbs:
        ran = run(*verb, "--bundle", "tiny")
        assert ran.code == 2
        (line,) = [line for line in ran.err.splitlines() if not line.startswith("note:")]
        assert line.startswith(f"error: {library.path}: ")
        assert told in line
        assert ran.out == ""
    assert (library.path.read_bytes() if library.path.exists() else None) == before


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE blocks SET vectors = x'0011'",
        "UPDATE blocks SET ids = zeroblob(length(ids))",
        "DELETE FROM blocks",
        "DELETE FROM photos",
        "UPDATE photos SET width = -5",
        "UPDATE photos SET height = 2000000000",
        "DELETE FROM about WHERE key = 'things'",
        "DELETE FROM about WHERE key = 'features'",
        "UPDATE about SET value = 'x' WHERE key = 'size'",
    ],
)
def test_values_that_do_not_fit_are_told_in_one_line(
    library: Library, folder: Path, run: Callable[..., Ran], spoil: str
) -> None:
    library.add([folder])
    with sqlite3.connect(library.path) as file:
        file.execute(spoil)
    ran = run("search", library.path, "square", "--bundle", "tiny")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {library.path}: is damaged (")
    assert ran.err.endswith("); copy it again, or index with --reindex\n")
    assert ran.err.count("\n") == 1


def test_a_library_that_cannot_be_written_still_answers(
    library: Library, shapes: SamClip, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add([folder])
    library.close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **how: connect(name.replace("mode=rw", "mode=ro"), **how))
    opened = Library.open(library.path, shapes)
    assert len(opened.search("square", min_score=0).matches) == 4
    assert opened.add([folder]).unchanged == 4
    paint(folder / "new.png", 9)
    with pytest.raises(InputError, match=r"library\.db: cannot be written"):
        opened.add([folder])


def test_a_library_in_a_folder_that_is_not_there(shapes: SamClip, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none/library\.db: cannot be written"):
        Library.open(tmp_path / "none" / "library.db", shapes).add([folder])


def test_another_model_is_refused_in_one_line(library: Library, folder: Path, run: Callable[..., Ran]) -> None:
    library.add([folder])
    ran = run("search", library.path, "square", "--bundle", "photo")
    assert ran.code == 2
    (line,) = ran.err.splitlines()
    assert "was made by another model, tiny (sha256 " in line
    assert "--reindex" in line


def test_another_export_of_the_model_may_ask(library: Library, folder: Path, bundle_copy_of_shapes: Path) -> None:
    library.add([folder])
    other = SamClip.load(bundle_copy_of_shapes)
    assert Library.open(library.path, other).search("square", min_score=0) == library.search("square", min_score=0)


@pytest.fixture
def bundle_copy_of_shapes(tmp_path: Path) -> Path:
    """The same model with another manifest, as another export has it."""
    import shutil

    shutil.copytree(data.TINY, tmp_path / "export")
    manifest = tmp_path / "export" / "manifest.json"
    fields = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(fields | {"producer": "another export"}))
    return tmp_path / "export"


def test_a_library_with_things_stays_so_and_one_without_does_not_get_them(
    library: Library, shapes: SamClip, folder: Path, tmp_path: Path
) -> None:
    library.add([folder])
    with pytest.raises(InputError, match="made without things"):
        Library.open(library.path, shapes, things=True)
    with pytest.raises(InputError, match=r"^size 256: .*library\.db was made at 128"):
        Library.open(library.path, shapes, size=256)
    with pytest.raises(InputError, match=r"^things: .*made without"):
        library.search("square", things=True)
    Library.open(tmp_path / "things.db", shapes, things=True).add([folder / "0.png"])
    again = Library.open(tmp_path / "things.db", shapes)
    assert again.things
    before = again.things
    again.add([folder / "1.png"])
    assert again.things > before
    assert (library.size, again.size) == (128, 256)
