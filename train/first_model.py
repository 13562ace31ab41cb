"""The model that the first stage of a task begins with: random weights, published ones, and those of the teachers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.weights import CLASSIFIER, READ, SEEN, Weights, described, weights_of
from samclip_edge.data import CHECKPOINTS
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel, random_init, start_clip_head
from samclip_edge.model.public import merged, start_from_classifier
from samclip_edge.train.recipe import Recipe
from samclip_edge.train.sentences import parts, space, weights_in

SCALE = 10.0  # what cosines are multiplied by where no captions taught a scale; patches are far too sure at 30


def first_model(recipe: Recipe, index: int, last: Callable[[str], MergedModel]) -> MergedModel:
    """The model that stage `index` begins with, where it goes on from no other stage.

    last: gives the model of the last stage of a task. Raises InputError for weights that are not there or do not fit.
    """
    if recipe.stages[index].task.startswith("teach"):
        model = MergedModel(PRESETS[recipe.preset])
        random_init(model, recipe.seed)
        _publish(model, recipe)
        if recipe.decoder_weights:
            _lend(model, recipe.decoder_weights)
        return model
    # The student: SAM, CLIP's text encoder, and a CLIP head that starts from SAM's last layer, or from a classifier
    model = merged(recipe.preset, recipe.seed, recipe.sam_teacher, recipe.open_clip)
    _publish(model, recipe)
    if recipe.sam_teacher is None:
        sam = last("teach_sam")
        for name in ("image_encoder", "prompt_encoder", "mask_decoder"):
            getattr(model, name).load_state_dict(getattr(sam, name).state_dict())
        if recipe.encoder_weights is None:
            start_clip_head(model)
    if recipe.open_clip is None:
        reader = last("teach_text" if recipe.conse else "teach_clip").text_encoder
        model.text_encoder.load_state_dict(reader.state_dict())
    return model


def made_of(recipe: Recipe) -> tuple[Weights, ...]:
    """What is known of the published files that a recipe's model starts from, or learns from."""
    found = [*weights_of(recipe.sam_teacher, recipe.open_clip)]
    if recipe.encoder_weights is not None:
        found.append(described(CLASSIFIER, str(weights_in(recipe.encoder_weights, "encoder_weights"))))
    if recipe.clip_teacher is not None and recipe.conse:
        classifier, sentences = parts(recipe.clip_teacher)
        found += [described(SEEN, str(classifier)), described(READ, str(sentences / "model.safetensors"))]
    return tuple(found)


def _publish(model: MergedModel, recipe: Recipe) -> None:
    """Give the image encoder and the CLIP head the published weights that a recipe names."""
    if recipe.encoder_weights is None:
        return
    if recipe.clip_teacher is None or not recipe.conse:
        raise InputError("recipe: encoder_weights are a classifier's, whose classes' names `clip_teacher: conse` reads")
    path = weights_in(recipe.encoder_weights, "encoder_weights")
    start_from_classifier(model, path, space(recipe.clip_teacher, torch.device("cpu")).classes)
    with torch.no_grad():
        model.text_encoder.logit_scale.fill_(math.log(SCALE))


def _lend(model: MergedModel, name: str) -> None:
    """Give a model the prompt encoder and the mask decoder of a checkpoint. name: its file, or that of a shipped model.

    What the lender does not have stays random: guidance maps and the masks' prior. Raises InputError where the decoder
    is of another shape.
    """
    lender, _ = checkpoint.load(CHECKPOINTS.get(name, Path(name)))
    if lender.spec.decoder != model.spec.decoder:
        raise InputError(f" {name}: its mask decoder is not that of the preset {model.spec.name}", "decoder_weights")
    for part in ("prompt_encoder", "mask_decoder"):
        lent = getattr(lender, part).state_dict()
        own = getattr(model, part).state_dict()
        getattr(model, part).load_state_dict(own | lent)
