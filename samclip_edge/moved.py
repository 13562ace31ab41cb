"""Modules and names as they were called before the rooms. Until 0.3 older programs import them, with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Where the names of an old module are now. The first three are packages or modules still, of other contents.
HOMES = {
    "bundle": ("bundle.manifest", "bundle.folder"),
    "text": ("text.tokenizer", "text.names"),
    "export.export": ("export.targets.onnx",),
    "contract": ("bundle.contract",),
    "everything": ("tasks.everything",),
    "export.coreml": ("export.targets.coreml",),
    "export.tensorrt": ("export.targets.tensorrt",),
    "formats": ("photo.formats",),
    "graphs": ("bundle.sessions", "bundle.machine"),
    "image": ("photo.read", "photo.resize", "photo.frame"),
    "masks": ("photo.masks",),
    "pictures": ("photo.pictures",),
    "prompts": ("tasks.prompts", "encoded", "bundle.contract"),
    "spec": ("bundle.spec",),
    "verify": ("bundle.verify",),
    "words": ("text.words",),
}
RENAMED = {
    ("bundle", "Engines"): "BuiltEngines",
    ("export.coreml", "Options"): "CoreMLOptions",
    ("graphs", "Engine"): "SessionOptions",
    ("graphs", "Graphs"): "Sessions",
    ("text", "BACKGROUND"): "BACKGROUND_NAMES",
}
_PACKAGE = "samclip_edge"


def old_names(module: str) -> Callable[[str], Any]:
    """A `__getattr__` for a module of ours: the names that it had before. module: its full name."""
    old = module.removeprefix(f"{_PACKAGE}.")

    def find(name: str) -> Any:
        new = RENAMED.get((old, name), name)
        for home in HOMES[old] if not name.startswith("_") else ():
            found = getattr(import_module(f"{_PACKAGE}.{home}"), new, None)
            if found is not None:
                told = f"{module}.{name} is {_PACKAGE}.{home}.{new} now; the old name goes in 0.3"
                warnings.warn(told, DeprecationWarning, stacklevel=2)
                return found
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


class OldModules(MetaPathFinder, Loader):
    """Finds the modules that are no more. Python asks it last."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """See `importlib`."""
        known = fullname.removeprefix(f"{_PACKAGE}.") in HOMES and fullname.startswith(f"{_PACKAGE}.")
        return ModuleSpec(fullname, self) if known else None

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib`: its names are looked up when they are asked for."""
        module.__getattr__ = old_names(module.__name__)  # type: ignore[method-assign]


def install() -> None:
    """Have Python ask for them, once."""
    if not any(isinstance(each, OldModules) for each in sys.meta_path):
        sys.meta_path.append(OldModules())
