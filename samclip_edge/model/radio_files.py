"""Reads C-RADIO from a folder that holds what its hub page does: config.json, and safetensors in one file or several.

No released file has been read with this yet. The names of the trunk are those that transformers renames when it loads
a released file. Those of the adaptors follow the documents of RADIO: each has two MLPs, `head_mlp` for the summary and
`feat_mlp` for the patches. Sizes are those of the tensors.
"""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from torch import Tensor, nn

from samclip_edge.bundle.encoder_spec import AdaptorSpec, RadioSpec
from samclip_edge.bundle.spec import AdaptorHeadSpec, ModelSpec
from samclip_edge.errors import InputError, one_line
from samclip_edge.json_files import read_json
from samclip_edge.model.files import State, is_safetensors, read_tensors
from samclip_edge.model.fit import load_exactly
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.radio import Encoder

log = logging.getLogger(__name__)

# Names of the files, and ours. NAME stands for an adaptor's name, HEAD and FEATURES for what its two MLPs are called.
_TRUNK = (
    (r"^(radio_model\.)?model\.patch_generator\.", "image_encoder.patch_generator."),
    (r"^(radio_model\.)?model\.blocks\.", "image_encoder.blocks."),
    (r"^(radio_model\.)?input_conditioner\.", "input_conditioner."),
)
_ADAPTOR = r"^(?:radio_model\.)?adaptors\.{name}\.(?:{part})\."
_HEAD, _FEATURES = "head_mlp|summary", "feat_mlp|feature"
_ANY_ADAPTOR = re.compile(_ADAPTOR.format(name=r"([^.]+)", part=f"{_HEAD}|{_FEATURES}"))
_PICKLES = (".bin", ".pth", ".pt", ".pth.tar", ".ckpt")
_HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16}  # of the ViTs that RADIO comes in, by their width


class Radio(NamedTuple):
    """C-RADIO as it was read: the parts of a model's spec that it decides, and its weights under the model's names."""

    encoder: RadioSpec
    clip_head: AdaptorHeadSpec
    features: int  # E of its text adaptor
    adaptor: str  # the name of that adaptor
    state: State
    source: str

    def spec(self, base: ModelSpec) -> ModelSpec:
        """The spec `base` with the parts that were read. Raises InputError where its text tower has another width."""
        if base.features != self.features:
            raise InputError(
                f"{self.source}: its adaptor {self.adaptor} makes {self.features} features, and the text tower makes "
                f"{base.features}; pass the text tower of the CLIP that taught it"
            )
        head = self.clip_head.model_copy(update={"max_grid": base.clip_head.max_grid})
        return base.model_copy(update={"encoder": self.encoder, "clip_head": head})

    def load(self, model: MergedModel) -> None:
        """Put the weights into a model of `spec`. Raises InputError for what does not fit."""
        encoder = model.image_encoder
        assert isinstance(encoder, Encoder)
        parts: dict[str, nn.Module] = {
            "image_encoder.patch_generator.": encoder.patch_generator,
            "image_encoder.blocks.": encoder.blocks,
            "image_encoder.sam_adaptor.": encoder.sam_adaptor,
            "clip_head.": model.clip_head,
        }
        mend = "Pass a C-RADIO with patches of 16 pixels, as its hub page has it"
        load_exactly(parts, self.state, self.source, "a C-RADIO", f"the preset {model.spec.name}", mend)


