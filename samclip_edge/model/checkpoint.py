"""Reads and writes checkpoints: our own safetensors files, which hold the model spec, and SAM's and OpenCLIP's weights.

Weights are untrusted input. Only tensors are read: from safetensors, or by `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from samclip_edge.bundle.manifest import Chances
from samclip_edge.bundle.spec import Frozen, ModelSpec
from samclip_edge.errors import InputError, one_line
from samclip_edge.model.merged import MergedModel, random_init, start_clip_head

State = dict[str, Tensor]
_KEY = "samclip_edge"


class Calibrated(Frozen):
    """How surely a model's names are right, as it was measured when its training ended; see `Calibration`."""

    rivals: tuple[str, ...] = Field(min_length=1)
    measured_on: str
    sizes: tuple[Chances, ...] = Field(min_length=1)


class Origin(Frozen):
    """Where the weights of a checkpoint came from."""

    trained: bool = False  # false for a model that was only put together from SAM and CLIP
    rendered: bool = False  # whether it was trained on rendered scenes
    note: str
    calibrated: Calibrated | None = None  # None: an export measures it on photos


def read_state(path: Path) -> State:
    """All tensors of a .safetensors or .pth/.pt/.bin file.

    Raises InputError when the file is missing, damaged, or a pickle that holds anything but tensors.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file; check the path")
    if _is_torchscript(path):
        convert = f"import torch; torch.save(torch.jit.load('{path}', 'cpu').state_dict(), 'clip.pt')"
        raise InputError(
            f"{path}: refused, a TorchScript archive holds code, as OpenAI's files of CLIP do; where you trust it, "
            f'convert it: python -c "{convert}"'
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({one_line(error)}); fetch it again") from None
    except Exception as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise InputError(
                f"{path}: refused, the pickle holds code or objects besides tensors; "
                "convert it to safetensors where you trust it"
            ) from None
        raise InputError(f"{path}: not a torch checkpoint ({one_line(error)}); fetch it again") from None
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise InputError(f"{path}: holds no state dict of tensors; pass the weights themselves")
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def load_exactly(model: torch.nn.Module, state: State, source: str) -> None:
    """Load a state dict that must have the model's keys and shapes. Raises InputError that lists what does not fit."""
    own = model.state_dict()
    faults = [
        *_listed("missing", own.keys() - state.keys()),
        *_listed("left over", state.keys() - own.keys()),
        *_listed("of another shape", (k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)),
    ]
    if faults:
        raise InputError(f"{source}: does not fit {type(model).__name__}; {'; '.join(faults)}")
    model.load_state_dict(state)


def _listed(what: str, keys: Iterable[str]) -> list[str]:
    found = sorted(keys)
    return [f"{len(found)} {what}: {', '.join(found)}"] if found else []


def load_sam(model: MergedModel, state: State, source: str) -> None:
    """Load SAM's state dict (`sam_vit_b_01ec64.pth`) into the image encoder, prompt encoder and mask decoder.

    source: its name in messages. Raises InputError when it does not fit.
    """
    parts = torch.nn.ModuleDict(
        {name: getattr(model, name) for name in ("image_encoder", "prompt_encoder", "mask_decoder")}
    )
    load_exactly(parts, state, source)


def load_clip(model: MergedModel, state: State, source: str) -> None:
    """Load the text tower from a whole OpenCLIP state dict, and the image tower (`visual.*`) if the model has one.

    A merged model has none: there CLIP's image tower is only the teacher. source: its name in messages. Raises
    InputError when the state dict does not fit.
    """
    text = {name: tensor for name, tensor in state.items() if not name.startswith("visual.") and name != "attn_mask"}
    load_exactly(model.text_encoder, text, source)
    if model.spec.clip_vision:
        visual = {name.removeprefix("visual."): each for name, each in state.items() if name.startswith("visual.")}
        load_exactly(model.visual, visual, source)


def build(
    spec: ModelSpec, seed: int = 0, sam: Path | None = None, clip: tuple[State, str] | None = None
) -> MergedModel:
    """Build the untrained model from random weights, then SAM's and CLIP's weights where given.

    The CLIP head starts from the last layer of SAM's encoder. sam: a SAM checkpoint. clip: an OpenCLIP state dict and
    its source. Raises InputError on keys that do not fit.
    """
    model = MergedModel(spec)
    random_init(model, seed)
    if sam is not None:
        load_sam(model, read_state(sam), str(sam))
    if clip is not None:
        load_clip(model, *clip)
    if not spec.clip_vision:
        start_clip_head(model)
    return model.eval()


def save(model: MergedModel, path: Path, origin: Origin, half: bool = False) -> Path:
    """Write a checkpoint under a temporary name, then rename it, so that it is never half written. Returns its path.

    half: store floating-point tensors as float16; `load` gives float32 again. Raises InputError when the file cannot be
    written.
    """
    metadata = {_KEY: json.dumps({"spec": model.spec.model_dump(), "origin": origin.model_dump()}), "format": "pt"}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        if half:
            state = {name: each.half() if each.is_floating_point() else each for name, each in state.items()}
        save_file(state, partial, metadata)
        os.replace(partial, path)
        return path
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({one_line(error)}); name another file") from None
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> tuple[MergedModel, Origin]:
    """Read one of our own checkpoints. Raises InputError when it is damaged or not one of ours."""
    spec, origin = read_spec(path)
    model = MergedModel(spec)
    load_exactly(model, read_state(path), str(path))
    return model.eval(), origin


def read_spec(path: Path) -> tuple[ModelSpec, Origin]:
    """What one of our own checkpoints says of itself, without its weights. Raises what `load` raises."""
    if path.is_file() and (path.suffix != ".safetensors" or zipfile.is_zipfile(path)):
        raise InputError(f"{path}: not a merged checkpoint; make one with `samclip-edge init --sam {path} -o FILE`")
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file; check the path")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({one_line(error)}); fetch it again") from None
    if text is None:
        raise InputError(f"{path}: carries no samclip-edge spec; make a checkpoint with `samclip-edge init`")
    try:
        metadata = json.loads(text)
        spec, origin = ModelSpec(**metadata["spec"]), Origin(**metadata["origin"])
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its spec cannot be read ({one_line(error)}); make it again") from None
    if "rendered" not in metadata["origin"]:  # older than the field: of trained models there was one
        origin = origin.model_copy(update={"rendered": origin.trained and spec.name == "tiny"})
    return spec, origin
