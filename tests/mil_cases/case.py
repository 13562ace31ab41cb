"""A case is an op of MIL, the same op of torch, and random inputs for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import samclip_edge.runtimes.interpreters.mil  # noqa: F401  it keeps coremltools from printing when it is imported

from coremltools.converters.mil.mil import Builder as mb  # isort: skip
from coremltools.converters.mil.mil import types  # isort: skip

__all__ = ["Case", "Random", "floats", "mb", "sides", "types"]

Random = np.random.RandomState
Case = tuple[list[np.ndarray], Callable[..., Any], Callable[..., Any]]  # inputs, the op of MIL, the same of torch


def floats(random: Random, *shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def sides(random: Random, rank: int) -> list[int]:
    return [int(side) for side in random.randint(1, 7, rank)]
