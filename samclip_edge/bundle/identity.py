"""Which model a bundle holds, whatever target and precision it was exported for."""

from __future__ import annotations

from typing import Any

import numpy as np

from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sizes import Size

_NEAR = 1e-3  # over the deviation: references of one model exported on two machines are nearer than this


def identity(bundle: Bundle, size: Size) -> dict[str, Any]:
    """By what a model is known, whatever it was exported for: torch's answers to the probe, which ride in a bundle."""
    graph = bundle.graph("image_encoder" if bundle.manifest.spec.clip_vision else "clip_head", size)
    return {name: {"std": each.std, "values": list(each.values)} for name, each in graph.reference.items()}


def same_model(theirs: Any, ours: dict[str, Any]) -> bool:
    """Whether two identities, the first of them read from anywhere, are of one model."""
    try:
        return theirs.keys() == ours.keys() and all(
            np.allclose(theirs[name]["values"], each["values"], rtol=0, atol=_NEAR * each["std"])
            for name, each in ours.items()
        )
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
        return False
