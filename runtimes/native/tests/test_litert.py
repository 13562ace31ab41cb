"""LiteRT's bundles by the native library, where something is wrong; test_vectors.py has the answers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import native
import numpy as np
import pytest

BUNDLE = native.ROOT / "build" / "vectors" / "tiny-litert"
LOOK = """
import sys, native, numpy as np
try:
    native.Model(sys.argv[1]).look(np.zeros((64, 64, 3), np.uint8), (128, 128))
except native.NativeError as error:
    print(error.status, error)
"""
INPUT = 1  # of samclip_edge.h


def looked(bundle: Path, **environment: str) -> str:
    """What a fresh process says that looks at a photo."""
    command = [sys.executable, "-c", LOOK, str(bundle)]
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | here | environment
    ).stdout.strip()


def test_a_library_that_is_not_here_is_told_with_the_mend() -> None:
    told = looked(BUNDLE, SAMCLIP_EDGE_LITERT="/no/libLiteRt.so")
    assert told.startswith(f"{INPUT} /no/libLiteRt.so: LiteRT does not load (")
    assert told.endswith("; set SAMCLIP_EDGE_LITERT to its libLiteRt.so, or export the bundle for target onnx")


def test_another_library_is_told() -> None:
    told = looked(BUNDLE, SAMCLIP_EDGE_LITERT=str(native.BUILD / "libsamclip_edge.so"))
    assert "has no LiteRtCreateEnvironment; bring LiteRT 2.3 or later" in told


def test_a_file_that_litert_refuses_is_named(tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    path = tmp_path / "bundle" / "image_encoder.tflite"
    path.write_bytes(b"TFL3" * 100)
    manifest = tmp_path / "bundle" / "manifest.json"
    told = json.loads(manifest.read_text("utf-8"))
    for graph in told["graphs"]:
        if graph["name"] == "image_encoder":
            graph["files"][0] |= {"bytes": 400, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(told), "utf-8")
    assert looked(tmp_path / "bundle") == f"{INPUT} {path}: LiteRT refuses it; export the bundle again"


def test_a_prompt_that_no_signature_is_for_is_refused_in_pythons_line() -> None:
    scene = native.Model(BUNDLE).look(np.zeros((64, 64, 3), np.uint8), (128, 128))
    with pytest.raises(native.NativeError, match=r"has 6 points, .*the bundle takes 2, 3, 4, 8: give fewer or more"):
        scene.segment(points=[[k, k] for k in range(5)])
