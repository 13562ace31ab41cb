"""`manifest.json`: what a bundle says of itself, as pydantic models. Format 1 fixes every name in it.

A bundle comes from anywhere, so the manifest is validated and its paths must stay inside the folder.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from samclip_edge.bundle.contract import GraphName, Signature, fixed_sides, signature, sized
from samclip_edge.bundle.encoder_spec import Frozen
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.bundle.weights import Weights

FORMAT: Literal[2] = 2  # 1: each prompt has a mask, and each call one photo
MANIFEST = "manifest.json"
Target = Literal["onnx", "coreml", "tensorrt", "litert"]
BuilderName = Literal["tensorrt", "tensorrt_rtx"]
Precision = Literal["fp32", "fp16", "int8", "palette8", "palette6"]  # palettes are for Core ML only


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
    """How far one output is from torch's: the worst over all inputs that it was measured on."""

    error: float  # max abs difference, over the standard deviation of torch's output
    cosine: float


class Moved(Frozen):
    """How far int8 moves one output of a graph from the same graph in float: the worst over the photos."""

    error: float  # the norm of the difference, over the norm of the output
    cosine: float


class Reference(Frozen):
    """Torch's answer to the contract's probe inputs, by which a machine without torch checks a graph."""

    std: float  # the standard deviation of the whole output
    values: tuple[float, ...]  # `contract.sample` of the output


class Step(Frozen):
    """What torch answers to the probe at one op of a Core ML program; the program, where torch has no such op."""

    op: str  # its type
    std: float
    values: tuple[float, ...]  # `contract.sample` of what the op gives
    error: float  # the largest difference of the program from `values` at export, over `std`


class Call(Frozen):
    """A signature of a LiteRT file: a graph for fixed numbers of prompts and points, or of texts and token ids."""

    function: str  # the name of the signature in the file
    sides: dict[
        str, Annotated[int, Field(ge=1)]
    ]  # the number that stands for each letter of the graph's signature, such as B and N


class Graph(Frozen):
    """A graph of the bundle."""

    name: GraphName
    size: Size | None = None  # S or "WxH"; None for the text encoder
    # The graph itself comes first, then the weights that it shares with other sizes. For Core ML the first file is the
    # package's Manifest.json, for TensorRT the typed ONNX that engines are built from.
    files: tuple[File, ...] = Field(min_length=1)
    built_engine: File | None = Field(default=None, alias="engine")  # for TensorRT, once it is built
    function: str = "main"  # for Core ML: the name of the function in the package
    image: bool = False  # for Core ML: whether `image` is a picture of whole numbers, and not an array
    # Where a call takes one prompt only, how many points that has.
    points: int | None = Field(default=None, ge=1)
    # For LiteRT, which has no open dimensions: the signatures in the file, one for each set of numbers of a call.
    calls: tuple[Call, ...] = ()
    # For LiteRT: how many operators there are of each kind in the first signature; and those that each processor of a
    # phone leaves to the CPU, or computes wrongly, of the signatures for one prompt or text.
    operators: dict[str, int] = Field(default_factory=dict)
    left_to_cpu: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    signature: Signature
    parity: dict[str, Parity]
    reference: dict[str, Reference]
    in_float: tuple[str, ...] = ()  # for int8: the layers that are not in it, because it changes too much
    # For int8: how far it moves each output, on what the manifest's `measured_on` says.
    moved: dict[str, Moved] = Field(default_factory=dict)
    steps: File | None = None  # for Core ML: what each op answered to the probe (`Step`)

    def taken(self, letter: str) -> tuple[int, ...] | None:
        """The numbers that may stand for a letter of the signature, rising; None where any may."""
        if letter == "N" and self.points is not None:
            return (self.points,)
        return tuple(sorted({call.sides[letter] for call in self.calls if letter in call.sides})) or None

    @property
    def engine(self) -> File | None:
        """The old name of `built_engine`, until 0.3; the key in the manifest keeps it."""
        return self.built_engine


