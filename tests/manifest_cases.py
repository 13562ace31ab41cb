"""Manifests of every kind of model, and ways to spoil one, for runtimes in other languages."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from samclip_edge.bundle.contract import signature, sized
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.spec import ClipVisionSpec, ModelSpec

Fields = dict[str, Any]
Path = tuple[str | int, ...]
DELETED = object()


def file(path: str) -> Fields:
    return {"path": path, "sha256": "5e" * 32, "bytes": 7}


def manifest_of(spec: ModelSpec, sizes: Sequence[Size], **more: Any) -> Fields:
    """A manifest as an exporter would write it, of files that there are not."""

    def graph(name: Any, size: Size | None) -> Fields:
        own = signature(spec, name, size).model_dump(mode="json")
        numbers = {"error": 0.001, "cosine": 1}
        return {
            "name": name,
            "size": size,
            "files": [file(f"{name}_{size}.onnx"), file(f"{name}.weights")],
            "signature": own,
            "parity": {"out": numbers},
            "reference": {"out": {"std": 1.5, "values": [0, -0.5]}},
            "in_float": ["a layer"],
            "moved": {"out": numbers},
        }

    logistic = {"slope": 2, "offset": -0.25}
    chances = [{"size": size, "patches": logistic, "mask": {}, "photo": {"offset": 3}} for size in sizes]
    fields: Fields = {
        "format": 2,
        "kind": spec.kind,
        "target": "onnx",
        "precision": "int8",
        "spec": spec.model_dump(mode="json"),
        "sizes": list(sizes),
        "trained": True,
        "trained_at": [sizes[-1]],
        "origin": "a test",
        "weights": [{"what": "masks", "file": "x.pt", "sha256": "0a" * 32, "license": None}],
        "producer": "a test",
        "graphs": [graph(name, size) for size in sizes for name in sized(spec)] + [graph("text_encoder", None)],
        "text": {"templates": file("templates.json"), "logit_scale": 100, "tokenizer": file("tokenizer.json")},
        "calibration": {
            "names": file("rivals.json"),
            "features": file("rivals.npy"),
            "same": 0.9,
            "measured_on": "photos",
            "sizes": chances,
        },
        "vectors": [file("vectors/index.json")],
    }
    if spec.clip_vision:
        fields["graphs"].append(graph("clip_image_encoder", None))
    return {**fields, **more}


def two_models(clip: ClipVisionSpec) -> ModelSpec:
    return PRESETS["tiny"].model_copy(update={"clip_vision": clip})


def with_engines() -> Fields:
    fields = manifest_of(PRESETS["tiny"], [128])
    for each in fields["graphs"]:
        each["engine"] = file(f"{each['name']}.engine")
    built = {"builder": "tensorrt", "version": "10.3.0", "capabilities": ["8.7", "12.0"], "portable": True}
    return {**fields, "target": "tensorrt", "engines": built, "script": file("build.py")}


def for_litert() -> Fields:
    fields = manifest_of(PRESETS["tiny"], [128], target="litert", quantisation="static")
    for each in fields["graphs"]:
        each["calls"] = [{"function": f"{each['name']}_{b}", "sides": {"B": b, "N": 2}} for b in (1, 16)]
        each["operators"] = {"ADD": 3, "RESHAPE": 1}
        each["left_to_cpu"] = {"GPU": [], "NPU": ["ADD", "RESHAPE"]}
    return fields


def with_vocabulary() -> Fields:
    fields = manifest_of(PRESETS["photo"], [256], precision="fp16")
    text = {**fields["text"], "logit_bias": -10.5, "names": file("names.json"), "features": file("names.npy")}
    del text["tokenizer"]
    return {**fields, "graphs": fields["graphs"][:-1], "text": text, "calibration": None, "trained_at": None}


def with_fixed_sides() -> Fields:
    """As for engines that choose no dimension in a call; and each prompt has a mask of its own."""
    fields = manifest_of(PRESETS["mobile"], [448], quantisation="qdq")
    for each in fields["graphs"]:
        for tensor in each["signature"]["inputs"] + each["signature"]["outputs"]:
            swapped = {"I": 4, "N": 5, "M": "B", "L": 77}
            tensor["shape"] = [swapped.get(side, side) for side in tensor["shape"]]
        each["points"] = 2 if each["name"] == "prompt_encoder" else None
    return fields


def older() -> Fields:
    """Format 1, without the fields that came later, and the numbers of a ViT in place of a tower."""
    fields = manifest_of(two_models(ClipVisionSpec.vit(width=64, depth=2, heads=4, size=64)), [128])
    fields["spec"]["clip_vision"] = {"width": 64, "depth": 2, "heads": 4, "size": 64}
    for key in ("trained_at", "weights", "calibration", "vectors"):
        del fields[key]
    for key in ("kind", "stem"):
        del fields["spec"]["encoder"][key]
    del fields["spec"]["clip_head"]
    return {**fields, "format": 1}


def bases() -> dict[str, Fields]:
    """A manifest of each kind."""
    vision = ClipVisionSpec.vit(width=64, depth=2, heads=4, size=64)
    rich = ClipVisionSpec(
        tower={"timm_model_name": "vit", "layers": 12}, size=256, resize="squash", interpolation="bilinear"
    )
    last = PRESETS["tiny"].text.model_copy(update={"pool": "last", "end": 7, "clean": "whitespace", "tokenizer": "own"})
    return {
        "vit": manifest_of(PRESETS["tiny"], [128, "256x128", 256]),
        "large vit": manifest_of(PRESETS["vit_b"], [224, 1024]),
        "tiny_vit": manifest_of(PRESETS["mobile"], [448]),
        "radio": manifest_of(PRESETS["radio"], ["512x384", 1024], trained=False),
        "efficientnet_lite": manifest_of(PRESETS["photo"], [256, 384]),
        "two models": manifest_of(two_models(vision), [128]),
        "another two": manifest_of(two_models(rich), [128, 256]),
        "another text": manifest_of(PRESETS["tiny"].model_copy(update={"text": last}), [128]),
        "engines": with_engines(),
        "litert": for_litert(),
        "vocabulary": with_vocabulary(),
        "fixed sides": with_fixed_sides(),
        "older": older(),
    }


class Case(NamedTuple):
    """A manifest that was changed, as the text of its file."""

    what: str
    text: str


def at(fields: Any, path: Path) -> Any:
    return at(fields[path[0]], path[1:]) if path else fields


def changed(fields: Fields, path: Path, value: Any) -> Case:
    """value: what is put there; DELETED: nothing."""
    fields = copy.deepcopy(fields)
    inner = at(fields, path[:-1])
    if value is DELETED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    shown = "deleted" if value is DELETED else f"{value!r:.60}"
    return Case(f"{'.'.join(map(str, path))}: {shown}", json.dumps(fields))


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every key and element of a manifest; of a list the first and the last alone."""
    if path:
        yield path
    keys: list[Any] = list(value) if isinstance(value, dict) else []
    if isinstance(value, list) and value:
        keys = sorted({0, len(value) - 1})
    for key in keys:
        yield from places(value[key], (*path, key))


# No text that Python reads as a number is among them: see `checked_json.hpp`.
VALUES: tuple[Any, ...] = (
    DELETED,
    None,
    True,
    0,
    1,
    -1,
    2.0,
    16.5,
    320,
    "",
    "B",
    "x",
    "128x128",
    [],
    [None],
    {},
    {"surprise": 1},
)


def everywhere(fields: Fields) -> Iterator[Case]:
    """Each place changed to each value; a key that nobody knows in each object; each list longer, and turned around."""
    for path in places(fields):
        inner = at(fields, path)
        # Which kind a list or an object would be is shown as Python writes it, and here as JSON.
        values = VALUES[:-4] if path[-1] == "kind" else VALUES
        yield from (changed(fields, path, value) for value in values)
        if isinstance(inner, dict):
            yield changed(fields, (*path, "surprise"), None)
        if isinstance(inner, list):
            yield changed(fields, path, inner + inner[-1:])
            yield changed(fields, path, inner[::-1])
