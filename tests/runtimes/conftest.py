"""Bundles for TensorRT, and a stand-in of the GPU that they run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standin import build, jetson
from standin_cuda import Gpu

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.export.options import TensorRTOptions
from samclip_edge.export.targets.tensorrt import export_tensorrt
from samclip_edge.runtimes.tensorrt.__main__ import record

SIZE = 128


@pytest.fixture(scope="session")
def onnx_only(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """`tiny` in float32, one size, without engines."""
    folder = tmp_path_factory.mktemp("trt") / "bundle"
    return export_tensorrt(
        data.CHECKPOINTS["tiny"], folder, [SIZE], precision="fp32", options=TensorRTOptions(only_onnx=True)
    )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    with jetson(monkeypatch) as (state, _):
        yield state


@pytest.fixture
def bundle(onnx_only: Bundle, gpu: Gpu, tmp_path: Path) -> Bundle:
    """The same with engines, built by its script."""
    code, out = build(onnx_only, tmp_path / "bundle")
    assert code == 0, out
    assert "recorded -m samclip_edge.runtimes.tensorrt ." in out
    assert not list((tmp_path / "bundle").glob("*.log"))
    record(tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")
