"""A hub on this machine: what huggingface_hub asks of the real one for a file, with the answers that it expects.

Large files are kept apart, as with Git LFS: the address of such a file leads on to a store of blobs, and the headers
say its sha256. Sources: huggingface_hub's `file_download.get_hf_file_metadata` and `utils._http.hf_raise_for_status`.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

_FILE = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/([\w.-]+)")


@dataclass
class Hub:
    """Its address, its files, and what goes wrong with it."""

    address: str = ""
    store: str = ""  # where its blobs are: another host, as far as anybody can see
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)  # by repository and name
    commits: dict[str, str] = field(default_factory=dict)  # of each repository, the one it has
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)  # a repository: the status and the hub's code
    published: dict[str, str] = field(default_factory=dict)  # a file: the sha256 to claim, where that is not its own
    breaks: int = 0  # after how many bytes the next download breaks off; 0: never
    asked: list[str] = field(default_factory=list)  # each request: its method and path
    tokens: list[str] = field(default_factory=list)  # what came as authorization
    sent: int = 0  # bytes of blobs

    def put(self, repository: str, name: str, content: bytes, commit: str = "c0ffee" * 6 + "abcd") -> None:
        """Publish a file."""
        self.files[repository, name], self.commits[repository] = content, commit

    def asked_for_files(self) -> int:
        """How many requests were about files: the library of the hub may ask for other things too."""
        return sum("/resolve/" in each or "/blobs/" in each for each in self.asked)

    def stand_in(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let huggingface_hub take this for the real one, with a cache in that folder."""
        monkeypatch.setattr(constants, "ENDPOINT", self.address)
        template = self.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers while the block runs."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            _answer(hub, self)

        def do_GET(self) -> None:
            _answer(hub, self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address, hub.store = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _answer(hub: Hub, request: BaseHTTPRequestHandler) -> None:
    hub.asked.append(f"{request.command} {request.path}")
    hub.tokens.append(request.headers.get("Authorization", ""))
    if request.path.startswith("/blobs/"):
        _send_blob(hub, request)
        return
    found = _FILE.fullmatch(request.path)
    repository, revision, name = found.groups() if found else ("", "", "")
    status, code = hub.refused.get(repository, (0, ""))
    if not status and repository not in hub.commits:
        status, code = 401, "RepoNotFound"
    if not status and revision not in ("main", hub.commits[repository]):
        status, code = 404, "RevisionNotFound"
    if not status and (repository, name) not in hub.files:
        status, code = 404, "EntryNotFound"
    if status:
        _head(request, status, {"X-Error-Code": code, "Content-Length": "0"})
        return
    content = hub.files[repository, name]
    digest = hub.published.get(name, hashlib.sha256(content).hexdigest())
    headers = {
        "X-Repo-Commit": hub.commits[repository],
        "X-Linked-Etag": f'"{digest}"',
        "X-Linked-Size": str(len(content)),
        "ETag": '"a-hash-of-the-pointer"',
        "Location": f"{hub.store}/blobs/{repository}/{name}",
        "Content-Length": "0",
    }
    _head(request, 302, headers)


def _send_blob(hub: Hub, request: BaseHTTPRequestHandler) -> None:
    owner, repository, name = request.path.removeprefix("/blobs/").split("/")
    content = hub.files[f"{owner}/{repository}", name]
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    first = int(asked[1]) if asked else 0
    headers = {"Content-Length": str(len(content) - first), "Accept-Ranges": "bytes"}
    if asked:
        headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
    _head(request, 206 if asked else 200, headers)
    if request.command == "GET":
        rest = content[first:]
        if hub.breaks:
            rest, hub.breaks = rest[: hub.breaks], 0
            request.close_connection = True
        request.wfile.write(rest)
        hub.sent += len(rest)


def _head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
