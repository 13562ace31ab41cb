"""The TensorRT runtime refuses in a line what it cannot run, and says how to mend it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standin import build, change, forget
from standin_cuda import Gpu
from support import Ran

from samclip_edge import SamClip, data
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import MANIFEST
from samclip_edge.bundle.verify import verify
from samclip_edge.errors import InputError
from samclip_edge.photo.read import read_photo
from samclip_edge.runtimes.tensorrt.__main__ import record

SIZE = 128


def test_more_prompts_than_the_engine_takes_are_refused_in_a_line(bundle: Bundle) -> None:
    scene = SamClip(bundle).look(read_photo(data.photos()[0]))
    assert len(scene.segment(boxes=[[i, i, 90, 90] for i in range(70)])) == 70, "64 at once is the pipeline's own limit"
    with pytest.raises(InputError, match=r"takes points of \(1, 0, 2\) to \(64, 32, 2\), not \(1, 41, 2\)"):
        scene.segment(points=[[i, i] for i in range(40)])
    assert len(scene.segment(points=[[60, 80]])) == 1, "and the engine goes on"


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "another GPU": ({"capabilities": ["8.9", "12.0"]}, "engines for compute capability 8.9, 12.0; this GPU is 8.7"),
    "another version": ({"version": "10.7.0"}, "engines of tensorrt 10.7.0; here is 10.3.0"),
    "another builder": ({"builder": "tensorrt_rtx"}, "tensorrt_rtx: is not installed here"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_engines_of_another_machine_are_refused_in_a_line(fault: str, bundle: Bundle, run: Callable[..., Ran]) -> None:
    changes, wanted = FAULTS[fault]
    change(bundle, **changes)
    ran = run("classify", data.photos()[0], "--label", "cat", "--label", "dog", "--bundle", bundle.folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert wanted in ran.err


def test_version_compatible_engines_are_not_asked_for_their_version(bundle: Bundle) -> None:
    change(bundle, version="10.2.0", portable=True)
    assert SamClip.load(bundle.folder).look(read_photo(data.photos()[0])).embedding.shape == (1, 256, 8, 8)


def test_a_corrupt_engine_is_refused_in_a_line(bundle: Bundle, run: Callable[..., Ran]) -> None:
    engine = bundle.folder / f"image_encoder_{SIZE}.engine"
    engine.write_bytes(b"\xff" + engine.read_bytes()[1:])
    asked = ("segment", data.photos()[0], "--point", "60,80", "--bundle", bundle.folder)
    ran = run(*asked)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "its sha256 is not the manifest's" in ran.err
    fields = json.loads((bundle.folder / MANIFEST).read_text())  # and one that was corrupt when it was recorded
    for graph in fields["graphs"]:
        if graph["name"] == "image_encoder":
            graph["engine"] = describe(bundle.folder, engine).model_dump()
    (bundle.folder / MANIFEST).write_text(json.dumps(fields))
    ran = run(*asked)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "tensorrt refuses it (Error Code 1: Serialization" in ran.err


def test_a_bundle_without_engines_says_how_to_build_them(onnx_only: Bundle, gpu: Gpu, run: Callable[..., Ran]) -> None:
    ran = run("classify", data.photos()[0], "--label", "cat", "--label", "dog", "--bundle", onnx_only.folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"has no engines yet; build them here: sh {onnx_only.folder}/build.sh" in ran.err


def test_without_a_gpu_it_says_so_in_a_line(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]
) -> None:
    monkeypatch.undo()
    forget()
    ran = run("classify", data.photos()[0], "--label", "cat", "--label", "dog", "--bundle", bundle.folder)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "no NVIDIA GPU here" in ran.err
    assert all(row.ok for row in verify(bundle)), "its ONNX is checked anywhere"


def test_a_script_that_fails_says_where(onnx_only: Bundle, gpu: Gpu, tmp_path: Path) -> None:
    broken = onnx_only.manifest.graphs[1].files[0]
    copy = tmp_path / "bundle"
    code, _ = build(onnx_only, copy, "10.13")
    assert code == 0
    (copy / broken.path).unlink()
    ran = subprocess.run(
        ["sh", copy / "build.sh"],
        env={**os.environ, "PATH": f"{tmp_path / 'tools'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith(f"error: {Path(broken.path).stem}: trtexec failed: ")
    (copy / f"image_encoder_{SIZE}.engine").unlink()
    with pytest.raises(InputError, match="is not there; run sh"):
        record(copy)
