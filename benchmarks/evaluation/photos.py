"""How a photo is read for CLIP's tasks, in other processes: a square from its middle, or whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from samclip_edge.benchmarks.evaluation.task import Sample
from samclip_edge.bundle.sizes import Size, sides
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Pixels, clip_square


def reader(size: Size | None) -> Callable[[Sample], tuple[Pixels, Any]]:
    """What reads a sample's photo (H,W,3) and its truth. size: None for a CLIP that resizes in its own way."""
    return _whole if size is None else partial(_square, max(sides(size)))


def told(size: Size | None) -> str:
    """The same in words, for the protocol."""
    return "CLIP's own" if size is None else f"shorter side to {size}, bicubic, centre crop"


def _square(size: int, sample: Sample) -> tuple[Pixels, Any]:
    """The middle of a photo (S,S,3), and its truth."""
    middle = clip_square(read_photo(sample.photo), size)
    return np.ascontiguousarray(middle.transpose(1, 2, 0).astype(np.uint8)), sample.truth


def _whole(sample: Sample) -> tuple[Pixels, Any]:
    """A photo (H,W,3), and its truth."""
    return read_photo(sample.photo), sample.truth
