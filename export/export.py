"""From a checkpoint to a bundle: trace, write, run what was written, and keep it only if it answers as torch does."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import samclip_edge
from samclip_edge import data
from samclip_edge.bundle.contract import GraphName
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import MANIFEST, Manifest, Precision, Target, Text
from samclip_edge.bundle.sizes import LARGEST, PATCH, Size, in_order, of_sides, sides
from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.bundle.weights import research_only
from samclip_edge.bundle.writing import new_bundle
from samclip_edge.errors import InputError
from samclip_edge.export.calibration import Calibrator
from samclip_edge.export.parity import Case, cases, clip_cases, text_cases
from samclip_edge.export.pipeline_vectors import write_pipeline
from samclip_edge.export.vectors import Vectors
from samclip_edge.model.checkpoint import Origin, load
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.names import name_features
from samclip_edge.moved import old_names
from samclip_edge.progress import Progress
from samclip_edge.text.names import BACKGROUND_NAMES, read_templates
from samclip_edge.text.tokenizer import tokenizer_json

log = logging.getLogger(__name__)


class Writer(Protocol):
    """Writes the graphs of one target into a folder."""

    def write(self, name: GraphName, size: Size | None, asked: list[Case]) -> None:
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
    sizes: Sequence[Size] | None,
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
    chosen = sizes_of(model.spec, sizes) if sizes else model.spec.sizes
    _warn_of_sizes(checkpoint, chosen, origin.trained_at)
    if bound := research_only(origin.weights):
        log.warning("%s: %s", checkpoint, bound)
    with new_bundle(folder) as partial:
        sentences = templates or read_templates(data.TEMPLATES)
        text = _write_text(model, partial, vocabulary, sentences, progress)
        calibrator = Calibrator(model, origin.calibrated, sentences, progress)
        written = writer(model, origin, partial)
        tested = Vectors(partial) if vectors else None
        for step in progress(_steps(model, chosen, text), "exporting"):
            size = step[1]
            found = _cases(model, *step)
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
            trained_at=origin.trained_at,
            origin=origin.note,
            weights=origin.weights,
            producer=f"samclip-edge {samclip_edge.__version__}",
            text=text,
            calibration=calibrator.write(partial, chosen),
            **written.finish(),
        )
        if tested:
            write_pipeline(Bundle(partial, manifest), tested, origin.rendered, progress)
            manifest = manifest.model_copy(update={"vectors": tested.finish()})
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1, by_alias=True), "utf-8")
    return Bundle.open(folder)


def sizes_of(spec: ModelSpec, asked: Sequence[Size]) -> tuple[Size, ...]:
    """The sizes that are asked for, rising. Raises InputError for one that the model does not take."""
    found: set[Size] = set()
    for each in asked:
        try:
            size = of_sides(*sides(each))
            if not spec.takes(size):
                raise ValueError(f"{each} is not from {spec.least} to {LARGEST}")
        except ValueError:
            mend = f"give a multiple of {PATCH} from {spec.least} to {LARGEST}, or WxH of two, such as 512x384"
            raise InputError(f" {each}: no size of the model {spec.name}; {mend}", "sizes") from None
        found.add(size)
    return tuple(sorted(found, key=in_order))


def _warn_of_sizes(checkpoint: Path, chosen: Sequence[Size], trained_at: Sequence[Size] | None) -> None:
    others = [str(each) for each in chosen if each not in (trained_at or chosen)]
    if others:
        known = ", ".join(map(str, trained_at or ()))
        log.warning("%s: its weights were trained at %s, not at %s", checkpoint, known, ", ".join(others))


def _steps(model: MergedModel, sizes: Sequence[Size], text: Text) -> list[tuple[GraphName | None, Size | None]]:
    """What is exported one after another: all graphs of a size, or one graph that has no size."""
    steps: list[tuple[GraphName | None, Size | None]] = [(None, size) for size in sizes]
    if model.spec.clip_vision:
        steps.append(("clip_image_encoder", None))
    return [*steps, ("text_encoder", None)] if text.tokenizer else steps


def _cases(model: MergedModel, name: GraphName | None, size: Size | None) -> dict[GraphName, list[Case]]:
    """The cases of the graphs of one size, or of the graph `name`."""
    if size is not None:
        return cases(model, size)
    assert name is not None
    return {name: text_cases(model) if name == "text_encoder" else clip_cases(model)}


def _write_text(
    model: MergedModel, folder: Path, vocabulary: Sequence[str] | None, templates: Sequence[str], progress: Progress
) -> Text:
    """Write the prompt templates, and the tokenizer or else the vocabulary. Returns the manifest's `text`."""
    scale, bias = model.text_encoder.logit_scale.detach().exp(), model.text_encoder.logit_bias
    sentences = folder / "templates.json"
    sentences.write_text(json.dumps(list(templates), ensure_ascii=False, indent=0), "utf-8")
    files: dict[str, Path] = {}
    if vocabulary is None:
        own = model.own_tokenizer if model.spec.text.tokenizer == "own" else tokenizer_json(model.spec.text.vocab)
        assert own is not None
        files["tokenizer"] = folder / "tokenizer.json"
        files["tokenizer"].write_text(own, "utf-8")
    else:
        listed = list(dict.fromkeys([*vocabulary, *BACKGROUND_NAMES]))
        files["names"], files["features"] = folder / "vocabulary.json", folder / "vocabulary.npy"
        files["names"].write_text(json.dumps(listed, ensure_ascii=False, indent=0), "utf-8")
        np.save(files["features"], name_features(model, listed, templates, progress).numpy())
    described = {name: describe(folder, file) for name, file in files.items()}
    return Text(
        templates=describe(folder, sentences),
        logit_scale=float(scale),
        logit_bias=None if bias is None else float(bias.detach()),
        tokenizer=described.get("tokenizer"),
        names=described.get("names"),
        features=described.get("features"),
    )


__getattr__ = old_names(__name__)
