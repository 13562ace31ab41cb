"""TensorRT's own builder, over a stand-in of the GPU, builds typed engines for the device that it runs on."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
from standin import jetson

from samclip_edge import SamClip, data
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.errors import InputError
from samclip_edge.export.options import TensorRTOptions
from samclip_edge.export.targets.tensorrt import export_tensorrt
from samclip_edge.export.targets.tensorrt_builders import choose
from samclip_edge.photo.read import read_photo

SIZE = 128
WORDS = ["red circle", "blue square", "green triangle"]


@pytest.mark.parametrize("stripped", [False, True])
def test_the_builder_of_the_device(stripped: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--builder tensorrt`: typed, with profiles, kernel times kept; engines without weights get them when loaded."""
    with jetson(monkeypatch) as (_, module):
        if stripped:  # and newer
            module.PreviewFeature = IntEnum("PreviewFeature", {"RUNTIME_ACTIVATION_RESIZE_10_10": 2})
        options = TensorRTOptions("tensorrt", portable=True, stripped=stripped, timing_cache=tmp_path / "times")
        made = export_tensorrt(
            data.CHECKPOINTS["tiny"], tmp_path / "b", [SIZE], WORDS, precision="fp16", options=options
        )
        engines = made.manifest.built_engines
        assert engines is not None
        assert (engines.builder, engines.capabilities, engines.version) == ("tensorrt", ("8.7",), "10.3.0")
        assert (engines.portable, engines.stripped) == (True, stripped)
        assert (tmp_path / "times").read_bytes() == b"++++", "of four builds, each added to"
        flags = {frozenset(config.flags) for config in module.configs}
        assert flags == {frozenset({2, 3} if stripped else {2})}
        assert {tuple(config.preview.items()) for config in module.configs} == {((2, True),) if stripped else ()}
        scene = SamClip(made).look(read_photo(data.photos()[0]))
        wanted = SamClip(made, SessionOptions(interpreted=True)).look(read_photo(data.photos()[0]))
        np.testing.assert_allclose(scene.embedding, wanted.embedding, atol=1e-5)
        (tmp_path / "times").write_bytes(b"another GPU")
        with pytest.raises(InputError, match=r"timing_cache .*times: is not of this GPU"):
            choose(options).build(made.folder / "clip_head_128.onnx", {})
