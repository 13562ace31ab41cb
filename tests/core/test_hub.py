"""Bundles whose files are links, as in the cache of the Hugging Face hub, and bundles by their name there: offline."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import errors
from support import Ran

from samclip_edge import SamClip, data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.verify import question, verify
from samclip_edge.errors import ChecksumError, InputError
from samclip_edge.runtimes.onnxruntime import OrtSession

NAME, COMMIT, PHOTO = "some-org/tiny.v1", "c0ffee" * 6 + "abcd", data.photos()[0]


def link(bundle: Path, folder: Path, place: Callable[[Path, str], Path]) -> Path:
    """Make `folder` a bundle of relative links. place: where a file goes, by its own path and its sha256."""
    for path in sorted(bundle.rglob("*")):
        if path.is_file():
            goal = place(path, hashlib.sha256(path.read_bytes()).hexdigest())
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, goal)
            name = folder / path.relative_to(bundle)
            name.parent.mkdir(parents=True, exist_ok=True)
            name.symlink_to(os.path.relpath(goal, name.parent))
    return folder


def cache(bundle: Path, folder: Path) -> Path:
    """A hub's cache with the bundle as the repository `NAME`. Returns the folder of its one commit."""
    repository = folder / f"models--{NAME.replace('/', '--')}"
    for ref in ("main", "v1.0", "refs/pr/1"):
        path = repository / "refs" / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(COMMIT)
    return link(bundle, repository / "snapshots" / COMMIT, lambda _, sha256: repository / "blobs" / sha256)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's library, offline, with the shipped bundle in its cache. Returns the folder of the commit."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return cache(data.TINY, tmp_path / "cache")


def answers(folder: Path | str) -> np.ndarray:
    return SamClip.load(folder).look(PHOTO, 128).segment(points=[[60, 80]])[0].logits


