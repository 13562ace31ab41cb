"""Core ML, on a Mac. On other machines `runtimes.interpreters.mil` runs the same packages, to check them."""

from __future__ import annotations

import json
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge.bundle.contract import Arrays
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.machine import on_a_mac
from samclip_edge.bundle.manifest import Graph
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.cache import Shelf, drop_oldest, folder, known_sha256, name_of
from samclip_edge.errors import InputError, one_line
from samclip_edge.runtimes.base import OpenSession

_UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "cpu+gpu": "CPU_AND_GPU", "cpu+ne": "CPU_AND_NE"}
_COMPILED = "coreml"  # the folder of the cache
_MOST = 20  # packages that are kept compiled
_FILES = Shelf(f"{_COMPILED}-files", most=_MOST)  # of each, the files that it has and their sha256


class CoreMLSession:
    """One function of a package, compiled by the system when it is loaded for the first time."""

    def __init__(self, path: Path, graph: Graph, options: SessionOptions) -> None:
        """path: the package's Manifest.json. Raises InputError off a Mac, and when Core ML refuses the package."""
        package = path.parent
        if not on_a_mac():
            raise InputError(
                f"{package}: Core ML runs on a Mac, an iPhone or an iPad only; `samclip-edge verify` checks the bundle "
                "here, and one for target onnx runs here"
            )
        try:
            self._model = _model(package, graph, options)
        except Exception as error:  # coremltools raises whatever Core ML does
            raise InputError(f"{package}: Core ML refuses it ({one_line(error)}); export it again") from None
        self._graph = graph

    def run(self, inputs: Arrays) -> Arrays:
        """See `Session.run`. Raises InputError for a prompt without points, because Core ML has no empty arrays."""
        given: dict[str, Any] = dict(inputs)
        if any(0 in values.shape for values in inputs.values()):
            raise InputError("prompt: a mask alone is no prompt for Core ML, which takes no empty arrays; add a point")
        if self._graph.image:
            from PIL import Image

            given["image"] = Image.fromarray(inputs["image"][0].transpose(1, 2, 0).round().astype(np.uint8))
        outputs = self._model.predict(given)
        return {each.name: np.asarray(outputs[each.name], np.float32) for each in self._graph.signature.outputs}


def _model(package: Path, graph: Graph, options: SessionOptions) -> Any:
    """The function of a package in Core ML: as an earlier process compiled it, or compiled now, and then kept."""
    import coremltools

    how = {
        "compute_units": coremltools.ComputeUnit[_UNITS[options.units]],
        "function_name": None if graph.function == "main" else graph.function,
    }
    key = " ".join([platform.mac_ver()[0], coremltools.__version__, *(file.sha256 for file in graph.files)])
    kept = _kept(key)
    if kept is not None:
        with suppress(Exception):  # what Core ML refuses is compiled again
            return coremltools.models.CompiledMLModel(str(kept), **how)
    model = coremltools.models.MLModel(str(package), **how)
    if (place := folder()) is not None:
        with suppress(OSError):
            _keep(place / _COMPILED / name_of(key), key, Path(model.get_compiled_model_path()))
    return model


def _kept(key: str) -> Path | None:
    """The compiled package in the cache, if all its files are what they were."""
    place, listed = folder(), _FILES.read(key)
    if place is None or listed is None:
        return None
    kept = place / _COMPILED / name_of(key) / "model.mlmodelc"
    try:
        whole = all(known_sha256(kept / name) == digest for name, digest in json.loads(listed).items())
    except OSError:
        return None
    return kept if whole else None


def _keep(entry: Path, key: str, compiled: Path) -> None:
    """Copy a compiled package, which is gone when its model is, into the cache. Raises OSError."""
    partial = entry.with_name(f".{entry.name}.{os.getpid()}.partial")
    try:
        shutil.copytree(compiled, partial / "model.mlmodelc")
        shutil.rmtree(entry, ignore_errors=True)
        os.rename(partial, entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    kept = entry / "model.mlmodelc"
    files = {
        path.relative_to(kept).as_posix(): known_sha256(path) for path in sorted(kept.rglob("*")) if path.is_file()
    }
    _FILES.write({key: json.dumps(files).encode()})
    drop_oldest(entry.parent, _MOST)


def _open(bundle: Bundle, graph: Graph, options: SessionOptions) -> CoreMLSession:
    return CoreMLSession(bundle.folder / graph.files[0].path, graph, options)


open_session: OpenSession = _open
