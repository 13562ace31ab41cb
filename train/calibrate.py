"""How surely a trained model's names are right: log-odds to chances, on images that it was not trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from samclip_edge import data
from samclip_edge.bundle.manifest import Chances
from samclip_edge.model.checkpoint import Calibrated
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.names import name_features
from samclip_edge.text.chances import fitted
from samclip_edge.text.judge import Floats, odds_among, strongest
from samclip_edge.text.names import BACKGROUND_NAMES, read_names, read_templates
from samclip_edge.train.data.batches import stacked
from samclip_edge.train.data.sources import Source, named_images

_IMAGES, _BATCH = 600, 25  # images that are asked for every name, and images in a batch
_LEAST = 20  # images: with fewer, chances would mean nothing


def calibrate(model: MergedModel, held_out: Source) -> Calibrated | None:
    """Ask for every thing's name on held-out images, at each of the model's sizes: rendered scenes, or files whose
    masks have names. A name that nothing on an image has counts as absent, so all things must be annotated.

    The rivals are these names, and names of other things: a word that the model was never taught is near those. Returns
    None where fewer than 20 images with a named thing are held out.
    """
    found = held_out.kinds()
    asked = [name for name, thing in found.items() if thing]
    if sum(1 for batch in named_images(held_out, model.spec.squares[0], _IMAGES, _BATCH) for _ in batch) < _LEAST:
        return None
    sentences = read_templates(data.TEMPLATES)  # which an export takes, where it is not told otherwise
    rivals = tuple(dict.fromkeys([*asked, *found, *read_names(data.RIVALS)]))
    names = name_features(model, [*rivals, *BACKGROUND_NAMES], sentences).cpu().numpy()
    sizes = tuple(_chances(model, held_out, size, asked, names) for size in model.spec.squares)
    where = "rendered scenes" if held_out.scenes else "held-out photos"
    return Calibrated(rivals=rivals, measured_on=f"{where}, with CLIP's 80 templates", sizes=sizes)


@torch.inference_mode()
def _chances(model: MergedModel, held_out: Source, size: int, asked: list[str], names: Floats) -> Chances:
    """names: the features of the names that are asked for, then of the other rivals and of the background."""
    scale, bias = float(model.text_encoder.logit_scale.exp()), model.text_encoder.logit_bias

    def odds(features: Floats) -> Floats:
        return odds_among(scale * (features @ names.T), None if bias is None else float(bias), len(asked))

    patches, masks, photos, there, right = [], [], [], [], []
    for images in named_images(held_out, size, _IMAGES, _BATCH):
        pixels = stacked([image.picture for image in images]).to(model.text_encoder.logit_scale.device).float()
        whole, maps = (each.float().cpu().numpy() for each in model.clip_head(model.image_encoder.tokens(pixels)))
        for image, photo, features in zip(images, whole, maps, strict=True):
            photos.append(odds(photo))
            rows, columns = (max(int(side * features.shape[-1] / size + 0.5), 1) for side in image.scaled)
            patches.append(strongest(odds(features[:, :rows, :columns].reshape(len(features), -1).T)))
            there.append(np.isin(asked, [*image.there]))
            for bits, kind in zip(image.masks, image.kinds, strict=True):
                cover = F.adaptive_avg_pool2d(torch.from_numpy(bits)[None].float(), features.shape[-1])[0].numpy()
                under = np.tensordot(features, cover, axes=2)
                masks.append(odds(under / np.linalg.norm(under)))
                right.append(np.isin(asked, [kind]))
    return Chances(
        size=size,
        patches=fitted(np.concatenate(patches), np.concatenate(there)),
        mask=fitted(np.concatenate(masks), np.concatenate(right)),
        photo=fitted(np.concatenate(photos), np.concatenate(there)),
    )
