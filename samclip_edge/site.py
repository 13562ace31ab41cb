"""A static site that runs a bundle in the page: the page (`runtimes/web/page`), ONNX Runtime's wasm, and the bundle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.errors import InputError, one_line

PAGE = ("index.html", "style.css", "app.js", "worker.js", "licences.txt")
_WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_WEBGPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
# In a checkout, what `make web` fetched.
FETCHED = data.FOLDER.parents[1] / "runtimes" / "web" / "node_modules" / "onnxruntime-web" / "dist"
# With these a page is isolated from others, and may use several threads.
HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


def files_of(bundle: Bundle, engine: Path | None = None) -> dict[str, Path]:
    """What a site is made of: each file by its path in the site. Every file of the bundle is held against its sha256.

    engine: the folder with ONNX Runtime's files, `dist` of npm's onnxruntime-web; None: that of `make web`. Those for
    WebGPU may be missing there. Raises InputError where the page or the engine is not here, and for a bundle that the
    page cannot run.
    """
    manifest, text = bundle.manifest, bundle.manifest.text
    if manifest.target != "onnx":
        raise InputError(f"{bundle.given}: is for target {manifest.target}; export it with `--target onnx`")
    if text.tokenizer is not None and manifest.spec.text.tokenizer == "own":
        raise InputError(f"{bundle.given}: its tokenizer is not CLIP's; export it with --vocabulary for the page")
    page = {name: data.PAGE / name for name in PAGE}
    if not all(path.is_file() for path in page.values()):
        raise InputError(
            "web: this installation is without the page; run `make web` in the repository, and install again"
        )
    folder = FETCHED if engine is None else engine
    missing = next((name for name in _WASM if not (folder / name).is_file()), None)
    if missing is not None and engine is None:
        raise InputError(
            "--engine: ONNX Runtime's wasm is not here; run `make web`, or name `dist` of npm's onnxruntime-web"
        )
    if missing is not None:
        raise InputError(f"--engine {engine}: holds no {missing}; name `dist` of npm's onnxruntime-web 1.30 or later")
    gpu = _WEBGPU if all((folder / name).is_file() for name in _WEBGPU) else ()
    wanted = [file for file in bundle.files() if file not in manifest.vectors]
    bundled = {f"bundle/{file.path}": bundle.checked(file) for file in wanted}
    manifest_file = {f"bundle/{MANIFEST}": bundle.folder / MANIFEST}
    return page | {f"engine/{name}": folder / name for name in (*_WASM, *gpu)} | manifest_file | bundled


def write(files: dict[str, Path], output: Path) -> None:
    """Write a site into a folder: a new or empty one, or one that holds a site and nothing else, which is replaced.

    Raises InputError for a folder that cannot be written, or that holds anything else. It is written whole, or not.
    """
    target = Path(os.path.realpath(output))
    if target.exists() and not target.is_dir():
        raise InputError(f"-o {output}: is a file; name a folder to write the site to")
    if target.is_dir() and not all(
        _of_a_site(each.relative_to(target)) for each in target.rglob("*") if not each.is_dir()
    ):
        raise InputError(f"-o {output}: holds other files; name a new or empty folder")
    try:
        with _beside(target) as partial:
            place(files, partial, lambda source, goal: shutil.copyfile(source, goal))
    except OSError as error:
        raise InputError(f"-o {output}: cannot be written ({error.strerror or one_line(error)})") from error


def place(files: dict[str, Path], folder: Path, how: Callable[[Path, Path], Any] | None = None) -> None:
    """Put the files of a site into a folder. how: copies one; None: links to it."""
    for name, source in files.items():
        goal = folder / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        if how is None:
            goal.symlink_to(source.resolve())
        else:
            how(source, goal)


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a site for this machine alone, with the headers that several threads want.

    Raises InputError where the port cannot be had.
    """

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = SimpleHTTPRequestHandler.extensions_map | {
            ".js": "text/javascript",
            ".mjs": "text/javascript",
            ".wasm": "application/wasm",
        }

        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(folder))

        def end_headers(self) -> None:
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Cache-Control", "no-cache")  # so that a new site is seen; the page keeps graphs itself
            super().end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"--port {port}: cannot be had ({one_line(error)}); name another") from None


def _of_a_site(path: Path) -> bool:
    """Whether a path is one that a site of this version has."""
    top = path.parts[0]
    return str(path) in PAGE or (top == "engine" and path.name in (*_WASM, *_WEBGPU)) or top == "bundle"


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder to be filled, which takes the place of `target` when the block ends well."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    old = partial.with_suffix(".old")
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(partial, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