LAYOUTS: dict[str, Callable[[Path, Path], Path]] = {
    "a hub's cache": cache,
    "a folder for each file, as with DVC or git-annex": lambda bundle, folder: link(
        bundle, folder / "bundle", lambda _, sha256: folder / "store" / sha256[:2] / sha256[2:]
    ),
    "a folder for each kind": lambda bundle, folder: link(
        bundle,
        folder / "bundle",
        lambda path, _: folder / f"of {path.suffix}" / path.name,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_links_are_followed_because_the_sha256_is_what_is_trusted(tmp_path: Path, layout: str) -> None:
    bundle = Bundle.open(LAYOUTS[layout](data.TINY, tmp_path))
    assert all(bundle.checked(file).is_symlink() for file in bundle.files())


def test_a_bundle_in_a_hubs_cache_runs(tmp_path: Path) -> None:
    """Weights too, which ONNX Runtime looks for beside the graph, or beside what the graph's link leads to."""
    folder = cache(data.TINY, tmp_path)
    assert all(row.ok for row in verify(Bundle.open(folder)))
    np.testing.assert_array_equal(answers(folder), answers(data.TINY))


def cross(*_: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.parametrize("disk", ["this disk", "another disk"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_onnx_runtime_takes_the_graphs_of_linked_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, disk: str
) -> None:
    """From 1.24 on, it refuses weights that the links of a bundle scatter over folders."""
    bundle = Bundle.open(LAYOUTS[layout](data.TINY, tmp_path))
    before = sorted(bundle.folder.iterdir())
    if disk == "another disk":
        monkeypatch.setattr(os, "link", cross)
    graph = bundle.graph("image_encoder", 128)
    with bundle.together(graph.files) as folder:
        session = OrtSession(folder / graph.files[0].path, graph.signature, bundle.manifest.precision, None)
    assert sorted(bundle.folder.iterdir()) == before
    assert session.run(question(bundle.manifest.spec, graph))["embedding"].shape == (1, 256, 8, 8)


def test_a_plain_bundle_and_a_hubs_cache_need_no_other_folder(tmp_path: Path) -> None:
    for folder in (data.TINY, cache(data.TINY, tmp_path)):
        bundle = Bundle.open(folder)
        for graph in bundle.manifest.graphs:
            with bundle.together(graph.files) as place:
                assert place == bundle.folder


def test_a_link_to_other_bytes_is_named(tmp_path: Path) -> None:
    folder = cache(data.TINY, tmp_path)
    bundle = Bundle.open(folder)
    (file,) = (file for file in bundle.files() if file.path == "templates.json")
    blob = (folder / file.path).resolve()
    blob.write_bytes(b"x" * file.bytes)
    with pytest.raises(ChecksumError, match=r"templates.json: its sha256 is not the manifest's"):
        bundle.checked(file)
    blob.unlink()
    with pytest.raises(ChecksumError, match=r"templates.json: missing from the bundle"):
        bundle.checked(file)
    (folder / file.path).unlink()
    (folder / file.path).symlink_to(file.path)
    with pytest.raises(ChecksumError, match=r"templates.json: "):
        bundle.checked(file)


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", "@refs/pr/1", f"@{COMMIT}"])
def test_a_bundle_is_found_by_its_name(hub: Path, revision: str) -> None:
    for given in (NAME + revision, Path(NAME + revision)):
        bundle = Bundle.open(given)
        assert (bundle.folder, bundle.given) == (hub, NAME + revision)


def test_every_verb_takes_a_name(hub: Path, run: Callable[..., Ran]) -> None:
    ran = run("info", NAME, "--json")
    assert (ran.code, ran.json["bundle"]) == (0, NAME)
    assert run("verify", f"{NAME}@v1.0").code == 0
    ran = run("segment", PHOTO, "--point", "60,80", "--size", 128, "--bundle", NAME, "--json")
    assert ran.code == 0, ran.err
    np.testing.assert_array_equal(answers(NAME), answers(data.TINY))


def test_a_path_that_is_there_wins_over_a_name(hub: Path, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.parent.mkdir()
    shutil.copytree(data.TINY, folder)
    assert Bundle.open(NAME).folder == folder
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        Bundle.open(NAME)


def test_the_environment_chooses_the_cache(tmp_path: Path) -> None:
    """As people use it, in a process of its own."""
    cache(data.TINY, tmp_path / "hub")
    code = f"from samclip_edge.bundle.folder import Bundle; print(Bundle.open({NAME!r}).folder)"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    ran = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip().endswith(f"snapshots/{COMMIT}")


def refuse(error: type[Exception]) -> Callable[..., str]:
    def download(*_: object, **__: object) -> str:
        raise error.__new__(error)

    return download


WRONG: dict[str, tuple[str, str]] = {
    "a path with a fault": ("runs/first/bundle", "make one with `samclip-edge export`, or name a repository"),
    "no slash": ("bundle", "make one with `samclip-edge export`, or name a repository"),
    "not in the cache": ("other-org/tiny", "not in the hub's cache, and the hub is out of reach; name a folder, or"),
    "a revision not in the cache": (f"{NAME}@v2", "not in the hub's cache, and the hub is out of reach"),
    "no name of the hub's": ("a/b--c", "no repository of the hub that you may read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_neither_is_told_in_a_line(hub: Path, run: Callable[..., Ran], case: str) -> None:
    given, told = WRONG[case]
    for ran in (run("info", given), run("classify", PHOTO, "--label", "cat", "--bundle", given)):
        assert (ran.code, ran.err.count("\n"), ran.out) == (2, 1, "")
        assert ran.err.startswith(f"error: {given}: no such bundle folder")
        assert told in ran.err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.RepositoryNotFoundError, "no repository of the hub that you may read; name one of both"),
        (errors.GatedRepoError, "`hf auth login`"),
        (errors.RevisionNotFoundError, "has no revision v9; name a branch, tag or commit"),
        (errors.IncompleteSnapshotError, "is out of reach"),
        (ConnectionResetError, "the hub gave none (ConnectionResetError)"),
    ],
)
def test_what_the_hub_says_is_told_in_a_line(
    hub: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], told: str
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse(error))
    with pytest.raises(InputError) as said:
        Bundle.open("org/name@v9")
    assert str(said.value).startswith("org/name@v9: no such bundle folder, and ")
    assert told in str(said.value)
    assert "\n" not in str(said.value)


def test_without_the_library_of_the_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"org/name: no such bundle folder.*pip install 'samclip-edge\[hub\]'"):
        Bundle.open("org/name")
    assert Bundle.open(data.TINY).folder == data.TINY


def test_a_repository_that_is_no_bundle_is_named(hub: Path) -> None:
    (hub / MANIFEST).unlink()
    with pytest.raises(InputError, match=f"^{NAME}: holds no manifest.json"):
        Bundle.open(NAME)
