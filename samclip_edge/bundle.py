"""A bundle: a folder with a manifest beside its graphs, their weights, the tokenizer or a vocabulary.

A bundle comes from anywhere, so nothing in it is believed: the manifest is validated, its paths must stay inside the
folder, and every file is held against its sha256 before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from samclip_edge.contract import GraphName, Signature, signature, sized
from samclip_edge.errors import ChecksumError, InputError, one_line
from samclip_edge.spec import Frozen, ModelSpec

FORMAT: Literal[1] = 1
MANIFEST = "manifest.json"
Target = Literal["onnx", "coreml", "tensorrt"]
BuilderName = Literal["tensorrt", "tensorrt_rtx"]
Precision = Literal["fp32", "fp16", "int8", "palette8", "palette6"]  # palettes: of Core ML alone


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path:
        raise ValueError(f"path {path!r} leaves the bundle")
    return path


class File(Frozen):
    """A file of the bundle."""

    path: Annotated[str, AfterValidator(_inside)]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Parity(Frozen):
    """One output against torch, the worst over every input it was measured on."""

    error: float  # max abs difference, over the standard deviation of torch's output
    cosine: float


class Reference(Frozen):
    """Torch's answer to the contract's probe inputs, so that a machine without torch can check the graph."""

    std: float
    values: tuple[float, ...]  # `contract.sample` of the output


class Step(Frozen):
    """What torch, or where it has no such step the program at export, answered at one op to the probe inputs."""

    op: str  # its type
    std: float
    values: tuple[float, ...]  # `contract.sample` of what the op gives
    error: float  # how far the program was off them at export, over `std`


class Graph(Frozen):
    """A graph of the bundle."""

    name: GraphName
    size: int | None = None  # S; None for the text encoder
    # The graph itself, then the weights it shares with other sizes; of a Core ML package its Manifest.json comes first;
    # of TensorRT the typed ONNX that engines are built from.
    files: tuple[File, ...] = Field(min_length=1)
    engine: File | None = None  # of TensorRT, once it is built
    function: str = "main"  # of a Core ML package
    image: bool = False  # of Core ML, where `image` is a picture of whole numbers and not an array
    points: int | None = None  # of Core ML, where fixed: one prompt in a call, of so many points
    signature: Signature
    parity: dict[str, Parity]
    reference: dict[str, Reference]
    in_float: tuple[str, ...] = ()  # of int8: the layers that were left in float, because they lose too much
    steps: File | None = None  # of Core ML: what each op answered to the probe (`Step`)


class Text(Frozen):
    """How words become features: by the text encoder and its tokenizer, or by a vocabulary of precomputed ones."""

    templates: File
    logit_scale: float  # cosines are multiplied by this before the softmax
    tokenizer: File | None = None
    names: File | None = None  # a JSON list of K names
    features: File | None = None  # .npy, (K,E) float32, L2-normalised

    @model_validator(mode="after")
    def _one_way(self) -> Text:
        if (self.tokenizer is None) == (self.names is None) or (self.names is None) != (self.features is None):
            raise ValueError("text has either a tokenizer or a vocabulary of names and features")
        return self


class Engines(Frozen):
    """What built a bundle's TensorRT engines, and what they run on."""

    builder: BuilderName
    version: str
    capabilities: tuple[Annotated[str, Field(pattern=r"^\d+\.\d+$")], ...] = Field(min_length=1)  # compute capabilities
    portable: bool = False  # version-compatible: other versions of the builder's runtime take them too
    stripped: bool = False  # hold no weights; these are put in from the ONNX graph when an engine is loaded


class Manifest(Frozen):
    """`manifest.json`."""

    format: Literal[1] = FORMAT
    kind: Literal["merged", "sam+clip"] = "merged"
    target: Target
    precision: Precision
    spec: ModelSpec
    sizes: tuple[int, ...] = Field(min_length=1)
    trained: bool
    origin: str  # where the weights came from
    producer: str  # the version that exported the bundle
    graphs: tuple[Graph, ...]
    text: Text
    vectors: tuple[File, ...] = ()  # test vectors, `vectors/index.json` first, where they were asked for
    engines: Engines | None = None  # of TensorRT, once they are built
    script: File | None = None  # of TensorRT: what builds them on the device

    @model_validator(mode="after")
    def _whole(self) -> Manifest:
        want: set[tuple[str, int | None]] = {(name, size) for name in sized(self.spec) for size in self.sizes}
        if self.text.tokenizer is not None:
            want.add(("text_encoder", None))
        if self.kind != self.spec.kind:
            raise ValueError(f"kind {self.kind} holds a spec of kind {self.spec.kind}")
        if self.kind == "sam+clip":
            want.add(("clip_image_encoder", None))
        have = [(graph.name, graph.size) for graph in self.graphs]
        if sorted(have, key=str) != sorted(want, key=str):
            raise ValueError(f"the graphs {have} are not one each of {sorted(want, key=str)}")
        for graph in self.graphs:
            if graph.signature != signature(self.spec, graph.name, graph.size):
                raise ValueError(f"the signature of {graph.name} is not the contract's")
            if (graph.engine is None) != (self.engines is None):
                raise ValueError(f"{graph.name} has an engine and nothing says what built it, or the other way round")
        return self


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
        extra += [file for graph in self.manifest.graphs for file in (graph.steps, graph.engine)]
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
    """What each op of a Core ML program answered to the probe, by the name of what it gives, in order."""
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
    """A temporary folder beside `folder`, which takes its place when the block ends well and vanishes when it fails.

    A bundle that stands there already is replaced; any other folder that is not empty is refused with InputError.
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
