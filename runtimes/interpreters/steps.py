"""Compares the ops of an ML Program with their answers at export, to name the op where a fault begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samclip_edge.bundle.contract import Arrays, sample
from samclip_edge.bundle.manifest import Graph, Step
from samclip_edge.runtimes.interpreters.mil import MilSession

SAMPLES = 16  # how many numbers of an op's answer are kept
SLACK = 4.0  # an op may be off by this many times its error at export


def first_off(path: Path, graph: Graph, inputs: Arrays, steps: Mapping[str, Step]) -> str | None:
    """Says which op is the first whose answer to the probe is not what it was at export; None if there is none.

    An op may be off by `SLACK` times its error at export, and on top of that by the rounding of its type.
    """
    left = dict(steps)
    found: list[str] = []

    def watch(operation: Any, name: str, value: torch.Tensor) -> None:
        step = left.pop(name, None)
        if found:
            return
        at = f"{operation.op_type} {name!r}"
        if step is None:
            found.append(f"{at}: was not there at export")
        elif step.op != operation.op_type:
            found.append(f"{at}: was a {step.op} at export")
        else:
            error = distance(step.std, step.values, value)
            floor = 4e-3 if value.dtype == torch.float16 else 1e-4  # another machine may add in another order
            if error > SLACK * step.error + floor:
                found.append(f"{at}: error {error:.1e}, at export {step.error:.1e}")

    MilSession(path, graph).program(inputs, watch)
    if not found and left:
        found.append(f"{next(iter(left.values())).op} {next(iter(left))!r}: is gone since the export")
    return found[0] if found else None


def distance(std: float, values: Sequence[float], got: torch.Tensor) -> float:
    """The largest difference of a tensor's samples from `values`, over `std`; infinite if a sample is not finite."""
    wanted, ours = np.array(values), sample(got.float().numpy(), SAMPLES)
    if wanted.shape != ours.shape or not np.isfinite(ours).all():
        return float("inf")
    return float(np.abs(wanted - ours).max()) / (std or 1.0)
