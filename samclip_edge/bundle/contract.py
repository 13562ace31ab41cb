"""The graphs: names, inputs, outputs, shapes. Exporters write to it, runtimes and `verify` hold bundles to it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.encoder_spec import Frozen
from samclip_edge.bundle.sizes import Size, grid, low_res, sides
from samclip_edge.bundle.spec import CHANNELS, ModelSpec

GraphName = Literal[
    "image_encoder", "clip_head", "prompt_encoder", "mask_decoder", "text_encoder", "clip_image_encoder"
]
SIZED: tuple[GraphName, ...] = ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder")  # of a merged model

NOTHING, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3  # what `labels` say of `points`


Array = npt.NDArray[Any]
Arrays = dict[str, Array]


class Tensor(Frozen):
    """An input or output. A dimension is a number, or a letter: each call chooses that number.

    I is a number of photos, B of prompts or texts, N of points in each prompt, L of token ids in each text. M is a
    number of mask prompts: 1, which all prompts of the call share, or B, one for each.
    """

    name: str
    dtype: Literal["float32", "int32"] = "float32"
    shape: tuple[int | str, ...]


class Signature(Frozen):
    """What goes into a graph and what comes out, in order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def input(self, name: str) -> Tensor:
        """The input of a name."""
        return next(tensor for tensor in self.inputs if tensor.name == name)

    def fixed(self, numbers: Mapping[str, int]) -> Signature:
        """The same with some open dimensions fixed. numbers: by letter."""

        def fix(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            shapes = [tuple(numbers.get(str(side), side) for side in tensor.shape) for tensor in tensors]
            return tuple(t.model_copy(update={"shape": shape}) for t, shape in zip(tensors, shapes, strict=True))

        return Signature(inputs=fix(self.inputs), outputs=fix(self.outputs))


# One line for each input and output, for engines that keep descriptions and show them to whoever uses a graph.
MEANINGS = {
    "image": "RGB, 0..255: the photo, as large as it fits, top left; the rest (123.675, 116.28, 103.53)",
    "tokens": "of image_encoder and clip_head: shared tokens; of text_encoder: token ids, filled up after the end",
    "embedding": "SAM's embedding of the photo, which masks are decoded from",
    "image_features": "the photo in CLIP's space, of length 1: its dot product with a text's feature is their cosine",
    "patch_features": "each patch in CLIP's space, of length 1 along the channels",
    "points": "x, y in model pixels: clicks, then two corners of a box or else one point 0, 0",
    "labels": "of each point: 1 on the thing, 0 off it, 2 and 3 top left and bottom right of a box, -1 nothing",
    "mask": "low-res logits of the step before, a quarter of each side; zeros where there are none",
    "has_mask": "1 where mask counts, else 0",
    "sparse": "a prompt's points as the mask decoder takes them",
    "dense": "a prompt's mask, and in `photo` its points drawn on the embedding, as the mask decoder takes them",
    "masks": "logits, a quarter of each side, above 0 inside: 0 for an unambiguous prompt, 1 to 3 for a single click",
    "scores": "predicted IoU of each of the four masks",
    "text_features": "a text in CLIP's space, of length 1",
}


def sized(spec: ModelSpec) -> tuple[GraphName, ...]:
    """The graphs that a model has at each of its input sizes."""
    return tuple(name for name in SIZED if name != "clip_head" or not spec.clip_vision)


def signature(spec: ModelSpec, name: GraphName, size: Size | None = None) -> Signature:
    """The signature of graph `name` at input size `size` (None for `text_encoder` and `clip_image_encoder`).

    `image` is RGB, 0..255; `points` are x, y in model pixels; `labels` are -1 none, 0 background, 1 foreground,
    2 and 3 the corners of a box; masks are logits, of which 0 is the single-mask token and 1 to 3 the ambiguous three.
    A model of two side by side has no `clip_head`: its `image_encoder` gives the embedding alone, and a
    `clip_image_encoder` sees photos, or what is cut out of them, at CLIP's own size.
    """
    if name == "clip_image_encoder":
        assert spec.clip_vision is not None
        side = spec.clip_vision.size
        return Signature(
            inputs=(Tensor(name="image", shape=("B", 3, side, side)),),
            outputs=(Tensor(name="image_features", shape=("B", spec.features)),),
        )
    if name == "text_encoder":
        return Signature(
            inputs=(Tensor(name="tokens", dtype="int32", shape=("B", spec.text.context if spec.text.filled else "L")),),
            outputs=(Tensor(name="text_features", shape=("B", spec.features)),),
        )
    assert size is not None
    cells, features, low = grid(size), spec.feature_grid(size), low_res(size)
    image = Tensor(name="image", shape=("I", 3, *sides(size)))
    tokens = Tensor(name="tokens", shape=("I", spec.encoder.width, *cells))
    embedding = Tensor(name="embedding", shape=("I", CHANNELS, *cells))
    of_one = Tensor(name="embedding", shape=(1, CHANNELS, *cells))  # the prompts of a call are for one photo
    sparse = Tensor(name="sparse", shape=("B", "N", CHANNELS))
    shared = "B" if spec.guidance else "M"  # prompts cannot share a `dense` that each is drawn into
    dense = Tensor(name="dense", shape=(shared, CHANNELS, *cells))
    return {
        "image_encoder": Signature(inputs=(image,), outputs=(embedding,) if spec.clip_vision else (tokens, embedding)),
        "clip_head": Signature(
            inputs=(tokens,),
            outputs=(
                Tensor(name="image_features", shape=("I", spec.features)),
                Tensor(name="patch_features", shape=("I", spec.features, *features)),
            ),
        ),
        "prompt_encoder": Signature(
            inputs=(
                Tensor(name="points", shape=("B", "N", 2)),
                Tensor(name="labels", shape=("B", "N")),
                Tensor(name="mask", shape=(shared, 1, *low)),
                Tensor(name="has_mask", shape=(1,)),
            ),
            outputs=(sparse, dense),
        ),
        "mask_decoder": Signature(
            inputs=(of_one, sparse, dense),
            outputs=(Tensor(name="masks", shape=("B", 4, *low)), Tensor(name="scores", shape=("B", 4))),
        ),
    }[name]


def fixed_sides(own: Signature, contract: Signature) -> dict[str, int]:
    """The numbers that a graph fixes, by the letter which stands there in the contract. Empty where all are open.

    A fixed number satisfies a letter. Where the contract says M a graph may say B, as older bundles do: it takes a mask
    for each prompt. Raises ValueError where the graph does not keep the contract.
    """
    chosen: dict[str, int | str] = {}
    for tensors, wanted in ((own.inputs, contract.inputs), (own.outputs, contract.outputs)):
        if [(t.name, t.dtype, len(t.shape)) for t in tensors] != [(t.name, t.dtype, len(t.shape)) for t in wanted]:
            raise ValueError(f"{[t.name for t in tensors]} for {[t.name for t in wanted]}")
        for ours, theirs in zip(tensors, wanted, strict=True):
            for side, asked in zip(ours.shape, theirs.shape, strict=True):
                if isinstance(asked, str):  # whatever stands in the first place of a letter stands in all
                    named = (isinstance(side, int) and side > 0) or (asked, side) == ("M", "B")
                    asked = chosen.setdefault(asked, side if named else asked)
                if side != asked:
                    raise ValueError(f"{ours.name} is {ours.shape}, not {theirs.shape}")
    return {letter: side for letter, side in chosen.items() if isinstance(side, int)}


def probe(
    spec: ModelSpec,
    name: GraphName,
    size: Size | None,
    prompts: tuple[int, int] = (2, 3),
    fixed: Mapping[str, int] | None = None,
) -> Arrays:
    """Random inputs that come out the same on every machine, so that a graph can be checked wherever it runs.

    They are drawn from numpy's `RandomState`, whose stream is promised never to change. prompts: B and N; each prompt
    has a mask. fixed: the numbers of a graph that takes no others (`fixed_sides`). Texts are as long as the context.
    There is one photo.
    """
    random = np.random.RandomState(zlib.crc32(f"{name}/{size}".encode()))
    batch, points = prompts
    numbers = {"I": 1, "B": batch, "N": points, "M": batch, "L": spec.text.context, **(fixed or {})}
    inputs: Arrays = {}
    for tensor in signature(spec, name, size).inputs:
        shape = [numbers[side] if isinstance(side, str) else side for side in tensor.shape]
        value: Array
        if tensor.name == "image":
            value = random.uniform(0, 255, shape)
        elif tensor.name == "points":
            value = random.uniform(0, min(sides(size)) if size else 0, shape)
        elif tensor.name == "labels":
            value = random.randint(-1, 4, shape)
        elif tensor.name == "has_mask":
            value = np.ones(shape)
        elif tensor.dtype == "int32":
            value = random.randint(1, spec.text.vocab - 2, shape)
            value[:, 0], value[:, -1] = spec.text.vocab - 2, spec.text.end_of_text
        else:
            value = random.standard_normal(shape)
        inputs[tensor.name] = value.astype(tensor.dtype)
    return inputs


def sample(values: Array, count: int = 64) -> npt.NDArray[np.float64]:
    """At most `count` evenly spaced values of an output: enough to tell a right graph from a wrong one."""
    flat = values.reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(count, flat.size)).astype(int)].astype(np.float64)
