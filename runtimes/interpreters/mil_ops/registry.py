"""The table of ops, and how a function enters it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

Op = Callable[..., Any]
OPS: dict[str, Op] = {}


def op(run: Op) -> Op:
    """Enter a function under its own name, less a trailing underscore."""
    OPS[run.__name__.rstrip("_")] = run
    return run


def ints(values: Tensor | Sequence[int]) -> list[int]:
    """A constant list of whole numbers."""
    return [int(each) for each in (values.flatten().tolist() if isinstance(values, Tensor) else values)]


def elementwise(**functions: Op) -> None:
    """Enter ops that torch has under another name, with the inputs in order."""
    for name, function in functions.items():
        OPS[name] = lambda *, _function=function, **inputs: _function(*inputs.values())