def read_radio(folder: Path, clip: str = "ViT-H-14-378-quickgelu") -> Radio:
    """Read C-RADIO from its folder. clip: the open_clip model whose text tower goes with it; it decides the adaptor.

    Raises InputError where config.json, the weights, or the adaptors of SAM and of the text are not there.
    """
    config = _config(folder)
    tensors = _tensors(folder)
    teachers = _teachers(folder, config)
    state: State = {}
    for name, tensor in tensors.items():
        for pattern, ours in _TRUNK:
            if re.match(pattern, name):
                state[re.sub(pattern, ours, name)] = tensor
    text = _text_adaptor(folder, teachers, clip)
    head, features = _adaptor(folder, tensors, text, _HEAD, "clip_head.adaptor.")
    sam, out = _adaptor(folder, tensors, "sam", _FEATURES, "image_encoder.sam_adaptor.")
    mean, std = (_pixels(state.pop(f"input_conditioner.norm_{what}", None)) for what in ("mean", "std"))
    tokens, width = _shape(folder, state, "cls_token.token", 2)
    positions = _shape(folder, state, "pos_embed", 3)[1]
    depth = len({name.split(".")[2] for name in state if name.startswith("image_encoder.blocks.")})
    names = [teacher["name"] for teacher in teachers]
    per_teacher = config.get("args", {}).get("cls_token_per_teacher", True)
    try:
        encoder = RadioSpec(
            trunk=width,
            depth=depth,
            heads=_HEADS.get(width, max(1, width // 64)),
            grid=math.isqrt(positions),
            prefix=tokens,
            summary=names.index(text) if per_teacher else 0,
            sam=AdaptorSpec(hidden=_hidden(sam), blocks=_blocks(sam), out=out),
            mean=mean,
            std=std,
        )
        clip_head = AdaptorHeadSpec(hidden=_hidden(head), blocks=_blocks(head))
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise InputError(f"{folder}: is no C-RADIO that is known here ({why}); fetch it again") from None
    return Radio(encoder, clip_head, features, text, {**state, **head, **sam}, str(folder))


def _config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises InputError for one that is missing, damaged, or asks for what is not built."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise InputError(f" {folder}: no such folder; pass that of C-RADIO's hub page", "radio")
    try:
        config = read_json(path, strict=False)
    except OSError:
        raise InputError(f"{folder}: holds no config.json; pass the folder of C-RADIO's hub page") from None
    except ValueError as error:
        raise InputError(f"{path}: is no JSON ({one_line(error)}); fetch it again") from None
    if not isinstance(config, dict) or not isinstance(config.get("args", {}), dict):
        raise InputError(f"{path}: is not the config of a C-RADIO; pass the folder of its hub page")
    for field in ("vitdet_window_size", "feature_normalizer_config"):
        if config.get(field):
            raise InputError(f"{path}: sets {field}, which is not built here; set it to null to do without")
    return config


def _teachers(folder: Path, config: dict[str, Any]) -> list[dict[str, Any]]:
    """The models that taught it, one for each name, in the order of their cls tokens."""
    listed = config.get("args", {}).get("teachers")
    named = isinstance(listed, list) and all(isinstance(each, dict) and "name" in each for each in listed)
    if not listed or not named:
        raise InputError(f"{folder / 'config.json'}: lists no args.teachers with names; fetch it again")
    teachers: dict[str, dict[str, Any]] = {}
    for each in listed:
        teachers.setdefault(str(each["name"]), {**each, "name": str(each["name"])})
    return list(teachers.values())


def _text_adaptor(folder: Path, teachers: list[dict[str, Any]], clip: str) -> str:
    """The name of the adaptor that was taught by an open_clip model, or by one of its family."""
    exact = [each["name"] for each in teachers if each.get("model") == clip]
    family = "siglip" if "siglip" in clip.lower() else "clip"
    alike = [each["name"] for each in teachers if each["name"].startswith(family)]
    if not exact + alike:
        names = ", ".join(each["name"] for each in teachers)
        raise InputError(f"{folder}: has no text adaptor for {clip}; it was taught by {names}")
    if not exact:
        taught = next(each for each in teachers if each["name"] == alike[0]).get("model", "another model")
        log.warning("%s: its adaptor %s was taught by %s; names need that text tower", folder, alike[0], taught)
    return str((exact + alike)[0])


def _tensors(folder: Path) -> State:
    """All tensors of the folder's safetensors: of every such file, and those that its index lists must be there."""
    index = folder / "model.safetensors.index.json"
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    if index.exists():
        try:
            files = sorted({*files, *read_json(index)["weight_map"].values()})
            bad = [file for file in files if Path(file).name != file]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{index}: cannot be read ({one_line(error)}); fetch it again") from None
        if bad:
            raise InputError(f"{index}: names {bad[0]}, which is no file beside it; fetch it again")
    if not files:
        pickles = sorted(path.name for path in folder.iterdir() if path.name.endswith(_PICKLES))
        what = f"no safetensors, and {pickles[0]} is a pickle, which is not read" if pickles else "no safetensors"
        raise InputError(f"{folder}: holds {what}; fetch model.safetensors of C-RADIO's hub page")
    tensors: State = {}
    for file in files:
        path = folder / file
        if not is_safetensors(path):
            raise InputError(f"{path}: is a pickle, which is not read; fetch the safetensors of C-RADIO's hub page")
        found = read_tensors(path)
        if twice := sorted(found.keys() & tensors.keys()):
            raise InputError(f"{path}: holds {twice[0]}, as another file beside it does; keep one of them")
        tensors |= found
    return tensors


def _adaptor(folder: Path, tensors: State, name: str, part: str, prefix: str) -> tuple[State, int]:
    """The tensors of an adaptor's MLP under `prefix`, and how many features it makes."""
    pattern = re.compile(_ADAPTOR.format(name=re.escape(name), part=part))
    found = {pattern.sub(prefix, key): tensor for key, tensor in tensors.items() if pattern.match(key)}
    if not found:
        names = sorted({match[1] for match in map(_ANY_ADAPTOR.match, tensors) if match})
        held = f"only those of {', '.join(names)}" if names else "none at all: its safetensors hold the trunk alone"
        raise InputError(
            f"{folder}: holds no {part.split('|')[0]} of the adaptor {name}, {held}; add a safetensors file that has it"
        )
    return found, _shape(folder, found, "final.2.weight", 2)[0]


def _shape(folder: Path, state: State, ending: str, dimensions: int) -> tuple[int, ...]:
    """The shape of the one tensor whose name ends so."""
    found = [tuple(tensor.shape) for name, tensor in state.items() if name.endswith(ending)]
    if len(found) != 1 or len(found[0]) != dimensions or not all(found[0]):
        raise InputError(f"{folder}: has no {ending} of {dimensions} dimensions; pass the folder of C-RADIO's hub page")
    return found[0]


def _hidden(adaptor: State) -> int:
    return next((len(tensor) for name, tensor in adaptor.items() if name.endswith("fc1.bias")), 0)


def _blocks(adaptor: State) -> int:
    return len({match[1] for match in (re.search(r"\.blocks\.(\d+)\.", name) for name in adaptor) if match})


def _pixels(values: Tensor | None) -> tuple[float, float, float] | None:
    """A mean or deviation of pixels, 0..1 in the file, as 0..255."""
    if values is None or values.numel() != 3:
        return None
    red, green, blue = (255 * values.flatten().double()).tolist()
    return red, green, blue
