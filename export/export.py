"""From a checkpoint to a bundle: trace, write, run what was written, and keep it only if it answers as torch does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import samclip_edge
from samclip_edge import data
from samclip_edge.bundle.contract import GraphName
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import MANIFEST, Manifest, Precision, Target, Text
from samclip_edge.bundle.writing import new_bundle
from samclip_edge.errors import InputError
from samclip_edge.export.calibration import Calibrator
from samclip_edge.export.parity import Case, cases, clip_cases, text_cases
from samclip_edge.export.vectors import Vectors
from samclip_edge.model.checkpoint import Origin, load
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.names import name_features
from samclip_edge.moved import old_names
from samclip_edge.progress import Progress
from samclip_edge.text.names import BACKGROUND_NAMES, read_templates
from samclip_edge.text.tokenizer import tokenizer_json


class Writer(Protocol):
    """Writes the graphs of one target into a folder."""

    def write(self, name: GraphName, size: int | None, asked: list[Case]) -> None:
        """Write a graph. `asked` are the cases to compare it with torch on; the first is the probe.

        Raises ParityError, here or in `finish`, when the graph's answers are not the model's.
        """
        ...

    def finish(self) -> dict[str, Any]:
        """The manifest's fields that this target fills in: `graphs`, and any others. Raises what `write` raises."""
        ...


def export_bundle(
    checkpoint: Path,
    folder: Path,
    target: Target,
    precision: Precision,
    writer: Callable[[MergedModel, Origin, Path], Writer],
    sizes: Sequence[int] | None,
    vocabulary: Sequence[str] | None,
    templates: Sequence[str] | None,
    vectors: bool,
    progress: Progress,
) -> Bundle:
    """What all targets share: checks the sizes, writes the text side, collects the cases, writes the manifest.

    writer: makes the target's `Writer` of the model, its origin and the folder to write into.
    templates: prompt templates; None: CLIP's eighty.
    """
    model, origin = load(checkpoint)
    for each in sizes or ():
        if each not in model.spec.sizes:
            known = ", ".join(map(str, model.spec.sizes))
            raise InputError(
                f" {each}: {checkpoint} is a {model.spec.name}, made for {known}; choose from these", "sizes"
            )
    chosen = tuple(each for each in model.spec.sizes if not sizes or each in sizes)
    with new_bundle(folder) as partial:
        sentences = templates or read_templates(data.TEMPLATES)
        text = _write_text(model, partial, vocabulary, sentences, progress)
        calibrator = Calibrator(model, origin.calibrated, sentences, progress)
        written = writer(model, origin, partial)
        tested = Vectors(partial) if vectors else None
        for step in progress(_steps(model, chosen, text), "exporting"):
            size = step if isinstance(step, int) else None
            found = _cases(model, step)
            calibrator.see([size] if size else chosen, found)
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
            calibration=calibrator.write(partial, chosen),
            vectors=tested.finish() if tested else (),
            **written.finish(),
        )
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1, by_alias=True), "utf-8")
    return Bundle.open(folder)


def _steps(model: MergedModel, sizes: Sequence[int], text: Text) -> list[int | GraphName]:
    """What is exported one after another: the graphs of a size, or a graph without a size."""
    steps: list[int | GraphName] = [*sizes]
    if model.spec.clip_vision:
        steps.append("clip_image_encoder")
    return [*steps, "text_encoder"] if text.tokenizer else steps


def _cases(model: MergedModel, step: int | GraphName) -> dict[GraphName, list[Case]]:
    """The cases of the graphs of one size, or of a graph without a size."""
    if isinstance(step, int):
        return cases(model, step)
    return {step: text_cases(model) if step == "text_encoder" else clip_cases(model)}


def _write_text(
    model: MergedModel, folder: Path, vocabulary: Sequence[str] | None, templates: Sequence[str], progress: Progress
) -> Text:
    """Write the prompt templates, and the tokenizer or else the vocabulary. Returns the manifest's `text`."""
    scale = float(model.text_encoder.logit_scale.detach().exp())
    sentences = folder / "templates.json"
    sentences.write_text(json.dumps(list(templates), ensure_ascii=False, indent=0), "utf-8")
    if vocabulary is None:
        tokenizer = folder / "tokenizer.json"
        tokenizer.write_text(tokenizer_json(model.spec.text.vocab), "utf-8")
        return Text(templates=describe(folder, sentences), logit_scale=scale, tokenizer=describe(folder, tokenizer))
    listed = list(dict.fromkeys([*vocabulary, *BACKGROUND_NAMES]))
    names, features = folder / "vocabulary.json", folder / "vocabulary.npy"
    names.write_text(json.dumps(listed, ensure_ascii=False, indent=0), "utf-8")
    np.save(features, name_features(model, listed, templates, progress).numpy())
    return Text(
        templates=describe(folder, sentences),
        logit_scale=scale,
        names=describe(folder, names),
        features=describe(folder, features),
    )


__getattr__ = old_names(__name__)
