"""From a checkpoint to a bundle: trace, write, run what was written, and keep it only if it answers as torch does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch

import samclip_edge
from samclip_edge import data
from samclip_edge.bundle import MANIFEST, Bundle, Graph, Manifest, Precision, Target, Text, describe, new_bundle
from samclip_edge.contract import Arrays, GraphName, probe, signature
from samclip_edge.errors import InputError, ParityError
from samclip_edge.export.graphs import graph_module
from samclip_edge.export.onnx import WeightFile, halve, places, trace
from samclip_edge.export.parity import Case, Pixels, cases, clip_cases, measure, photo_cases, text_cases
from samclip_edge.export.quantize import Int8
from samclip_edge.export.vectors import Vectors
from samclip_edge.image import read_photo
from samclip_edge.model.checkpoint import Origin, load, save
from samclip_edge.model.merged import MergedModel
from samclip_edge.progress import Progress, silent
from samclip_edge.runtimes.onnxruntime import OrtSession
from samclip_edge.text import BACKGROUND, Tokenizer, read_templates, tokenizer_json
from samclip_edge.verify import passes, reference_of

CHECKPOINT = "model.safetensors"  # of a bundle whose graphs read their weights from one


def export_onnx(
    checkpoint: Path,
    folder: Path,
    sizes: Sequence[int] | None = None,
    vocabulary: Sequence[str] | None = None,
    progress: Progress = silent,
    precision: Precision = "fp32",
    photos: Sequence[Pixels] | None = None,
    vectors: bool = False,
) -> Bundle:
    """Write an ONNX bundle and return it, opened.

    sizes: some of the spec's input sizes; all of them where None. vocabulary: names whose features replace the text
    encoder. precision: fp16 stores the weights in half, most of them in a checkpoint that the graphs read, and computes
    in float32; int8 multiplies in int8 what loses little by it. photos: (H,W,3) RGB, on which that is measured; those
    that ship with the package where None. vectors: with test vectors (`export.vectors`). Raises InputError for a bad
    checkpoint, size or folder, and ParityError, leaving no bundle, when a graph in ONNX Runtime is further from torch
    than `verify.passes` allows.
    """

    def writer(model: MergedModel, origin: Origin, partial: Path, smallest: int) -> OnnxWriter:
        stored: Path | None = None
        if precision == "fp16" and vocabulary is None:  # else it would bring the text encoder along
            stored = save(model, partial / CHECKPOINT, origin, half=True)
        known = places(stored) if stored else {}
        int8 = Int8(model, seen_by(model, smallest, photos), progress) if precision == "int8" else None

        def change(name: GraphName, proto: onnx.ModelProto) -> tuple[str, ...]:
            if precision == "fp16":
                halve(proto, known)
            return int8.apply(name, proto) if int8 else ()

        return OnnxWriter(model, partial, precision, change, stored)

    return export_bundle(checkpoint, folder, "onnx", precision, writer, sizes, vocabulary, vectors, progress)


class Writer(Protocol):
    """Writes the graphs of one target into a folder."""

    def write(self, name: GraphName, size: int | None, asked: list[Case]) -> None:
        """Write a graph, to be held against `asked`, whose first case is the probe."""
        ...

    def finish(self) -> dict[str, Any]:
        """What the manifest says of this target: its `graphs`, and whatever else. Raises ParityError for a graph that
        is not the model's."""
        ...


def export_bundle(
    checkpoint: Path,
    folder: Path,
    target: Target,
    precision: Precision,
    writer: Callable[[MergedModel, Origin, Path, int], Writer],
    sizes: Sequence[int] | None,
    vocabulary: Sequence[str] | None,
    vectors: bool,
    progress: Progress,
) -> Bundle:
    """What every target does: sizes, words, cases, manifest. writer: given the model, its origin, the folder to write
    into and the smallest size."""
    model, origin = load(checkpoint)
    chosen = tuple(sorted(set(sizes or model.spec.sizes)))
    for each in chosen:
        if each not in model.spec.sizes:
            known = ", ".join(map(str, model.spec.sizes))
            raise InputError(f"--size {each}: {checkpoint} is a {model.spec.name}, made for {known}; choose of these")
    with new_bundle(folder) as partial:
        text = _write_text(model, partial, vocabulary, progress)
        written = writer(model, origin, partial, chosen[0])
        tested = Vectors(partial) if vectors else None
        steps: list[int | GraphName] = [*chosen]
        if model.spec.clip_vision:
            steps.append("clip_image_encoder")
        if text.tokenizer:
            steps.append("text_encoder")
        for step in progress(steps, "exporting"):
            size = step if isinstance(step, int) else None
            found: dict[GraphName, list[Case]]
            if step == "text_encoder":
                found = {step: text_cases(model, read_templates(data.TEMPLATES))}
            elif step == "clip_image_encoder":
                found = {step: clip_cases(model)}
            elif isinstance(step, int):
                found = cases(model, step)
            for name, asked in found.items():
                written.write(name, size, asked)
                if tested:
                    tested.graph(name, size, asked[0])
            if tested and size:
                tested.photo(size)
        manifest = Manifest(
            kind=model.spec.kind,
            target=target,
            precision=precision,
            spec=model.spec,
            sizes=chosen,
            trained=origin.trained,
            origin=origin.note,
            producer=f"samclip-edge {samclip_edge.__version__}",
            text=text,
            vectors=tested.finish() if tested else (),
            **written.finish(),
        )
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
    return Bundle.open(folder)


