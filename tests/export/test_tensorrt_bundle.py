"""`export --target tensorrt` makes engines that are as accurate as the model, and refuses bad options in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import GPUS, Ran

from samclip_edge import SamClip, data
from samclip_edge.accuracy.synthetic import Counts, evaluate
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.bundle.verify import verify
from samclip_edge.export.options import TensorRTOptions
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.export.targets.tensorrt import export_tensorrt


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """`tiny` in int8 at one size, with engines."""
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    options = TensorRTOptions(capabilities=GPUS)
    return export_tensorrt(data.CHECKPOINTS["tiny"], folder, [256], precision="int8", options=options)


def test_a_bundle_says_what_built_it(engines: Bundle, run: Callable[..., Ran]) -> None:
    made = engines.manifest.built_engines
    assert made is not None
    assert (made.builder, made.capabilities) == ("tensorrt_rtx", GPUS)
    assert all(graph.built_engine for graph in engines.manifest.graphs)
    assert all(row.ok for row in verify(engines))
    ran = run("info", engines.folder)
    assert ran.code == 0
    assert f"engines: tensorrt_rtx {made.version}, for GPUs of 8.6, 8.9" in ran.out
    ran = run("segment", data.photos()[0], "--point", "60,80", "--bundle", engines.folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "no NVIDIA GPU here" in ran.err


def test_int8_and_fp16_cost_little(engines: Bundle, tmp_path: Path) -> None:
    """`tiny`, trained, on few scenes. Two points are allowed, and of names, one scene named otherwise.

    Forty scenes have several things, because on few of them one mask that is found or not is more than two points.
    """
    counts = Counts(one_thing=30, captions=20, several=40, trusted=0)
    whole = export_onnx(data.CHECKPOINTS["tiny"], tmp_path / "whole", [256])  # names are asked at the smallest size
    wanted = evaluate(SamClip(whole), counts=counts)["merged"]
    half = export_tensorrt(
        data.CHECKPOINTS["tiny"], tmp_path / "half", [256], precision="fp16", options=TensorRTOptions(only_onnx=True)
    )
    for bundle in (engines, half):
        found = evaluate(SamClip(bundle, SessionOptions(interpreted=True)), counts=counts)["merged"]
        for name, score in found.items():
            scenes = {"classification top-1": 30, "text-to-image recall@1": 20}.get(name)
            assert score >= wanted[name] - (0.02 if scenes is None else 1.5 / scenes), (bundle.manifest.precision, name)


OPTIONS = {
    "a GPU to build for": ((), "--compute-capability: no GPU here to build for; name one or more of 7.5, "),
    "a Jetson": (("--compute-capability", "8.7"), "for a Jetson ask for the ONNX only"),
    "no such GPU": (("--compute-capability", "9.9"), "--compute-capability 9.9: TensorRT-RTX builds for"),
    "a builder that is not here": (("--builder", "tensorrt"), "tensorrt: is not installed here"),
    "no such builder": (("--builder", "tvm"), "--builder tvm: no such builder; give tensorrt or tensorrt_rtx"),
    "a timing cache": (("--timing-cache", "x"), "--timing-cache: TensorRT-RTX has no such thing"),
    "version-compatible": (("--version-compatible",), "--version-compatible: TensorRT-RTX has no such thing"),
    "no weights": (
        ("--strip-weights", "--compute-capability", "8.9"),
        "--strip-weights: TensorRT-RTX strips weights only",
    ),
    "a palette": (
        ("--precision", "palette8"),
        "--precision palette8: this version exports fp32, fp16, int8 for tensorrt",
    ),
    "nothing to build": (
        ("--onnx-only", "--compute-capability", "8.9"),
        "--compute-capability: is for engines, and only the ONNX is asked for",
    ),
    "another target's": (("--image-input",), "--image-input: is of --target coreml only"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_cannot_be_are_one_line(case: str, run: Callable[..., Ran], tmp_path: Path) -> None:
    given, wanted = OPTIONS[case]
    ran = run("export", "--model", "tiny", "--target", "tensorrt", *given, "-o", tmp_path / "bundle")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert wanted in ran.err
    assert not (tmp_path / "bundle").exists()
    if given and case not in ("a palette", "another target's"):
        ran = run("export", "--model", "tiny", *given, "-o", tmp_path / "bundle")
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "is of --target tensorrt only" in ran.err
