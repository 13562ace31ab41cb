"""Reads and writes checkpoints: our own safetensors files, which hold the model spec, and SAM's and OpenCLIP's weights.

Weights are untrusted input: `files.py` reads them.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from samclip_edge.bundle.encoder_spec import Frozen
from samclip_edge.bundle.manifest import Chances
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.spec import ModelSpec
from samclip_edge.bundle.weights import Weights
from samclip_edge.errors import InputError, one_line
from samclip_edge.files import replacing
from samclip_edge.json_files import parse_json
from samclip_edge.model import layouts, recognise
from samclip_edge.model.files import State, is_safetensors, read_tensors
from samclip_edge.model.fit import check, load_exactly
from samclip_edge.model.merged import MergedModel, random_init, start_clip_head

_KEY = "samclip_edge"
_TOKENIZER = "tokenizer.json"  # its text as a tensor of bytes, where the model has a tokenizer of its own
_AGAIN = "Make it again with this version's `samclip-edge init` or `train`"


class Calibrated(Frozen):
    """How surely a model's names are right, as it was measured when its training ended; see `Calibration`."""

    rivals: tuple[str, ...] = Field(min_length=1)
    measured_on: str
    sizes: tuple[Chances, ...] = Field(min_length=1)


class Origin(Frozen):
    """Where the weights of a checkpoint came from."""

    trained: bool = False  # false where names mean nothing yet, as the CLIP head was not trained
    rendered: bool = False  # whether it was trained on rendered scenes
    note: str
    calibrated: Calibrated | None = None  # None: an export measures it on photos
    # The input sizes that the image encoder was trained at; None: an older checkpoint, which does not say.
    trained_at: tuple[Size, ...] | None = None
    weights: tuple[Weights, ...] = ()  # of others, that it is made of; older checkpoints do not say


def read_state(path: Path) -> State:
    """All tensors of SAM's or CLIP's file, their names without the wrappers that trainings put before them.

    Raises InputError when the file is missing, damaged, of another format, or a pickle that holds code.
    """
    return layouts.unwrapped(read_tensors(path))


def load_sam(model: MergedModel, state: State, source: str) -> None:
    """Load SAM's state dict (`sam_vit_b_01ec64.pth`) into the image encoder, prompt encoder and mask decoder.

    It may have the layout of Hugging Face transformers. source: its name in messages. Raises InputError when it does
    not fit.
    """
    encoder = {f"image_encoder.{prefix}": part for prefix, part in model.image_encoder.of_sam().items()}
    parts = {**encoder, "prompt_encoder.": model.prompt_encoder, "mask_decoder.": model.mask_decoder}
    public = recognise.public_sam(model.spec.encoder)
    mend = f"Pass {public}" if public else "No public SAM fits: leave it out, or pass one of the same widths"
    what, state = recognise.of_tensors(state), layouts.as_sam(state, source)
    fitting = recognise.preset_of_sam(state)
    if fitting and PRESETS[fitting].encoder != model.spec.encoder:
        mend = f"{mend}, or build the preset {fitting}, which takes this file"
    own = ("prompt_encoder.", "mask_decoder.", *encoder)
    state = {
        name: each for name, each in state.items() if name.startswith(own) or not name.startswith("image_encoder.")
    }
    load_exactly(parts, state, source, what, f"the preset {model.spec.name}", mend)


def load_clip(model: MergedModel, state: State, source: str) -> None:
    """Load the text tower from a whole CLIP state dict, and the image tower (`visual.*`) if the model has one.

    A merged model has none: there CLIP's image tower is only the teacher. The state dict is OpenCLIP's, OpenAI's or of
    Hugging Face transformers. source: its name in messages. Raises InputError when it does not fit.
    """
    what, spec = recognise.of_tensors(state), model.spec
    state = layouts.one_tower(layouts.as_open_clip(state))
    tower = None if spec.clip_vision is None else tuple(map(spec.clip_vision.tower.get, ("width", "patch_size")))
    public = [
        name
        for name, (width, patch, text) in recognise.CLIPS.items()
        if text == spec.text.width and tower in (None, (width, patch))
    ]
    mend = (
        f"Pass a CLIP {public[0]}, from open_clip, OpenAI or transformers, or say which other the file is (MODEL:FILE)"
        if public
        else "No public CLIP fits: leave it out, or pass one of the same widths"
    )
    parts: dict[str, torch.nn.Module] = {"": model.text_encoder}
    if spec.clip_vision:
        parts["visual."] = model.visual
    else:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("visual.")}
    load_exactly(parts, state, source, what, f"the preset {spec.name}", mend)


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = model.state_dict()
        if model.own_tokenizer is not None:
            state[_TOKENIZER] = torch.frombuffer(bytearray(model.own_tokenizer.encode()), dtype=torch.uint8)
        if half:
            state = {name: each.half() if each.is_floating_point() else each for name, each in state.items()}
        with replacing(path) as partial:
            partial.touch()
            mode = partial.stat().st_mode  # as the user wants new files; safetensors writes one that only they can read
            save_file(_apart(state), partial, metadata)
            partial.chmod(mode)
        return path
    # SafetensorError where it is safetensors that meets a full disk, ValueError for a name with a NUL
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path}: cannot be written ({one_line(error)}); name another file") from None


def _apart(state: State) -> State:
    """The tensors as safetensors writes them: each whole, and none in the memory of another."""
    apart, taken = {}, set()
    for name, tensor in state.items():
        tensor = tensor.contiguous()
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return apart


def load(path: Path) -> tuple[MergedModel, Origin]:
    """Read one of our own checkpoints. Raises InputError when it is damaged or not one of ours."""
    spec, origin = read_spec(path)
    state = read_tensors(path)
    tokenizer = state.pop(_TOKENIZER, None)
    about = str(path), recognise.of_tensors(state), "the model of its own spec", _AGAIN
    with torch.device("meta"):  # a spec may claim more memory than there is
        check({"": MergedModel(spec)}, state, *about)
    model = MergedModel(spec)
    load_exactly({"": model}, state, *about)
    if tokenizer is not None:
        model.own_tokenizer = bytes(tokenizer.to(torch.uint8).numpy()).decode("utf-8", "replace")
    if spec.text.tokenizer == "own":
        try:
            model.tokenizer()
        except Exception as error:  # the tokenizers library raises plain Exception
            raise InputError(f"{path}: its tokenizer cannot be read ({one_line(error)}); {_AGAIN}") from None
    return model.eval(), origin


def read_spec(path: Path) -> tuple[ModelSpec, Origin]:
    """What one of our own checkpoints says of itself, without its weights. Raises what `load` raises."""
    if not is_safetensors(path):
        raise InputError(f"{path}: not a merged checkpoint; `samclip-edge init` makes one of SAM's and CLIP's weights")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({one_line(error)}); fetch it again") from None
    if text is None:
        raise InputError(f"{path}: carries no samclip-edge spec; make a checkpoint with `samclip-edge init`")
    try:
        metadata = parse_json(text)
        spec, origin = ModelSpec(**metadata["spec"]), Origin(**metadata["origin"])
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: its spec cannot be read ({one_line(error)}); make it again") from None
    if "rendered" not in metadata["origin"]:  # older than the field: of trained models there was one
        origin = origin.model_copy(update={"rendered": origin.trained and spec.name == "tiny"})
    if origin.trained and "trained_at" not in metadata["origin"]:  # older too: each stage trained at sizes of the spec
        origin = origin.model_copy(update={"trained_at": spec.sizes})
    return spec, origin
