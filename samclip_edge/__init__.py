"""One photo in, masks and names out, from one encoder (SAM-CLIP, arXiv 2310.15308)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samclip_edge.errors import InputError
    from samclip_edge.photo.masks import Mask
    from samclip_edge.pipeline import SamClip, Scene

__version__ = "0.1.0"
__all__ = ["InputError", "Mask", "SamClip", "Scene", "__version__"]

_HOME = {"InputError": "errors", "Mask": "photo.masks", "SamClip": "pipeline", "Scene": "pipeline"}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `samclip-edge --help` pays for none of it.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