class Text(Frozen, allow_inf_nan=False):
    """How words become features: by the text encoder and its tokenizer, or by a vocabulary of precomputed ones."""

    templates: File
    logit_scale: float  # cosines are multiplied by this before the softmax, or before the sigmoid
    # Added before the sigmoid, by a CLIP that was trained with one (SigLIP); None: by a softmax, as most are.
    logit_bias: float | None = None
    tokenizer: File | None = None
    names: File | None = None  # a JSON list of K names
    features: File | None = None  # .npy, (K,E) float32, L2-normalised

    @model_validator(mode="after")
    def _one_way(self) -> Text:
        if (self.tokenizer is None) == (self.names is None) or (self.names is None) != (self.features is None):
            raise ValueError("text has either a tokenizer or a vocabulary of names and features")
        return self


class Logistic(Frozen, allow_inf_nan=False):
    """Turns log-odds x into a chance: 1 / (1 + exp(-(slope * x + offset)))."""

    slope: float = Field(default=1.0, gt=0)
    offset: float = 0.0


class Chances(Frozen):
    """How log-odds become chances at one input size."""

    size: Size
    patches: Logistic  # of the patches that name a thing best
    mask: Logistic  # of what is under a mask
    photo: Logistic  # of a whole photo


class Calibration(Frozen, allow_inf_nan=False):
    """By what a name is judged by itself: the rivals that it is always compared with, and how a chance comes of it."""

    names: File  # a JSON list of the R rivals
    features: File  # .npy, (R,E) float32, L2-normalised
    same: float  # a rival whose cosine with a name is above this means the same, and is left out
    measured_on: str  # what the chances were measured on
    sizes: tuple[Chances, ...] = Field(min_length=1)


class BuiltEngines(Frozen):
    """What built the TensorRT engines of a bundle, and for which GPUs."""

    builder: BuilderName
    version: str
    capabilities: tuple[Annotated[str, Field(pattern=r"^\d+\.\d+$")], ...] = Field(min_length=1)  # compute capabilities
    portable: bool = False  # version-compatible: newer versions of the runtime load them too
    stripped: bool = False  # without weights, which are read from the ONNX graph when an engine is loaded


class Manifest(Frozen):
    """`manifest.json`."""

    format: Literal[1, 2] = FORMAT
    kind: Literal["merged", "sam+clip"] = "merged"
    target: Target
    precision: Precision
    spec: ModelSpec
    sizes: tuple[Size, ...] = Field(min_length=1)
    trained: bool
    trained_at: tuple[Size, ...] | None = None  # the sizes that the weights were trained at; older bundles do not say
    origin: str  # where the weights came from
    weights: tuple[Weights, ...] = ()  # of others, that the model is made of; older bundles do not say
    producer: str  # the version that exported the bundle
    graphs: tuple[Graph, ...]
    text: Text
    calibration: Calibration | None = None  # None in older bundles
    vectors: tuple[File, ...] = ()  # test vectors, `vectors/index.json` first, where they were asked for
    built_engines: BuiltEngines | None = Field(default=None, alias="engines")  # for TensorRT, once they are built
    script: File | None = None  # for TensorRT: what builds them on the device
    # For int8 in ONNX graphs: "dynamic" finds the scales of activations in each call and stores weights unsigned; "qdq"
    # has fixed scales and signed weights, in pairs of QuantizeLinear and DequantizeLinear. Older bundles do not say.
    # For LiteRT: "dynamic" likewise, with signed weights; "static" has fixed scales; "weights" computes in float.
    quantisation: Literal["dynamic", "qdq", "static", "weights"] | None = None
    measured_on: str | None = None  # for int8: the photos that scales and layers were chosen on, in words

    @property
    def engines(self) -> BuiltEngines | None:
        """The old name of `built_engines`, until 0.3; the key in the manifest keeps it."""
        return self.built_engines

    @property
    def dynamic(self) -> bool:
        """Whether scales of int8 are found in each call, so that what shares a call changes what is said of each."""
        return self.target == "onnx" and self.precision == "int8" and self.quantisation != "qdq"

    @model_validator(mode="after")
    def _whole(self) -> Manifest:
        want: set[tuple[str, Size | None]] = {(name, size) for name in sized(self.spec) for size in self.sizes}
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
            try:
                fixed_sides(graph.signature, signature(self.spec, graph.name, graph.size))
            except ValueError as error:
                raise ValueError(f"the signature of {graph.name} is not the contract's ({error})") from None
            if (graph.built_engine is None) != (self.built_engines is None):
                raise ValueError(f"`engine` of {graph.name} and `engines` of the bundle must be given together")
        return self
