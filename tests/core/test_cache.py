"""The cache: what is kept saves work and changes no answer, and what is wrong with it is nobody's trouble."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Ran

from samclip_edge import SamClip, cache, data
from samclip_edge.bundle.contract import Array, Arrays, GraphName
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.verify import verify
from samclip_edge.errors import ChecksumError

NAMES = ["blue heart", "Cat", "cup of coffee"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counting(Sessions):
    """Counts the texts that the text encoder is given, and its calls."""

    texts = calls = 0

    def run(self, name: GraphName, size: Size | None = None, /, **inputs: Array) -> Arrays:
        self.texts += len(inputs["tokens"])
        self.calls += 1
        return super().run(name, size, **inputs)


def read(folder: Path, names: list[str] = NAMES) -> tuple[np.ndarray, int]:
    """The features of names in a model of its own, and how many texts it read for them."""
    bundle = Bundle.open(folder)
    sessions = Counting(bundle)
    return SamClip(bundle, sessions=sessions).words.features(names), sessions.texts


def test_names_are_read_once_by_all_processes(tiny_folder: Path, place: Path) -> None:
    first, texts = read(tiny_folder)
    assert texts >= 2 * len(NAMES)  # of two templates
    again, texts = read(tiny_folder)
    assert texts == 0
    assert again.tobytes() == first.tobytes()
    _, texts = read(tiny_folder, [*NAMES, "dog"])
    assert texts in (2, 4)  # the new name's alone; a single text of a length is read twice


def test_what_is_read_together_does_not_change_a_feature(tiny_folder: Path) -> None:
    together, _ = read(tiny_folder, [*NAMES, "dog", "an astronaut in a suit"])
    for name, feature in zip(NAMES, together, strict=False):
        assert read(tiny_folder, [name])[0][0].tobytes() == feature.tobytes()


def test_no_name_shares_a_call_where_a_call_decides_the_scales_of_int8(tiny_folder: Path) -> None:
    def calls(names: list[str], **manifest: str) -> int:
        bundle = Bundle.open(tiny_folder)
        bundle.manifest = bundle.manifest.model_copy(update=manifest)
        sessions = Counting(bundle)
        SamClip(bundle, sessions=sessions).words.features(names)
        return sessions.calls

    names = ["cat", "dog", "cup"]  # each a token; of two templates
    assert calls(names) == calls(names, precision="int8", quantisation="qdq") == 2
    assert calls(names, precision="int8", quantisation="dynamic") == 6


def test_another_spelling_or_other_templates_are_read_anew(bundle_copy: Path, place: Path) -> None:
    first, _ = read(bundle_copy)
    assert read(bundle_copy, ["cat"])[1] > 0  # some tokenizers tell it from "Cat"
    templates = bundle_copy / "templates.json"
    templates.write_text('["a drawing of a {}"]')
    manifest, digest = bundle_copy / "manifest.json", cache.known_sha256(templates)
    old = Bundle.open(bundle_copy).manifest.text.templates
    bytes_of = '"bytes": {}'.format
    text = manifest.read_text().replace(old.sha256, digest)
    manifest.write_text(text.replace(bytes_of(old.bytes), bytes_of(templates.stat().st_size)))
    other, texts = read(bundle_copy)
    assert texts > 0
    assert not np.allclose(other, first, atol=1e-3)


def test_another_bundle_has_names_of_its_own(tiny_folder: Path, place: Path) -> None:
    read(tiny_folder)
    shipped, texts = read(data.TINY)
    assert texts > 0
    assert shipped.shape != read(tiny_folder)[0].shape or not np.allclose(shipped, read(tiny_folder)[0], atol=1e-3)


@pytest.mark.parametrize("off", ["", "off", " OFF "])
def test_off_means_off(off: str, tiny_folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, off)
    assert cache.folder() is None
    assert read(tiny_folder)[1] == read(tiny_folder)[1] > 0
    assert not place.exists()


def spoil(change: Callable[[bytes], bytes]) -> Callable[[list[Path]], None]:
    return lambda paths: [path.write_bytes(change(path.read_bytes())) for path in paths] and None


DAMAGE: dict[str, Callable[[list[Path]], Any]] = {
    "cut short": spoil(lambda content: content[:-1]),
    "empty": spoil(lambda content: b""),
    "a bit": spoil(lambda content: content[:-1] + bytes([content[-1] ^ 1])),
    "foreign": spoil(lambda content: b"\x80\x04." * 99),
    "another's": lambda paths: [shutil.copy(paths[0], path) for path in paths[1:]] and paths[0].unlink(),
    "a folder": lambda paths: [(path.unlink(), path.mkdir()) for path in paths],
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_entry_counts_as_not_there(how: str, tiny_folder: Path, place: Path) -> None:
    first, texts = read(tiny_folder)
    DAMAGE[how](sorted((place / "names").iterdir()))
    again, texts_again = read(tiny_folder)
    assert texts_again == texts
    assert again.tobytes() == first.tobytes()
    if how != "a folder":
        assert read(tiny_folder)[1] == 0  # it was written anew


def test_a_folder_that_cannot_be_written_is_no_error(tiny_folder: Path, place: Path) -> None:
    place.write_text("a file")
    assert read(tiny_folder)[1] == read(tiny_folder)[1] > 0
    assert place.read_text() == "a file"


def test_the_oldest_entries_go_and_nothing_else(place: Path) -> None:
    shelf = cache.Shelf("things", most=3)
    (place / "things").mkdir(parents=True)
    (place / "things" / "years of work").write_text("theirs")
    for number in range(5):
        shelf.write({f"key {number}": b"%d" % number})
        kept = place / "things" / cache.name_of(f"key {number}")
        os.utime(kept, (1000 + number, 1000 + number))
    assert [shelf.read(f"key {number}") for number in range(5)] == [None, None, b"2", b"3", b"4"]
    assert (place / "things" / "years of work").exists()
    assert cache.size() == sum(path.stat().st_size for path in (place / "things").iterdir())


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute later than it is."""
    now = time.time_ns
    monkeypatch.setattr(cache.time, "time_ns", lambda: now() + 60_000_000_000)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes were read."""
    paths: list[Path] = []
    sha256 = cache.sha256
    monkeypatch.setattr(cache, "sha256", lambda path: (paths.append(path), sha256(path))[1])
    return paths


def test_a_file_is_hashed_once_while_it_stays_as_it_is(
    tmp_path: Path, place: Path, later: None, hashed: list[Path]
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of FIPS 180
    assert [cache.known_sha256(path) for _ in range(2)] == [abc] * 2
    assert hashed == [path]
    assert cache.known_sha256(path, fresh=True) == abc
    assert hashed == [path] * 2
    before = path.stat()
    time.sleep(0.02)  # of a clock that ticks a hundred times a second
    path.write_bytes(b"abd")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # its ctime tells
    assert cache.known_sha256(path) != abc
    assert hashed == [path] * 3


def test_a_file_that_was_written_just_now_is_not_remembered(tmp_path: Path, place: Path, hashed: list[Path]) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    assert cache.known_sha256(path) == cache.known_sha256(path)
    assert hashed == [path] * 2


def test_a_start_trusts_the_cache_and_verify_does_not(bundle_copy: Path, place: Path, later: None) -> None:
    """As of a disk that lost a bit: the file's times say nothing of it."""
    bundle = Bundle.open(bundle_copy)
    file = bundle.graph("mask_decoder", 128).files[1]
    path = bundle.checked(file)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    stat = path.stat()
    facts = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    key = "\n".join([os.path.realpath(path), *map(str, facts)])
    cache.Shelf("sha256", most=9).write({key: bytes.fromhex(file.sha256)})
    assert bundle.checked(file) == path
    assert [row.what for row in verify(bundle) if not row.ok] == [file.path]
    with pytest.raises(ChecksumError):  # verify corrected what was kept
        bundle.checked(file)


@pytest.mark.parametrize(
    ("system", "variables", "wanted"),
    [
        ("Linux", {"HOME": "/home/ann"}, "/home/ann/.cache/samclip-edge"),
        ("Linux", {"HOME": "/home/ann", "XDG_CACHE_HOME": "/scratch"}, "/scratch/samclip-edge"),
        ("Darwin", {"HOME": "/Users/ann", "XDG_CACHE_HOME": "/x"}, "/Users/ann/Library/Caches/samclip-edge"),
        ("Windows", {"HOME": "/ann", "LOCALAPPDATA": "/ann/local"}, "/ann/local/samclip-edge"),
        ("Linux", {"HOME": "/home/ann", cache.VARIABLE: "~/kept"}, "/home/ann/kept"),
    ],
)
def test_where_the_cache_is(
    system: str, variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", cache.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platform.system", lambda: system)
    assert cache.folder() == Path(wanted)


def test_doctor_says_where_it_is_and_how_large(place: Path, run: Callable[..., Ran]) -> None:
    (place / "names").mkdir(parents=True)
    (place / "names" / "x").write_bytes(bytes(2_300_000))
    assert run("doctor", "--json").json["machine"]["cache"] == f"{place}, 2.3 MB"
