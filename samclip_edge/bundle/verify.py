"""Is a bundle what it was when it was exported, and does this machine's engine answer as torch did?

Needs no torch: the manifest holds torch's answers to inputs that every machine makes alike (`contract.probe`).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

import numpy as np

from samclip_edge.bundle.contract import Array, Arrays, fixed_sides, probe, sample, signature
from samclip_edge.bundle.folder import Bundle, read_steps
from samclip_edge.bundle.manifest import File, Graph, Parity, Precision, Reference
from samclip_edge.bundle.sessions import INTERPRETERS, SessionOptions, Sessions, runs_here
from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.errors import ChecksumError
from samclip_edge.progress import Progress, silent

# How far an output may be from torch's.
MAX_ERROR = 1e-4  # of fp32: max abs difference over the reference's standard deviation
MIN_COSINE = 0.9995  # of fp16
# int8 is judged by the task. At export a graph needs a cosine of at least `_INT8_WORST`; a broken graph has less. Later
# its distance from torch may be `_INT8_SLACK` times what export measured, since machines round differently.
_INT8_WORST, _INT8_SLACK = 0.9, 2.0
_STEPS = "samclip_edge.runtimes.interpreters.steps"  # by name, as `sessions` names runtimes
_INTERPRETED = {"coreml": " (op by op)", "tensorrt": " (its ONNX)"}


class Row(NamedTuple):
    """One thing that was checked."""

    what: str  # a graph and its output, or a file
    ok: bool
    found: str


def compare(reference: Array, got: Array) -> Parity:
    """How far an output is from torch's, both of one shape."""
    return compare_to(float(reference.std()), reference.astype(np.float64), got.astype(np.float64))


def compare_to(std: float, wanted: Array, got: Array) -> Parity:
    """How far values are from torch's, `std` being the spread of torch's whole output."""
    if wanted.shape != got.shape or not np.isfinite(got).all():
        return Parity(error=1e9, cosine=0.0)
    norms = float(np.linalg.norm(wanted) * np.linalg.norm(got))
    cosine = float(wanted.ravel() @ got.ravel()) / norms if norms else float(not wanted.any() and not got.any())
    return Parity(error=float(np.abs(wanted - got).max()) / (std or 1.0), cosine=cosine)


def passes(parity: Parity, precision: Precision, exported: Parity | None = None) -> bool:
    """Whether an output is still the model's at this precision. exported: how near it was when it was exported."""
    if precision == "fp32":
        return parity.error <= MAX_ERROR
    least = MIN_COSINE
    if precision != "fp16":
        least = _INT8_WORST if exported is None else min(MIN_COSINE, 1 - _INT8_SLACK * (1 - exported.cosine))
    return parity.cosine >= least


def reference_of(output: Array) -> Reference:
    """What the manifest keeps of torch's answer to the probe."""
    return Reference(std=float(output.std()), values=tuple(sample(output).tolist()))


def verify(bundle: Bundle, options: SessionOptions | None = None, progress: Progress = silent) -> list[Row]:
    """Hold every file against its checksum and every graph against torch's answers; one row each.

    Graphs for Core ML or TensorRT are run by their interpreter (`sessions.INTERPRETERS`), which any machine has, and by
    the engine itself where it is here. Of a Core ML program every op is checked too.
    """
    rows = [row for file in progress(bundle.files(), "checking files") for row in _file_row(bundle, file)]
    if not all(row.ok for row in rows):
        return rows  # a graph from other bytes is not worth running
    options = options or SessionOptions()
    ways = [options]
    if bundle.manifest.target in INTERPRETERS:
        ways = [options._replace(interpreted=True), *([options] if runs_here(bundle) else [])]
    for way in ways:
        sessions = Sessions(bundle, way)
        for graph in progress(bundle.manifest.graphs, "checking graphs"):
            rows.extend(_graph_rows(sessions, graph))
            if way.interpreted and graph.steps:
                rows.append(_steps_row(bundle, graph))
    return rows


def _file_row(bundle: Bundle, file: File) -> Iterator[Row]:
    try:
        bundle.checked(file, fresh=True)
        yield Row(file.path, True, "sha256")
    except ChecksumError as error:
        yield Row(file.path, False, str(error))


def _graph_rows(sessions: Sessions, graph: Graph) -> Iterator[Row]:
    manifest = sessions.bundle.manifest
    outputs = sessions.run(graph.name, graph.size, **question(manifest.spec, graph))
    how = _INTERPRETED[manifest.target] if sessions.interpreted else ""
    for output, reference in graph.reference.items():
        parity = compare_to(reference.std, np.array(reference.values), sample(np.asarray(outputs[output])))
        where = f"{graph.name} {graph.size}" if graph.size else graph.name
        yield Row(
            f"{where}: {output}{how}",
            passes(parity, manifest.precision, graph.parity[output]),
            f"error {parity.error:.1e}, cosine {parity.cosine:.7f}",
        )


def question(spec: ModelSpec, graph: Graph) -> Arrays:
    """The probe inputs of a graph, as it takes them."""
    fixed = fixed_sides(graph.signature, signature(spec, graph.name, graph.size))
    inputs = probe(spec, graph.name, graph.size, (1, graph.points) if graph.points else (2, 3), fixed)
    return {"image": inputs["image"].round()} if graph.image else inputs


def _steps_row(bundle: Bundle, graph: Graph) -> Row:
    """Every op of a Core ML program against what torch, or the program at export, answered there."""
    where = f"{graph.name} {graph.size}" if graph.size else graph.name
    steps = read_steps(bundle, graph)
    inputs = question(bundle.manifest.spec, graph)
    worst = import_module(_STEPS).first_off(bundle.folder / graph.files[0].path, graph, inputs, steps)
    return Row(f"{where}: {len(steps)} ops", worst is None, worst or "each as at export")
