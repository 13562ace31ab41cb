"""A bundle: a folder with a manifest beside its graphs, their weights, the tokenizer or a vocabulary.

A bundle comes from anywhere, so nothing in it is believed: every file is held against its sha256 before it is used, and
links must not lead out of the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from samclip_edge.bundle.contract import GraphName
from samclip_edge.bundle.manifest import FORMAT, MANIFEST, File, Graph, Manifest, Step
from samclip_edge.errors import ChecksumError, InputError, one_line


class Bundle:
    """An opened bundle: its manifest, and the way to its files."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Bundle:
        """Read and validate the manifest. Raises InputError when the folder holds no bundle this version can read."""
        folder = Path(folder)
        path = folder / MANIFEST
        if not folder.is_dir():
            raise InputError(f"{folder}: no such bundle folder; make one with `samclip-edge export`")
        if not path.is_file():
            raise InputError(f"{folder}: holds no {MANIFEST}; pass the folder that `samclip-edge export` wrote")
        try:
            fields = json.loads(path.read_text("utf-8"))
            version = fields.get("format")
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: not a manifest ({one_line(error)}); export the bundle again") from None
        if isinstance(version, int) and version > FORMAT:
            raise InputError(f"{path}: format {version} is newer than {FORMAT}, which this version reads; upgrade it")
        try:
            manifest = Manifest.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "manifest"
            raise InputError(f"{path}: {where}: {first['msg']}; export the bundle again") from None
        return cls(folder, manifest)

    def graph(self, name: GraphName, size: int | None = None) -> Graph:
        """The graph of that name, at that size where it has one."""
        for graph in self.manifest.graphs:
            if graph.name == name and graph.size == size:
                return graph
        raise InputError(f"{self.folder}: has no {name} at size {size}; its sizes are {list(self.manifest.sizes)}")

    def files(self) -> list[File]:
        """Every file of the bundle once, the shared weights too."""
        text = self.manifest.text
        extra = [text.templates, text.tokenizer, text.names, text.features]
        extra += [*self.manifest.vectors, self.manifest.script]
        if self.manifest.calibration is not None:
            extra += [self.manifest.calibration.names, self.manifest.calibration.features]
        extra += [file for graph in self.manifest.graphs for file in (graph.steps, graph.built_engine)]
        every = [file for graph in self.manifest.graphs for file in graph.files] + [f for f in extra if f is not None]
        return list({file.path: file for file in every}.values())

    def checked(self, file: File) -> Path:
        """The path of a file, after its bytes were held against the manifest.

        Raises ChecksumError when it is missing, cut short, or another file; InputError when a link leads outside.
        """
        path = self.folder / file.path
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"{path}: leads out of the bundle; use a bundle you trust")
        if not path.is_file():
            raise ChecksumError(f"{path}: missing from the bundle; copy or export the bundle again")
        if path.stat().st_size != file.bytes:
            raise ChecksumError(
                f"{path}: {path.stat().st_size} bytes where the manifest says {file.bytes}; "
                "copy or export the bundle again"
            )
        if sha256(path) != file.sha256:
            raise ChecksumError(f"{path}: its sha256 is not the manifest's; copy or export the bundle again")
        return path


def read_steps(bundle: Bundle, graph: Graph) -> dict[str, Step]:
    """What each op of a Core ML program answered to the probe, in order, by the name of its output."""
    if graph.steps is None:
        raise InputError(f"{bundle.folder}: says nothing of the ops of {graph.name}; export the bundle again")
    path = bundle.checked(graph.steps)
    try:
        return {name: Step.model_validate(step) for name, step in json.loads(path.read_text("utf-8")).items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: no list of ops ({one_line(error)}); export the bundle again") from None


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe(folder: Path, path: Path) -> File:
    """The manifest's entry for a file that lies in `folder`."""
    return File(path=path.relative_to(folder).as_posix(), sha256=sha256(path), bytes=path.stat().st_size)


@contextmanager
def new_bundle(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`. It gets its name when the block ends well, and is removed when it fails.

    A bundle that is there already is replaced. Any other folder that is not empty is refused with InputError.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to write the bundle to")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: holds other files; name a new or empty folder")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({one_line(error)}); name another folder") from None
    try:
        yield partial
        if folder.exists():
            os.replace(folder, old)
        os.replace(partial, folder)
    finally:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