def seen_by(model: MergedModel, size: int, photos: Sequence[Pixels] | None) -> dict[GraphName, list[Arrays]]:
    """Inputs of each graph that int8 is measured on: photos at a size, and sentences."""
    seen = photo_cases(model, size, photos or [read_photo(path) for path in data.photos()])
    seen["text_encoder"] = text_cases(model, read_templates(data.TEMPLATES))[1:]
    if model.spec.clip_vision:
        seen["clip_image_encoder"] = clip_cases(model, photos)[1:]
    return {name: [inputs for inputs, _ in asked] for name, asked in seen.items()}


# Puts a traced graph into a precision, in place, and gives the layers that int8 left in float.
Change = Callable[[GraphName, onnx.ModelProto], tuple[str, ...]]


class OnnxWriter:
    """Writes graphs into a folder, one weight file for all sizes of a graph."""

    def __init__(
        self, model: MergedModel, folder: Path, precision: Precision, change: Change, checkpoint: Path | None = None
    ) -> None:
        """checkpoint: a file of the folder from which graphs read weights too."""
        self._model, self._folder, self._precision, self._change = model, folder, precision, change
        self._checkpoint = checkpoint
        self._weights: dict[GraphName, WeightFile] = {}
        self._graphs: list[Graph] = []

    def write(self, name: GraphName, size: int | None, asked: list[Case]) -> None:
        """Trace, write and measure one graph."""
        model = self._model
        weights = self._weights.setdefault(name, WeightFile(self._folder / f"{name}.weights"))
        sides = signature(model.spec, name, size)
        proto = trace(graph_module(model, name, size), sides, probe(model.spec, name, size))
        in_float = self._change(name, proto)
        weights.take(proto)
        path = self._folder / (f"{name}_{size}.onnx" if size else f"{name}.onnx")
        onnx.save_model(proto, path)
        onnx.checker.check_model(path)
        parity = measure(OrtSession(path, sides, self._precision, None), asked)
        for output, found in parity.items():
            if not passes(found, self._precision):
                raise ParityError(
                    f"{path.name}: {output} is off torch's by {found.error:.1e} of its standard deviation "
                    f"(cosine {found.cosine:.6f}); no bundle was written"
                )
        self._graphs.append(
            Graph(
                name=name,
                size=size,
                files=(describe(self._folder, path),),
                signature=sides,
                parity=parity,
                reference={output: reference_of(values) for output, values in asked[0][1].items()},
                in_float=in_float,
            )
        )

    def finish(self) -> dict[str, Any]:
        """See `Writer.finish`. Called once no weight file will grow any more."""
        done = []
        for graph in self._graphs:
            path = self._weights[graph.name].path
            shared = [describe(self._folder, each) for each in (path, self._checkpoint) if each and each.exists()]
            done.append(graph.model_copy(update={"files": (*graph.files, *shared)}))
        return {"graphs": tuple(done)}


def _write_text(model: MergedModel, folder: Path, vocabulary: Sequence[str] | None, progress: Progress) -> Text:
    """The tokenizer or the vocabulary, and the prompt templates."""
    scale = float(model.text_encoder.logit_scale.detach().exp())
    templates = Path(shutil.copy(data.TEMPLATES, folder / "templates.json"))
    if vocabulary is None:
        tokenizer = folder / "tokenizer.json"
        tokenizer.write_text(tokenizer_json(model.spec.text.vocab), "utf-8")
        return Text(templates=describe(folder, templates), logit_scale=scale, tokenizer=describe(folder, tokenizer))
    listed = list(dict.fromkeys([*vocabulary, *BACKGROUND]))
    names, features = folder / "vocabulary.json", folder / "vocabulary.npy"
    names.write_text(json.dumps(listed, ensure_ascii=False, indent=0), "utf-8")
    np.save(features, text_features(model, listed, read_templates(templates), progress))
    return Text(
        templates=describe(folder, templates),
        logit_scale=scale,
        names=describe(folder, names),
        features=describe(folder, features),
    )


@torch.inference_mode()
def text_features(
    model: MergedModel, names: Sequence[str], templates: Sequence[str], progress: Progress = silent
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A feature for each name (K,E): the mean over the templates, L2-normalised, as `Words.features` makes it."""
    tokenizer = Tokenizer.of(model.spec.text)
    features = []
    for name in progress(names, "reading names"):
        tokens = tokenizer([template.replace("{}", name) for template in templates])
        mean = model.text_encoder(torch.from_numpy(tokens)).mean(dim=0)
        features.append((mean / mean.norm()).numpy())
    return np.stack(features)
