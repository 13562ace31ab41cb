"""One photo in, masks and names out, from one encoder (SAM-CLIP, arXiv 2310.15308)."""

from importlib import import_module
from typing import Any

from samclip_edge import moved

__version__ = "0.1.0"
__all__ = ["InputError", "Library", "Mask", "SamClip", "Scene", "__version__"]

# Imported on first use, so that `samclip-edge --help` pays for none of it. `__init__.pyi` tells type checkers the same.
_HOME = {
    "InputError": "errors",
    "Library": "library.library",
    "Mask": "photo.masks",
    "SamClip": "pipeline",
    "Scene": "scene",
}

moved.install()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
