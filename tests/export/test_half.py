"""Bundles in half precision: half the bytes, weights read from a checkpoint, answers within the design's tolerance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from support import TEMPLATES, TOLERANCE, Ran, off

from samclip_edge import SamClip
from samclip_edge.bundle.contract import probe
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.export.weights import places
from samclip_edge.model import checkpoint


@pytest.fixture(scope="module")
def half(tiny_checkpoint: Path) -> Bundle:
    return export_onnx(tiny_checkpoint, tiny_checkpoint.with_name("half"), precision="fp16", templates=TEMPLATES)


def test_it_is_half_as_large_and_near(half: Bundle, tiny_folder: Path) -> None:
    whole = Bundle.open(tiny_folder)
    assert sum(f.bytes for f in half.files()) < 0.6 * sum(f.bytes for f in whole.files())
    for graph in half.manifest.graphs:
        for parity in graph.parity.values():
            assert parity.cosine >= 0.9995  # what half precision promises (bundle/verify.py)


def test_with_a_vocabulary_it_holds_no_text_encoder(tiny_checkpoint: Path, half: Bundle, tmp_path: Path) -> None:
    words = export_onnx(tiny_checkpoint, tmp_path / "words", [128], ["cat"], precision="fp16")
    text = {tensor.numel() for tensor in checkpoint.load(tiny_checkpoint)[0].text_encoder.parameters()}
    files = {file.path: file.bytes for file in words.files()}
    assert "model.safetensors" not in files
    assert sum(files.values()) < sum(file.bytes for file in half.files()) - 2 * sum(text)


def test_it_answers_as_the_checkpoint_in_it(half: Bundle) -> None:
    """The checkpoint is a whole model with weights rounded to half; torch with it is matched as fp32 bundles are."""
    model, origin = checkpoint.load(half.folder / "model.safetensors")
    assert (origin.note, model.spec) == (half.manifest.origin, half.manifest.spec)
    graphs = Sessions(half)
    from samclip_edge.export.forms.fixed_size import answer

    for graph in half.manifest.graphs:
        inputs = probe(model.spec, graph.name, graph.size)
        wanted = answer(model, graph.name, {name: torch.from_numpy(value) for name, value in inputs.items()})
        got = graphs.run(graph.name, graph.size, **inputs)
        for a, b in zip(wanted, got.values(), strict=True):
            # what is made of weights before the graph is traced (folded convolutions, tables) is rounded once more
            assert off(a, b) < 100 * TOLERANCE, graph.name
            assert np.corrcoef(a.numpy().ravel(), b.ravel())[0, 1] > 0.99999


def test_most_weights_are_stored_once(half: Bundle) -> None:
    stored = half.folder / "model.safetensors"
    others = sum(path.stat().st_size for path in half.folder.glob("*.weights"))
    assert others < 0.12 * stored.stat().st_size
    with safe_open(stored, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    raw = stored.read_bytes()
    found = places(stored)
    for name, tensor in tensors.items():
        if tensor.dtype == np.float16 and tensor.any():
            place = found[tensor.tobytes()]
            assert raw[place.offset : place.offset + place.length] == tensor.tobytes(), name
    for path in half.folder.glob("*.onnx"):
        onnx.checker.check_model(path)


def test_it_runs_the_pipeline_and_a_swapped_weight_is_caught(
    half: Bundle, tiny: SamClip, photos: dict[str, np.ndarray], run: Callable[..., Ran]
) -> None:
    labels = ["cat", "dog", "cup"]
    ours, theirs = (m.look(photos["landscape"]).classify(labels) for m in (SamClip(half), tiny))
    assert [guess.label for guess in ours] == [guess.label for guess in theirs]
    assert [guess.share for guess in ours] == pytest.approx([guess.share for guess in theirs], abs=0.05)
    assert run("verify", half.folder).code == 0
    path = half.folder / "model.safetensors"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept[:-2] + b"\x00\x3c")
        ran = run("verify", half.folder)
        assert (ran.code, "model.safetensors" in ran.out) == (1, True)
    finally:
        path.write_bytes(kept)
