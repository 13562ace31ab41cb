"""How graphs are compared with the model in torch at export: on the probe and on real photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from samclip_edge import data
from samclip_edge.bundle.contract import Arrays, GraphName, probe, signature, sized
from samclip_edge.bundle.manifest import Parity
from samclip_edge.bundle.sessions import Session
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.verify import compare
from samclip_edge.export.forms.fixed_size import answer
from samclip_edge.model.merged import MergedModel
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import clip_square
from samclip_edge.tasks.prompts import prepare
from samclip_edge.text.names import read_templates

PHOTOS = 2  # how many of the package's photos are used; the first is square, the second is not
Pixels = npt.NDArray[np.uint8]  # (H,W,3) RGB
Case = tuple[Arrays, Arrays]  # inputs of a graph, and torch's outputs


def ask(model: MergedModel, name: GraphName, size: Size | None, inputs: Arrays) -> Case:
    """Run the model in torch on the inputs of a graph, and return the case."""
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in inputs.items()}
    outputs = signature(model.spec, name, size).outputs
    values = answer(model, name, tensors)
    return inputs, {tensor.name: value.numpy() for tensor, value in zip(outputs, values, strict=True)}


def parity_photos() -> list[Pixels]:
    """The photos that cases are made of."""
    return [read_photo(path) for path in data.photos()[:PHOTOS]]


def cases(model: MergedModel, size: Size) -> dict[GraphName, list[Case]]:
    """Cases for the graphs of one size: the probe first, of prompts also with one mask for all, then two photos."""

    def probes(name: GraphName) -> list[Case]:
        either: list[dict[str, int]] = [{}, {"M": 1}] if name in ("prompt_encoder", "mask_decoder") else [{}]
        return [ask(model, name, size, probe(model.spec, name, size, fixed=fixed)) for fixed in either]

    seen = photo_cases(model, size, parity_photos())
    return {name: [*probes(name), *asked] for name, asked in seen.items()}


def photo_cases(model: MergedModel, size: Size, photos: Iterable[Pixels]) -> dict[GraphName, list[Case]]:
    """Cases for the graphs of one size: each photo with a click, a box and a mask to refine.

    The inputs of each graph are torch's outputs of the graph before it, so that a fault shows in the graph that has it.
    """
    found: dict[GraphName, list[Case]] = {name: [] for name in sized(model.spec)}
    for pixels in photos:
        frame = Frame.of(pixels, size)
        encoded = ask(model, "image_encoder", size, {"image": frame.image(pixels)})
        found["image_encoder"].append(encoded)
        if "clip_head" in found:
            found["clip_head"].append(ask(model, "clip_head", size, {"tokens": encoded[1]["tokens"]}))
        for inputs in _prompts(frame):
            prompted = ask(model, "prompt_encoder", size, inputs)
            decoded = ask(model, "mask_decoder", size, {"embedding": encoded[1]["embedding"], **prompted[1]})
            found["prompt_encoder"].append(prompted)
            found["mask_decoder"].append(decoded)
    return found


def clip_cases(model: MergedModel, photos: Iterable[Pixels] | None = None) -> list[Case]:
    """Cases for `clip_image_encoder` of a SAM + CLIP model: the probe, then each photo in a batch of its own."""
    vision = model.spec.clip_vision
    assert vision is not None
    seen = photos or parity_photos()
    cubic = vision.interpolation == "bicubic"
    inputs = [{"image": clip_square(pixels, vision.size, vision.resize, cubic)[None]} for pixels in seen]
    inputs.insert(0, probe(model.spec, "clip_image_encoder", None))
    return [ask(model, "clip_image_encoder", None, each) for each in inputs]


def _prompts(frame: Frame) -> Iterator[Arrays]:
    width, height = frame.width, frame.height
    click = [[0.4 * width, 0.6 * height]]
    box = [0.2 * width, 0.1 * height, 0.7 * width, 0.9 * height]
    rows, columns = frame.low_res
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    blob = 8 - 80 * ((x - 0.4) ** 2 + (y - 0.5) ** 2)  # logits of a round mask
    clicked, boxed = prepare(frame, points=click), prepare(frame, boxes=box)
    for prompts in (clicked, boxed, prepare(frame, points=click, boxes=box, mask=blob)):
        yield {"points": prompts.points, "labels": prompts.labels, "mask": prompts.mask, "has_mask": prompts.has_mask}


def text_cases(model: MergedModel) -> list[Case]:
    """Cases for the text encoder: the probe, then one batch of sentences, which are shorter."""
    words = ["cat", "cup of coffee", "astronaut in an orange suit"]
    sentences = [template.replace("{}", word) for template in read_templates(data.CAPTIONS) for word in words]
    tokens = model.tokenizer()(sentences)
    inputs = [probe(model.spec, "text_encoder", None), {"tokens": tokens}]
    return [ask(model, "text_encoder", None, each) for each in inputs]


class Photos(NamedTuple):
    """Photos that int8 is measured on."""

    what: str  # in words
    at: Callable[[Size], Iterable[Pixels]]  # the photos (H,W,3) RGB for an input size


def package_photos() -> Photos:
    """The photos that ship with the package."""
    paths = data.photos()
    return Photos(f"the {len(paths)} photos of the package", lambda size: map(read_photo, paths))


class SeenBy:
    """The inputs that int8 in a graph is measured on: those that it sees of photos at its own size, and sentences."""

    def __init__(self, model: MergedModel, photos: Photos, points: int | None = None) -> None:
        """points: leave out prompts of another number of points."""
        self._model, self._photos, self._points = model, photos, points
        self._size: Size | None = None
        self._seen: dict[GraphName, list[Arrays]] = {}

    def __call__(self, name: GraphName, size: Size | None) -> list[Arrays]:
        """The inputs of a graph. Those of the size that was asked for last are kept."""
        model = self._model
        if size is None:
            vision = model.spec.clip_vision
            found = text_cases(model)
            if name == "clip_image_encoder" and vision:
                found = clip_cases(model, self._photos.at(vision.size))
            return [inputs for inputs, _ in found[1:]]
        if size != self._size:
            seen = photo_cases(model, size, self._photos.at(size))
            self._seen = {each: [inputs for inputs, _ in asked] for each, asked in seen.items()}
            self._size = size
        return [inputs for inputs in self._seen[name] if has_points(inputs, self._points)]


def has_points(inputs: Arrays, points: int | None) -> bool:
    """Whether the inputs of a graph are one prompt of `points` points, or no prompts at all. None: any number."""
    prompts = [inputs[name].shape[:2] for name in ("points", "sparse") if name in inputs]
    return points is None or all(shape == (1, points) for shape in prompts)


def measure(session: Session, cases: Iterable[Case]) -> dict[str, Parity]:
    """Run a graph on its cases. Returns the worst parity of each output over all of them."""
    worst: dict[str, Parity] = {}
    for inputs, wanted in cases:
        got = session.run(inputs)
        for name, values in wanted.items():
            parity, before = compare(values, np.asarray(got[name])), worst.get(name, Parity(error=0.0, cosine=1.0))
            worst[name] = Parity(error=max(parity.error, before.error), cosine=min(parity.cosine, before.cosine))
    return worst
