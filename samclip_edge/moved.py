"""Keeps modules and names importable that were moved before 0.1.0, with a warning, until 0.3."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Where the names of an old module are now. The first five are packages or modules still, of other contents.
HOMES = {
    "bundle": ("bundle.manifest", "bundle.folder", "bundle.writing"),
    "text": ("text.tokenizer", "text.names"),
    "export.export": ("export.targets.onnx", "model.names"),
    "runtimes.tensorrt": ("runtimes.tensorrt.session", "runtimes.tensorrt.library", "runtimes.tensorrt.__main__"),
    "train.data": ("train.data.batches", "train.data.sources"),
    "benchmarks.precision": ("export.costs",),
    "benchmarks.synthetic": ("accuracy.synthetic", "accuracy.measures"),
    "contract": ("bundle.contract",),
    "everything": ("tasks.everything",),
    "export.attention": ("export.forms.attention",),
    "export.builders": ("export.targets.tensorrt_builders", "export.options"),
    "export.channels_first": ("export.forms.channels_first",),
    "export.coreml": ("export.targets.coreml", "export.options"),
    "export.coreml_graphs": ("export.forms.neural_engine", "export.forms.vit"),
    "export.graphs": ("export.forms.fixed_size",),
    "export.onnx": ("export.targets.tracing", "export.weights", "export.precision.half"),
    "export.qdq": ("export.precision.qdq",),
    "export.quantize": ("export.precision.int8", "export.precision.choice"),
    "export.tensorrt": ("export.targets.tensorrt", "export.targets.tensorrt_script"),
    "export.typed": ("export.precision.half",),
    "graphs": ("bundle.sessions", "bundle.machine"),
    "image": ("photo.read", "photo.resize", "photo.frame"),
    "masks": ("photo.masks",),
    "pictures": ("photo.pictures",),
    "prompts": ("tasks.prompts", "encoded", "bundle.contract", "cli.question"),
    "runtimes.cuda": ("runtimes.tensorrt.cuda",),
    "runtimes.mil": ("runtimes.interpreters.mil", "runtimes.interpreters.steps"),
    "runtimes.mil_ops": ("runtimes.interpreters.mil_ops",),
    "spec": ("bundle.spec", "bundle.encoder_spec", "bundle.sizes", "bundle.presets"),
    "train.engine": ("train.trainer", "train.learner", "train.gradients"),
    "train.files": ("train.data.files", "files"),
    "train.prompts": ("train.data.prompts",),
    "train.regions": ("train.data.regions", "photo.masks"),
    "train.scenes": ("rendered",),
    "train.stored": ("train.data.stored",),
    "train.tasks": ("train.stages",),
    "verify": ("bundle.verify",),
    "words": ("text.words",),
}
RENAMED = {
    ("bundle", "Engines"): "BuiltEngines",
    ("export.export", "text_features"): "name_features",
    ("export.builders", "Options"): "TensorRTOptions",
    ("export.coreml", "Options"): "CoreMLOptions",
    ("export.coreml_graphs", "ImageEncoder"): "NeuralEngine",
    ("export.onnx", "halve"): "halve_weights",
    ("graphs", "Engine"): "SessionOptions",
    ("graphs", "Graphs"): "Sessions",
    ("text", "BACKGROUND"): "BACKGROUND_NAMES",
    ("train.engine", "Run"): "Trainer",
    ("train.regions", "MARGIN"): "CUT_OUT",
    ("train.scenes", "Scene"): "RenderedScene",
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
