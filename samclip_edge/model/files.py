"""Reads the tensors of a file of weights that is not to be trusted: safetensors, or what `torch.save` wrote.

What a file is, its bytes say and not its name. Only tensors and plain data are unpickled: by `weights_only=True`.
"""

from __future__ import annotations

import argparse
import os
import re
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from samclip_edge.errors import InputError, one_line
from samclip_edge.model import recognise

State = dict[str, Tensor]

# Where programs keep a model's state dict beside the state of its training.
_INSIDE = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "sam")

# What holds plain data and runs nothing, as the arguments of a training do, beside what torch itself lets through.
# Paths are read as pure ones, which every system can make of those of another.
_PLAIN: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *(argparse.Namespace, defaultdict, dict, list, int),
    *((PurePosixPath, f"pathlib.{module}PosixPath") for module in ("", "_local.")),
    *((PureWindowsPath, f"pathlib.{module}WindowsPath") for module in ("", "_local.")),
]


def read_tensors(path: Path) -> State:
    """All tensors of a file, under the names that it gives them; of a training's checkpoint those of its model.

    Raises InputError when the file is missing, damaged, of another format, a pickle that holds more than tensors and
    plain data, or when its tensors cannot be used as weights.
    """
    safe = is_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of what it then refuses or of its own changes
            loaded = load_file(path) if safe else _unpickled(path)
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({one_line(error)}); fetch it again") from None
    except Exception as error:  # torch raises whatever it meets
        raise _unreadable(path, error) from None
    state = _weights_in(loaded)
    if not state:
        held = f"it holds {', '.join(str(key)[:40] for key in list(loaded)[:3])}" if isinstance(loaded, dict) else ""
        raise InputError(f"{path}: holds no state dict of tensors{held and f' ({held})'}; pass the weights themselves")
    _check(path, state)
    return {name: tensor.detach() for name, tensor in state.items()}


def _unpickled(path: Path) -> Any:
    with torch.serialization.safe_globals(_PLAIN), open(path, "rb") as file:  # by a path, its suffix would count
        return torch.load(file, map_location="cpu", weights_only=True)


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors; if not, torch may be able to read it.

    Raises InputError when there is no such file, and for one that neither can read. It says what that is.
    """
    if os.path.isdir(path):
        raise _other(path, recognise.of_folder(path))
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such checkpoint file; check the path")
    try:
        with open(path, "rb") as file:
            head = file.read(recognise.SNIFFED)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); check the file") from None
    if recognise.is_safetensors(head):
        return True
    other = recognise.of_bytes(head)
    if other is None and head.startswith(b"PK"):
        other = _zipped(path)
    elif other is None and not head.startswith(b"\x80"):  # as every pickle does that torch writes
        other = recognise.Container("no file of weights that is known here", "fetch it again, or pass another")
    if other:
        raise _other(path, other)
    return False


def _other(path: Path, other: recognise.Container) -> InputError:
    return InputError(f"{path}: {other.what}; {other.mend}")


def _zipped(path: Path) -> recognise.Container | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return recognise.Container("a zip archive that is damaged or ends too soon", "fetch it again")
    if any(name.endswith("/constants.pkl") for name in names):
        convert = f"import torch; torch.save(torch.jit.load('{path}', 'cpu').state_dict(), 'clip.pt')"
        return recognise.Container(
            "refused, a TorchScript archive holds code, as OpenAI's files of CLIP do",
            f'where you trust it, convert it: python -c "{convert}"',
        )
    return recognise.of_zip(names)


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError):
        return InputError(f"{path}: cannot be read ({one_line(error)}); check the file")
    text = str(error)
    named = re.search(r"GLOBAL ([\w.]+)", text)
    if named or "weights_only" in text:
        held = named[1] if named else "more than plain data, or is damaged"
        return InputError(
            f"{path}: refused, the pickle holds {held}, and to load that is to run code; where you trust it, save only "
            "the state dict, best as safetensors"
        )
    return InputError(f"{path}: not a whole torch checkpoint ({one_line(error)}); fetch it again")


def _weights_in(loaded: Any, depth: int = 4) -> dict[Any, Tensor]:
    """The state dict in what was unpickled: a level deeper where a model's is kept apart from a training's."""
    if not isinstance(loaded, dict) or not depth:
        return {}
    for key in _INSIDE:
        if found := _weights_in(loaded.get(key), depth - 1):
            return found
    return {name: each for name, each in loaded.items() if isinstance(each, Tensor)}


def _check(path: Path, state: dict[Any, Tensor]) -> None:
    """Raise InputError for tensors without a name, and for those that are no plain arrays of numbers."""
    size = os.path.getsize(path)
    for name, each in state.items():
        if not isinstance(name, str):
            raise InputError(f"{path}: names a tensor {str(name)[:40]}, which is no text; pass a module's state dict")
        kind = (
            ("a sparse tensor" if each.layout is not torch.strided else "")
            or ("quantised" if each.is_quantized else "")
            or ("nested" if each.is_nested else "")
            or ("without values (on torch's meta device)" if each.is_meta else "")
        )
        if kind:
            raise InputError(f"{path}: {name} is {kind}; save the weights as dense floating-point tensors")
        if each.numel() > size:  # a view that repeats its values, which a copy would write out
            raise InputError(f"{path}: {name} claims {each.numel()} values, more than the file has; fetch it again")
