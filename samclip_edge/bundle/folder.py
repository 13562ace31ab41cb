"""A bundle: a folder with a manifest beside its graphs, their weights, the tokenizer or a vocabulary.

A bundle comes from anywhere, so nothing in it is believed: every file is held against its sha256 before it is used. Its
files may be links to anywhere, as in a hub's cache, because the sha256 is what is trusted.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from samclip_edge.bundle.contract import GraphName
from samclip_edge.bundle.hub import locate
from samclip_edge.bundle.manifest import FORMAT, MANIFEST, File, Graph, Manifest, Step
from samclip_edge.bundle.sizes import Size
from samclip_edge.cache import known_sha256
from samclip_edge.errors import ChecksumError, InputError, one_line
from samclip_edge.files import sha256
from samclip_edge.json_files import read_json


class Bundle:
    """An opened bundle: its manifest, and the way to its files."""

    def __init__(self, folder: Path, manifest: Manifest, given: str | None = None) -> None:
        """folder: where the files are; a relative path stays right when the current directory changes.

        given: what the user called it: a path or the name of a repository; None: the folder.
        """
        self.given = os.fspath(folder) if given is None else given
        self.folder = Path(os.path.realpath(folder))
        self.manifest = manifest

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Bundle:
        """Read and validate the manifest of a folder, or of a repository of the Hugging Face hub.

        folder: a path; or `org/name` or `org/name@revision`, where there is no such path.
        Raises InputError when there is no bundle that this version can read.
        """
        given = os.fspath(folder)
        place, shown = locate(given), Path(given) / MANIFEST
        path = place / MANIFEST
        if os.path.isfile(place):
            raise InputError(f"{given}: is a file; pass the folder that `samclip-edge export` wrote")
        if not os.path.isdir(place):  # False also for a name that no system takes
            raise InputError(
                f"{given}: no such bundle folder; make one with `samclip-edge export`, or name a repository of the "
                "Hugging Face hub, org/name"
            )
        if not os.path.isfile(path):
            raise InputError(f"{given}: holds no {MANIFEST}; pass the folder that `samclip-edge export` wrote")
        try:
            fields = read_json(path, strict=False)
            version = fields.get("format")
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{shown}: not a manifest ({one_line(error)}); export the bundle again") from None
        if isinstance(version, int) and version > FORMAT:
            raise InputError(f"{shown}: format {version} is newer than {FORMAT}, which this version reads; upgrade it")
        try:
            manifest = Manifest.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "manifest"
            raise InputError(f"{shown}: {where}: {first['msg']}; export the bundle again") from None
        return cls(place, manifest, given)

    def graph(self, name: GraphName, size: Size | None = None) -> Graph:
        """The graph of that name, at that size where it has one."""
        for graph in self.manifest.graphs:
            if graph.name == name and graph.size == size:
                return graph
        raise InputError(f"{self.given}: has no {name} at size {size}; its sizes are {list(self.manifest.sizes)}")

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

    def checked(self, file: File, fresh: bool = False) -> Path:
        """The path of a file, after its bytes were held against the manifest. It may be a link.

        fresh: read them even where the cache knows their sha256 (`cache.known_sha256`). Raises ChecksumError when the
        file is missing, cut short, unreadable, or another file.
        """
        path, mend = self.folder / file.path, "copy or export the bundle again"
        try:
            if not path.is_file():
                raise ChecksumError(f"{path}: missing from the bundle; {mend}")
            if path.stat().st_size != file.bytes:
                raise ChecksumError(f"{path}: {path.stat().st_size} bytes where the manifest says {file.bytes}; {mend}")
            if known_sha256(path, fresh) != file.sha256:
                raise ChecksumError(f"{path}: its sha256 is not the manifest's; {mend}")
        except OSError as error:
            raise ChecksumError(f"{path}: cannot be read ({one_line(error)}); {mend}") from None
        return path

    @contextmanager
    def together(self, files: Sequence[File]) -> Iterator[Path]:
        """A folder that has these files under their paths while the block runs; the bundle's own wherever that will do.

        From 1.24 on, ONNX Runtime takes a graph's weights only from the folder of the graph, or from that of the file
        which its link leads to. A hub's cache is such a folder. DVC and git-annex link each file to a folder of its
        own: then the files are linked or, from another disk, copied into a temporary folder.
        """
        real = [Path(os.path.realpath(self.folder / file.path)) for file in files]
        if any(all(path.is_relative_to(place) for path in real) for place in (self.folder, real[0].parent)):
            yield self.folder
            return
        parent = self.folder if os.access(self.folder, os.W_OK) else None  # which is likelier to be on the files' disk
        with tempfile.TemporaryDirectory(prefix=".samclip-", dir=parent, ignore_cleanup_errors=True) as folder:
            for path, file in zip(real, files, strict=True):
                place = Path(folder, file.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path, place)
                except OSError:
                    shutil.copyfile(path, place)
            yield Path(folder)


def read_steps(bundle: Bundle, graph: Graph) -> dict[str, Step]:
    """What each op of a Core ML program answered to the probe, in order, by the name of its output."""
    if graph.steps is None:
        raise InputError(f"{bundle.given}: says nothing of the ops of {graph.name}; export the bundle again")
    path = bundle.checked(graph.steps)
    try:
        return {name: Step.model_validate(step) for name, step in read_json(path, strict=False).items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: no list of ops ({one_line(error)}); export the bundle again") from None


def describe(folder: Path, path: Path) -> File:
    """The manifest's entry for a file that lies in `folder`."""
    return File(path=path.relative_to(folder).as_posix(), sha256=sha256(path), bytes=path.stat().st_size)
