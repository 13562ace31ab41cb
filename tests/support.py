"""What tests share: weights that show errors, the design's tolerance, and the command line in-process."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import nn

from samclip_edge.cli import main

TEMPLATES = ["a photo of a {}.", "a {}."]  # CLIP's eighty make no test better, and many slower
TOLERANCE = 1e-4  # of fp32 (bundle/verify.py): max abs difference, over the output's standard deviation
GPUS = ("8.6", "8.9")  # of those that TensorRT-RTX builds for: the nearest to a Jetson Orin's 8.7, and a GeForce RTX 40


@torch.no_grad()
def spread(model: nn.Module, seed: int) -> None:
    """Seeded random weights under which no parameter is idle: biases, positions and norms are all felt."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim == 0:
            continue
        if "gaussian_matrix" in name:
            tensor.copy_(noise)
        elif name.endswith("bias"):
            tensor.copy_(0.1 * noise)
        elif tensor.ndim == 1:
            tensor.copy_(1 + 0.2 * noise)
        elif "rel_pos" in name:
            tensor.copy_(0.3 * noise)
        elif "patch_embed" not in name and ("embed" in name or ("token" in name and "attn" not in name)):
            tensor.copy_(0.5 * noise)
        else:
            tensor.copy_(noise * tensor[0].numel() ** -0.5)


def off(reference: Any, got: Any) -> float:
    """Max abs difference over the reference's standard deviation; both finite and of one shape."""
    reference, got = (torch.as_tensor(each).detach().double().numpy() for each in (reference, got))
    assert reference.shape == got.shape
    assert np.isfinite(got).all()
    return float(np.abs(reference - got).max() / reference.std())


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def cli(capfd: Any, monkeypatch: Any, *arguments: str | Path | int | float) -> Ran:
    """Run `samclip-edge` in this process."""
    monkeypatch.setattr(sys, "argv", ["samclip-edge", *map(str, arguments)])
    capfd.readouterr()
    code: Any = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    out, err = capfd.readouterr()
    return Ran(code, out, err)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Pillow's image as the bytes of a file of that kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def as_model(folder: Path, name: str, config: dict[str, Any]) -> str:
    """Make open_clip know a small model by a name, as it knows its own. Returns the name."""
    (folder / f"{name}.json").write_text(json.dumps(config), "utf-8")
    open_clip.add_model_config(folder / f"{name}.json")
    return name


def paint(path: Path, seed: int, side: int = 96) -> Path:
    """A photo of coloured squares, no two alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    squares = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(squares).resize((side, side - 16), Image.Resampling.NEAREST).save(path)
    return path
