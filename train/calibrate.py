"""How surely a trained model's names are right: log-odds to chances, on rendered scenes that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F

from samclip_edge import data
from samclip_edge.bundle.manifest import Chances
from samclip_edge.model.checkpoint import Calibrated
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.names import name_features
from samclip_edge.rendered import NAMES, RenderedScene
from samclip_edge.text.chances import fitted
from samclip_edge.text.judge import Floats, odds_among, strongest
from samclip_edge.text.names import BACKGROUND_NAMES, read_names, read_templates
from samclip_edge.train.data.sources import Sample, Source

_SCENES, _BATCH = 600, 25  # scenes that are asked for every name, and scenes in a batch
_LEAST = 20  # scenes: with fewer, chances would mean nothing


def calibrate(model: MergedModel, held_out: Source) -> Calibrated | None:
    """Ask for every name on held-out rendered scenes, at each of the model's sizes.

    The rivals are these names, and names of other things: a word that the model was never taught is near those. Returns
    None where fewer than 20 rendered scenes are held out.
    """
    if not held_out.scenes or len(held_out) < _LEAST:
        return None
    sentences = read_templates(data.TEMPLATES)  # which an export takes, where it is not told otherwise
    rivals = (*NAMES, *read_names(data.RIVALS))
    names = name_features(model, [*rivals, *BACKGROUND_NAMES], sentences).cpu().numpy()
    sizes = tuple(_chances(model, held_out, size, names) for size in model.spec.squares)
    return Calibrated(rivals=rivals, measured_on="rendered scenes, with CLIP's 80 templates", sizes=sizes)


@torch.inference_mode()
def _chances(model: MergedModel, held_out: Source, size: int, names: Floats) -> Chances:
    """names: the features of `NAMES`, which are asked for, then of the other rivals and of the background."""
    scale, bias = float(model.text_encoder.logit_scale.exp()), model.text_encoder.logit_bias

    def odds(features: Floats) -> Floats:
        return odds_among(scale * (features @ names.T), None if bias is None else float(bias), len(NAMES))

    patches, masks, photos, there, right = [], [], [], [], []
    for scenes in _scenes(held_out, size):
        pixels = torch.from_numpy(np.stack([scene.image for scene in scenes]).transpose(0, 3, 1, 2).astype(np.float32))
        tokens = model.image_encoder.tokens(pixels.to(model.text_encoder.logit_scale.device))
        image, patch = (each.cpu().numpy() for each in model.clip_head(tokens))
        for scene, photo, features in zip(scenes, image, patch, strict=True):
            photos.append(odds(photo))
            patches.append(strongest(odds(features.reshape(len(features), -1).T)))
            kinds = [thing.kind for thing in scene.things]
            there.append(np.isin(NAMES, kinds))
            for thing in scene.things:
                cover = F.adaptive_avg_pool2d(torch.from_numpy(thing.mask)[None].float(), features.shape[-1])[0].numpy()
                under = np.tensordot(features, cover, axes=2)
                masks.append(odds(under / np.linalg.norm(under)))
                right.append(np.isin(NAMES, [thing.kind]))
    return Chances(
        size=size,
        patches=fitted(np.concatenate(patches), np.concatenate(there)),
        mask=fitted(np.concatenate(masks), np.concatenate(right)),
        photo=fitted(np.concatenate(photos), np.concatenate(there)),
    )


def _scenes(held_out: Source, size: int) -> Iterator[list[RenderedScene]]:
    count = min(len(held_out), _SCENES)
    for start in range(0, count, _BATCH):
        samples = [Sample(image, 0) for image in range(start, min(start + _BATCH, count))]
        yield [scene for scene in (held_out.scene(each, size, 1, 4) for each in samples) if scene.things]
