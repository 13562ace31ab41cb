"""Single files of the Hugging Face hub, from a hub on this machine."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from standin_hub import Hub, serving

from samclip_edge.bundle.hub import fetch
from samclip_edge.errors import ChecksumError, InputError

NAME, FILE, CONTENT = "org/model", "weights.bin", bytes(range(256)) * 8192  # 2 MB
COMMIT = "c0ffee" * 6 + "abcd"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one file, and an empty cache."""
    with serving() as hub:
        hub.stand_in(tmp_path / "cache", monkeypatch)
        hub.put(NAME, FILE, CONTENT, COMMIT)
        yield hub


def test_a_file_comes_with_its_commit_and_its_digest(hub: Hub) -> None:
    found = fetch(NAME, FILE)
    assert found.path.read_bytes() == CONTENT
    assert found[1:] == (COMMIT, hashlib.sha256(CONTENT).hexdigest())


@pytest.mark.parametrize("revision", [COMMIT, None])
def test_what_is_in_the_cache_is_not_downloaded_again(hub: Hub, revision: str | None) -> None:
    first, before = fetch(NAME, FILE, revision), hub.asked_for_files()
    assert fetch(NAME, FILE, revision) == first
    assert hub.sent == len(CONTENT)
    assert (hub.asked_for_files() == before) is (revision is not None)  # of a commit nothing can have changed


def test_a_download_that_breaks_off_goes_on_where_it_was(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    hub.breaks = 1_000_000
    assert fetch(NAME, FILE).path.read_bytes() == CONTENT
    assert hub.sent < len(CONTENT) + (1 << 16)


def test_another_file_than_the_hub_publishes_is_refused(hub: Hub) -> None:
    hub.published[FILE] = 64 * "a"
    with pytest.raises(ChecksumError, match=rf"^{NAME}/{FILE}: its sha256 is \w+\.\.\., and the published one aaaa"):
        fetch(NAME, FILE)


def test_another_file_than_is_wanted_is_refused_and_can_be_removed(hub: Hub) -> None:
    with pytest.raises(ChecksumError, match=r"the published one bbbb.*; remove (\S+) and get it again") as said:
        fetch(NAME, FILE, None, 64 * "b")
    Path(str(said.value).partition("remove ")[2].partition(" and")[0]).unlink()
    assert fetch(NAME, FILE).path.read_bytes() == CONTENT
    assert hub.sent == 2 * len(CONTENT)


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ((401, "RepoNotFound"), "no repository of the hub that you may read"),
        ((404, "RepoNotFound"), "no repository of the hub that you may read"),
        ((403, "GatedRepo"), "its repository asks for consent; accept its terms on its page of the hub, then `hf auth"),
        ((404, "RevisionNotFound"), "its repository has no revision None"),
        ((404, "EntryNotFound"), "its repository has no such file"),
    ],
)
def test_a_refusal_is_told_in_a_line(hub: Hub, refused: tuple[int, str], told: str) -> None:
    hub.refused[NAME] = refused
    with pytest.raises(InputError) as said:
        fetch(NAME, FILE)
    assert str(said.value).startswith(f"{NAME}/{FILE}: {told}")
    assert "\n" not in str(said.value)


def test_offline_what_is_in_the_cache_is_enough(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(NAME, FILE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = hub.asked_for_files()
    assert fetch(NAME, FILE).revision == COMMIT
    with pytest.raises(InputError, match=r"not in the hub's cache, and the hub is out of reach; download it once"):
        fetch(NAME, "other.bin")
    assert hub.asked_for_files() == before


def test_a_full_disk_is_told_with_what_moves_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(InputError, match=r"the disk of the hub's cache is full; make room, or .* HF_HOME"):
        fetch(NAME, FILE)


def test_without_the_library_of_the_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"to fetch it, pip install 'samclip-edge\[hub\]'"):
        fetch(NAME, FILE)


def test_the_environment_chooses_the_hub(hub: Hub, tmp_path: Path) -> None:
    """As people use it, in a process of its own."""
    code = f"from samclip_edge.bundle.hub import fetch; print(fetch({NAME!r}, {FILE!r}).path)"
    env = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_secret"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path / "home")
    assert "Bearer hf_secret" in hub.tokens
