"""What open_clip says of its models: the towers, what photos and texts go through before them, and the tokenizer.

Only configurations are read here. Nothing is fetched, but for the tokenizer of weights that are named by a tag.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec, ModelSpec, TextSpec
from samclip_edge.errors import InputError, one_line
from samclip_edge.json_files import read_json
from samclip_edge.text.own_tokenizer import as_bundled

log = logging.getLogger(__name__)

_CONFIG = "open_clip_config.json"  # which lies beside the weights on a model's hub page
# What our own text tower can be, of `open_clip.model.CLIPTextCfg`. `eos_id` counts where `pool_type` is "eos".
_SIZES = {"width": 512, "heads": 8, "layers": 12, "vocab_size": 49408, "context_length": 77}
_READ = {"mlp_ratio", "no_causal_mask", "pool_type", "eos_id", "pad_id", "proj_type", "proj_bias", "norm_kwargs"}
_READ |= {"act_kwargs", "hf_tokenizer_name", "tokenizer_kwargs"}


class Clip(NamedTuple):
    """A model of open_clip, as data."""

    vision: ClipVisionSpec | None  # None: not asked for
    text: TextSpec
    features: int
    tokenizer: str | None  # the text of its `tokenizer.json`, where that is not CLIP's


def side_by_side(base: str, clip: str = "ViT-B-16", weights: str = "") -> ModelSpec:
    """The spec of a base's SAM beside a model of open_clip.

    base: the name of a preset. clip: the model's name. weights: see `described`. Raises InputError for a model that
    cannot be built.
    """
    return beside(base, described(clip, weights))


def beside(base: str, clip: Clip) -> ModelSpec:
    """The spec of a base's SAM beside a CLIP, at the largest of the base's squares."""
    changed = {"name": "sam+clip", "clip_vision": clip.vision, "text": clip.text, "features": clip.features}
    return PRESETS[base].model_copy(update={**changed, "sizes": PRESETS[base].squares[-1:]})


def described(model: str, weights: str = "", argument: str = "clip", sees: bool = True) -> Clip:
    """What open_clip says of a model by its name, such as ViT-B-32.

    weights: the file of its weights, or a tag of open_clip. How photos are prepared depends on them: it stands in the
    `open_clip_config.json` beside a file, or else in open_clip's list of tags. A tokenizer that is not CLIP's is the
    `tokenizer.json` beside the file. argument: what gave the name, for messages. sees: whether the image tower is asked
    for. Raises InputError for a model that open_clip does not know, and for one that cannot be built here.
    """
    import open_clip

    config = open_clip.get_model_config(model)
    if config is None:
        raise InputError(f" {model}: open_clip knows no such model; see open_clip.list_models()", argument)
    quick = bool(config.get("quick_gelu"))
    text = _text(model, config, quick, argument)
    tokenizer = None
    if text.tokenizer == "own" and weights:
        tokenizer = as_bundled(_tokenizer_folder(model, weights, config, argument), text, f" {model}", argument)
    vision = _vision(model, config, weights, argument) if sees else None
    return Clip(vision, text, int(config["embed_dim"]), tokenizer)


def _vision(model: str, config: dict[str, Any], weights: str, argument: str) -> ClipVisionSpec:
    tower = dict(config["vision_cfg"])
    size = tower.get("image_size", 224)
    if not isinstance(size, int):
        if len(set(size)) != 1:
            raise InputError(f" {model}: sees photos that are no squares, {tuple(size)}; choose another", argument)
        size = int(size[0])
    shown = _preprocessing(model, weights)
    resize, interpolation = shown["resize_mode"], shown["interpolation"]
    if interpolation == "random":  # only in training; then open_clip itself takes this
        interpolation = "bicubic"
    try:
        mean, std = (tuple(round(255.0 * each, 9) for each in shown[name]) for name in ("mean", "std"))
        return ClipVisionSpec(tower=tower, size=size, mean=mean, std=std, resize=resize, interpolation=interpolation)
    except (TypeError, ValueError) as error:  # pydantic's is a ValueError
        where = f" {model}: what {_CONFIG} beside {weights} says of photos"
        raise InputError(f"{where} cannot be followed ({one_line(error)}); fetch it again", argument) from None


def _preprocessing(model: str, weights: str) -> dict[str, Any]:
    """`open_clip.transform.PreprocessCfg` as a dict, for these weights."""
    import open_clip

    default = {
        **{"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD},
        **{"resize_mode": "shortest", "interpolation": "bicubic"},
    }

    def over(said: dict[str, Any]) -> dict[str, Any]:
        return {name: default[name] if said.get(name) is None else said[name] for name in default}

    file = Path(weights).parent / _CONFIG
    if weights and os.path.isfile(weights) and file.is_file():
        try:
            return over(read_json(file, strict=False)["preprocess_cfg"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: says nothing of photos ({one_line(error)}); fetch it again") from None
    tags = open_clip.list_pretrained_tags_by_model(model)
    if weights in tags:
        return over(open_clip.get_pretrained_cfg(model, weights))
    found = [over(open_clip.get_pretrained_cfg(model, tag)) for tag in tags]
    first = found[0] if found else default
    if all(each == first for each in found):
        return first
    log.warning(
        "%s: its public weights differ in how photos are prepared; as OpenAI's, unless %s lies beside the file",
        model,
        _CONFIG,
    )
    return default


def _text(model: str, config: dict[str, Any], quick: bool, argument: str) -> TextSpec:
    given = {name: value for name, value in config["text_cfg"].items() if value not in (None, False)}
    sizes = {name: int(given.get(name, number)) for name, number in _SIZES.items()}
    pool, how = given.get("pool_type", "argmax"), dict(given.get("tokenizer_kwargs", {}))
    clean = how.pop("clean", "whitespace" if "hf_tokenizer_name" in given else "lower")
    act, norm = dict(given.get("act_kwargs", {})), dict(given.get("norm_kwargs", {}))
    tanh, eps = act.pop("approximate", None) == "tanh", norm.pop("eps", 1e-5)
    own = "hf_tokenizer_name" in given
    strange = [*sorted(given.keys() - _SIZES.keys() - _READ), *act, *norm, *how]
    if "multimodal_cfg" in config:
        raise InputError(f" {model}: is a CoCa, whose text tower cannot be built here; choose another", argument)
    if "hf_model_name" in given:
        what = f"is of Hugging Face transformers ({given['hf_model_name']})"
        raise InputError(f" {model}: its text tower {what}, which cannot be built here; choose another", argument)
    if config.get("nonscalar_logit_scale"):
        strange.append("nonscalar_logit_scale")
    if pool not in ("argmax", "last", "eos") or (pool == "argmax" and own):
        strange.append(f"pool_type {pool}")
    if strange:
        what = f"has {', '.join(strange)}"
        raise InputError(f" {model}: its text tower {what}, which cannot be built here; choose another", argument)
    width = sizes["width"]
    hidden = int(width * given.get("mlp_ratio", 4.0))
    linear = "linear" if given.get("proj_bias") else "matrix"
    return TextSpec(
        width=width,
        depth=sizes["layers"],
        heads=sizes["heads"],
        vocab=sizes["vocab_size"],
        context=sizes["context_length"],
        activation="quick_gelu" if quick else "gelu_tanh" if tanh else "gelu",
        mlp=None if hidden == 4 * width else hidden,
        eps=eps,
        causal=not given.get("no_causal_mask"),
        pool="last" if pool == "last" else "end",
        end=int(given.get("eos_id", 2)) if pool == "eos" else None,
        projection="none" if given.get("proj_type") == "none" else linear,  # type: ignore[arg-type]
        sigmoid=config.get("init_logit_bias") is not None,
        tokenizer="own" if own else "clip",
        clean=clean,
    )


def _tokenizer_folder(model: str, weights: str, config: dict[str, Any], argument: str) -> Path:
    """The folder with the `tokenizer.json` of a model: that of its weights, or what open_clip would fetch for a tag."""
    name = config["text_cfg"]["hf_tokenizer_name"]
    if os.path.isfile(weights):
        folder = Path(weights).parent
        if not (folder / "tokenizer.json").is_file():
            raise InputError(
                f" {model}: has a tokenizer of its own; put tokenizer.json and tokenizer_config.json of {name} "
                f"beside {weights}",
                argument,
            )
        return folder
    import open_clip

    try:
        for each in ("tokenizer_config.json", "tokenizer.json"):
            fetched = open_clip.download_pretrained_from_hf(name, filename=each)
    except Exception as error:  # huggingface_hub raises whatever it meets
        raise InputError(
            f" {model}: its tokenizer could not be fetched ({one_line(error)}); name a file of its weights, with "
            "tokenizer.json beside it",
            argument,
        ) from None
    return Path(fetched).parent
