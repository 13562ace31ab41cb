"""`samclip-edge web`: the site holds what the page asks for, and no more; it is served with the headers of isolation.

The page itself is tested in a browser, by `make test-web`. Here a stand-in of its files will do.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Ran

from samclip_edge import data, site

WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of ONNX Runtime's wasm, and the page beside it, of files that hold their own names."""
    monkeypatch.setattr(data, "PAGE", tmp_path / "page")
    for folder, names in ((data.PAGE, site.PAGE), (tmp_path / "dist", (*WASM, *WEBGPU, "ort.all.js"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
    return tmp_path / "dist"


def files(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


@pytest.fixture
def web(run: Callable[..., Ran], engine: Path) -> Callable[..., Ran]:
    return lambda *words: run("web", "tiny", "--engine", str(engine), *words)


def test_a_site_holds_the_page_the_engine_and_the_graphs(web: Callable[..., Ran], tmp_path: Path) -> None:
    ran = web("-o", str(tmp_path / "deep" / "site"), "--json")
    assert (ran.code, ran.err) == (0, "")
    made = files(tmp_path / "deep" / "site")
    manifest = json.loads((data.TINY / "manifest.json").read_text())
    graphs = {file["path"] for graph in manifest["graphs"] for file in graph["files"]}
    texts = {"templates.json", "tokenizer.json", "rivals.json", "rivals.npy", "manifest.json"}
    wanted = {
        *site.PAGE,
        *(f"engine/{name}" for name in (*WASM, *WEBGPU)),
        *(f"bundle/{each}" for each in graphs | texts),
    }
    made.remove("site.json")
    assert set(made) == wanted
    assert ran.json["files"] == made == json.loads((tmp_path / "deep" / "site" / "site.json").read_text())["files"]
    assert ran.json["bytes"] == sum((tmp_path / "deep" / "site" / each).stat().st_size for each in made)
    for each in made:
        if each.startswith("bundle/"):
            assert (tmp_path / "deep" / "site" / each).read_bytes() == (data.TINY / each[7:]).read_bytes()


def test_a_site_is_replaced_whole_and_nothing_else_is(web: Callable[..., Ran], engine: Path, tmp_path: Path) -> None:
    place = tmp_path / "site"
    assert web("-o", str(place)).code == 0
    (engine / WEBGPU[0]).unlink()  # then the others of WebGPU are of no use
    assert web("-o", str(place)).code == 0
    assert [each for each in files(place) if each.startswith("engine/")] == sorted(f"engine/{name}" for name in WASM)
    for note in ("notes.txt", "bundle/notes.txt"):
        (place / note).write_text("mine")
    (place / "worker.js").write_text("old")
    before = files(place)
    assert web("-o", str(place)).code == 0
    assert files(place) == before
    assert ((place / "notes.txt").read_text(), (place / "worker.js").read_text()) == ("mine", "worker.js")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("held", ["notes.txt", "bundle/thesis.txt", "bundle/manifest.json", "site.json"])
def test_a_folder_of_others_is_refused(web: Callable[..., Ran], tmp_path: Path, held: str) -> None:
    (tmp_path / "theirs" / held).parent.mkdir(parents=True)
    (tmp_path / "theirs" / held).write_text("mine")
    ran = web("-o", str(tmp_path / "theirs"))
    told = ", and a site.json that this version cannot read" if held == "site.json" else ""
    line = f"error: {tmp_path / 'theirs'}: holds other files{told}; name a new or empty folder\n"
    assert (ran.code, ran.err) == (2, line)
    assert files(tmp_path / "theirs") == [held]


def test_what_fails_leaves_the_old_site(
    web: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site"
    assert web("-o", str(place)).code == 0
    before = files(place)

    def fail(source: Path, goal: Path) -> None:
        if goal.name == "worker.js":
            raise OSError(28, "No space left on device")
        goal.write_bytes(source.read_bytes())

    monkeypatch.setattr(shutil, "copyfile", fail)
    ran = web("-o", str(place))
    assert (ran.code, ran.err) == (
        2,
        f"error: {place}: the disk is full; make room, or name a folder on another disk\n",
    )
    assert files(place) == before
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "-o: give the folder of the site, or --serve"),
        (("-o", "{here}/file"), "{here}/file: is a file; name a folder to write the site to"),
        (
            ("-o", "{here}/site", "--engine", "{here}"),
            "--engine {here}: holds no ort.wasm.min.mjs; name `dist` of npm's onnxruntime-web 1.30 or later",
        ),
    ],
)
def test_bad_input(web: Callable[..., Ran], tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    (tmp_path / "file").write_text("")
    ran = web(*(word.format(here=tmp_path) for word in words))
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {line.format(here=tmp_path)}\n")
    assert not (tmp_path / "site").exists()


def test_a_bundle_that_the_page_cannot_run(run: Callable[..., Ran], engine: Path, tmp_path: Path) -> None:
    for field, value, line in (
        ("target", "coreml", "is for target coreml; export it with `--target onnx`"),
        ("tokenizer", "own", "its tokenizer is not CLIP's; export it with --vocabulary for the page"),
    ):
        bundle = tmp_path / field
        shutil.copytree(data.TINY, bundle)
        manifest = json.loads((bundle / "manifest.json").read_text())
        (manifest if field == "target" else manifest["spec"]["text"])[field] = value
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        ran = run("web", str(bundle), "--engine", str(engine), "-o", str(tmp_path / "site"))
        assert (ran.code, ran.err) == (2, f"error: {bundle}: {line}\n")
    (tmp_path / "changed").mkdir()
    shutil.copytree(data.TINY, tmp_path / "changed", dirs_exist_ok=True)
    with (tmp_path / "changed" / "rivals.json").open("r+b") as file:
        file.write(b" ")
    ran = run("web", str(tmp_path / "changed"), "--engine", str(engine), "-o", str(tmp_path / "site"))
    assert ran.code == 2
    assert "rivals.json: its sha256 is not the manifest's" in ran.err
    assert not (tmp_path / "site").exists()


def test_an_installation_without_the_page_says_so(
    run: Callable[..., Ran], engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data.PAGE / "worker.js").unlink()
    ran = run("web", "--engine", str(engine), "-o", str(tmp_path / "site"))
    assert ran.err.startswith("error: web: this installation is without the page; run `make web`")
    (data.PAGE / "worker.js").write_text("")
    monkeypatch.setattr(site, "FETCHED", tmp_path / "nowhere")
    ran = run("web", "-o", str(tmp_path / "site"))
    assert ran.err.startswith("error: --engine: ONNX Runtime's wasm is not here; run `make web`")


@pytest.fixture
def served(engine: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its address.

    It heeds Ctrl-C in tests that run in the background too, where a shell without job control has it ignored.
    """
    code = f"""
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from samclip_edge import data
data.PAGE = Path({str(data.PAGE)!r})
from samclip_edge.cli import main
sys.argv[1:] = ["web", "tiny", "--engine", {str(engine)!r}, "--serve", "--port", "0", "--json"]
main()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, json.loads(process.stdout.readline())["url"]
    process.kill()
    process.wait()


def test_it_is_served_with_the_headers_that_several_threads_want(served: tuple[subprocess.Popen[str], str]) -> None:
    process, url = served

    def got(path: str) -> tuple[Any, bytes]:
        with urllib.request.urlopen(url + path) as answer:
            return answer.headers, answer.read()

    headers, page = got("")
    assert page == b"index.html"
    for name, value in (
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Embedder-Policy", "require-corp"),
    ):
        assert headers[name] == value
    kinds = {
        "app.js": "text/javascript",
        f"engine/{WASM[1]}": "text/javascript",
        f"engine/{WASM[2]}": "application/wasm",
    }
    assert {path: got(path)[0]["Content-Type"] for path in kinds} == kinds
    weights = got("bundle/image_encoder.weights")[1]
    manifest = json.loads((data.TINY / "manifest.json").read_text())
    known = {file["path"]: file["sha256"] for graph in manifest["graphs"] for file in graph["files"]}
    assert hashlib.sha256(weights).hexdigest() == known["image_encoder.weights"]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_a_port_that_is_taken(web: Callable[..., Ran], served: tuple[Any, str]) -> None:
    port = served[1].rstrip("/").rpartition(":")[2]
    ran = web("--serve", "--port", port)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: --port {port}: cannot be had (")
    assert ran.err.count(os.linesep) == 1


def test_the_card_names_what_the_page_offers() -> None:
    """The names of a bundle that a page offers are those that its card lists."""
    card = (data.FOLDER / "MODEL_CARD.md").read_text("utf-8")
    names = json.loads((data.PHOTO / "rivals.json").read_text("utf-8"))
    _, _, rest = card.partition("**Names that the page offers")
    listed = rest.partition(": ")[2].partition(".\n")[0].replace("\n", " ")
    assert [" ".join(each.split()) for each in listed.split(",")] == names
