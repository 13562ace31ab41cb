"""Models and bundles that many tests look at, each made once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import skimage.data
import torch
from filelock import FileLock
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from support import TEMPLATES, Ran, cli, spread
from vit_b import VitB

from samclip_edge import SamClip
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.cache import VARIABLE
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint

os.environ[VARIABLE] = "off"  # no test writes into the cache of whoever runs it
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))


@pytest.fixture(scope="session")
def photos() -> dict[str, np.ndarray]:
    """Real photos (H,W,3) uint8 RGB of every shape that makes a difference."""
    coffee, astronaut, chelsea = skimage.data.coffee(), skimage.data.astronaut(), skimage.data.chelsea()
    return {
        "landscape": coffee,
        "portrait": np.ascontiguousarray(astronaut[:, 60:380]),
        "tiny": np.ascontiguousarray(chelsea[100:117, 120:144]),
        "very wide": np.ascontiguousarray(coffee[200:212]),
    }


def make_tiny(path: Path) -> Path:
    model = checkpoint.build(PRESETS["tiny"])
    spread(model, seed=11)
    checkpoint.save(model, path, checkpoint.Origin(note="spread at random for tests"))
    return path


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run share, for what is made once, under a lock."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "tiny.safetensors")


@pytest.fixture(scope="session")
def tiny_folder(tiny_checkpoint: Path, shared: Path) -> Path:
    """A bundle of `tiny` with its text encoder, at all its sizes. Not to be written to: see `bundle_copy`."""
    folder = shared / "tiny"
    with FileLock(f"{folder}.lock"):
        return folder if folder.exists() else export_onnx(tiny_checkpoint, folder, templates=TEMPLATES).folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> SamClip:
    return SamClip.load(tiny_folder)


@pytest.fixture(scope="session")
def vocabulary_folder(tiny_checkpoint: Path) -> Path:
    """A bundle of `tiny` at 128 with a vocabulary in place of the text encoder."""
    names = ["cat", "dog", "cup of coffee"]
    return export_onnx(tiny_checkpoint, tiny_checkpoint.with_name("words"), [128], names, templates=TEMPLATES).folder


@pytest.fixture
def bundle_copy(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "bundle"))


@pytest.fixture
def run(capfd: Any, monkeypatch: Any) -> Callable[..., Ran]:
    """`samclip-edge` with the arguments given, in this process."""
    return lambda *arguments: cli(capfd, monkeypatch, *arguments)


@pytest.fixture(scope="session")
def sam() -> Sam:
    """SAM ViT-B of segment_anything, weights spread at random. Its slow encoder remembers what it has encoded."""
    model = sam_model_registry["vit_b"]().eval()
    spread(model, seed=5)
    encode, seen = model.image_encoder.forward, {}

    @torch.no_grad()
    def remember(image: torch.Tensor) -> torch.Tensor:
        key = image.numpy().tobytes()
        if key not in seen:
            seen[key] = encode(image)
        return seen[key]

    model.image_encoder.forward = remember
    return model


@pytest.fixture(scope="session")
def clip() -> open_clip.CLIP:
    """The text tower of OpenCLIP's ViT-L-14, weights spread at random, beside a small image tower."""
    text = open_clip.get_model_config("ViT-L-14")["text_cfg"]
    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16}
    model = open_clip.CLIP(embed_dim=768, vision_cfg=vision, text_cfg=text).eval()
    spread(model, seed=6)
    return model


@pytest.fixture(scope="session")
def vit_b(sam: Sam, clip: open_clip.CLIP, shared: Path) -> VitB:
    return VitB(shared / "vit_b", sam, clip)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that use `vit_b` come last, but for the one that exports it: else a worker waits for the other."""
    users = {item.path for item in items if "vit_b" in getattr(item, "fixturenames", ())}
    first = min((path for path in users if path.name == "test_onnx.py"), default=None)
    items.sort(key=lambda item: 0 if item.path == first else 2 if item.path in users else 1)
