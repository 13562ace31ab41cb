"""A static site that runs a bundle in the page: the page (`runtimes/web/page`), ONNX Runtime's wasm, and the bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.writing import Kind, new_folder
from samclip_edge.errors import InputError, one_line
from samclip_edge.json_files import read_json

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
    """Write a site into a folder: a new or empty one, or one that holds a site, which is replaced (`new_folder`).

    Other files beside that site stay. Raises InputError for a folder that cannot be written, or that holds other files
    and no site. It is written whole, or not.
    """
    with new_folder(output, _SITE) as partial:
        place(files, partial, shutil.copyfile)
        (partial / _SITE.manifest).write_text(json.dumps({"files": sorted(files)}, indent=1), "utf-8")


def _listed(folder: Path) -> list[str]:
    manifest = folder / _SITE.manifest
    try:
        return [str(each) for each in read_json(manifest)["files"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{manifest}: not a list of files ({one_line(error)})") from None


_SITE = Kind("site", "site.json", _listed)


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

        def list_directory(self, path: Any) -> None:
            self.send_error(404)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # a browser that goes away is no fault
            pass

    try:
        return Server(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"--port {port}: cannot be had ({one_line(error)}); name another") from None
