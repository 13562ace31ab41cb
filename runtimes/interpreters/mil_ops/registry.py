"""The table of ops, and how functions are put into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

Op = Callable[..., Any]
OPS: dict[str, Op] = {}


def op(run: Op) -> Op:
    """Put a function into the table under its own name, without a trailing underscore."""
    OPS[run.__name__.rstrip("_")] = run
    return run


def ints(values: Tensor | Sequence[int]) -> list[int]:
    """A constant of whole numbers as a list."""
    return [int(each) for each in (values.flatten().tolist() if isinstance(values, Tensor) else values)]


def elementwise(**functions: Op) -> None:
    """Put functions into the table that take the inputs of an op in their order, not by name."""
    for name, function in functions.items():
        OPS[name] = lambda *, _function=function, **inputs: _function(*inputs.values())
