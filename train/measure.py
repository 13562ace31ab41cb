"""Measures a model in training on held-out images: how well it names things, and its masks from box prompts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge import data as shipped
from samclip_edge.bundle.contract import BOTTOM_RIGHT, FOREGROUND, NOTHING, TOP_LEFT
from samclip_edge.errors import InputError
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.names import name_features
from samclip_edge.photo.masks import mask_box
from samclip_edge.photo.resize import Pixels
from samclip_edge.rendered import COLOURS, SHAPES
from samclip_edge.text.names import read_templates
from samclip_edge.train.data.batches import Masks, stacked
from samclip_edge.train.data.files import BrokenSample
from samclip_edge.train.data.prompts import middle
from samclip_edge.train.data.sources import Bits, Sample, Source, named_images
from samclip_edge.train.recipe import Batch, Stage
from samclip_edge.train.stages import prompted

_IMAGES, _BATCH = 400, 25  # images for top-1 (half as many for box IoU), and images in a batch


def measure(model: MergedModel, stage: Stage, held_out: Source) -> dict[str, float]:
    """How well a model names things, and its masks, after a stage.

    Names: top-1 over 80 names on rendered scenes; on files whose masks have names, `first name`: the share of photos on
    which the most similar name of a thing is right. Left out after `teach_sam`. Masks: mean IoU of box-prompted ones;
    on files also of the box itself, and of masks of one click. Left out after `teach_clip`.
    """
    found = {}
    if stage.task != "teach_sam":
        if held_out.scenes:
            found["top-1"] = top1(model, held_out)
        elif (share := first_name(model, held_out)) is not None:
            found["first name"] = share
    if stage.task != "teach_clip":
        shape = _shape(model, stage)
        found["box IoU"] = box_iou(model, shape, held_out)
        if not held_out.scenes:
            found |= easier(model, shape, held_out)
    return found


def _pixels(images: list[Pixels], model: MergedModel) -> Tensor:
    return stacked(images).to(model.text_encoder.logit_scale.device).float()


@torch.inference_mode()
def top1(model: MergedModel, held_out: Source) -> float:
    """Top-1 accuracy on rendered scenes of one thing: the text most similar to the image names its colour and shape."""
    names = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    texts = [f"a{'n' if name[0] in 'aeiou' else ''} {name}" for name in names]
    tokens = torch.from_numpy(model.tokenizer()(texts)).to(model.text_encoder.logit_scale.device)
    words = model.text_encoder(tokens)
    count = min(len(held_out), _IMAGES)
    scenes = [held_out.scene(Sample(image, 0), model.spec.squares[0], 1, 1) for image in range(count)]
    right = 0
    for start in range(0, len(scenes), _BATCH):
        part = scenes[start : start + _BATCH]
        tokens = model.image_encoder.tokens(_pixels([scene.image for scene in part], model))
        features = model.clip_head.image_features(tokens)
        best = (features @ words.T).argmax(dim=1)
        told = [f"{scene.things[0].colour} {scene.things[0].shape}" for scene in part]
        right += sum(names[index] == name for index, name in zip(best.tolist(), told, strict=True))
    return right / len(scenes)


@torch.inference_mode()
def first_name(model: MergedModel, held_out: Source) -> float | None:
    """The share of held-out photos on which the name most similar to the photo, of all things' names, is that of
    something on it. Photos without a named thing are left out; None where there is no other."""
    names = [name for name, thing in held_out.kinds().items() if thing]
    right: list[bool] = []
    if names:
        words = name_features(model, names, read_templates(shipped.TEMPLATES))
        for images in named_images(held_out, model.spec.squares[0], _IMAGES, _BATCH):
            tokens = model.image_encoder.tokens(_pixels([image.picture for image in images], model))
            best = (model.clip_head.image_features(tokens).float() @ words.T).argmax(dim=1)
            right += [names[place] in image.there for place, image in zip(best.tolist(), images, strict=True)]
    return sum(right) / len(right) if right else None


def boxed(held_out: Source, shape: Batch, images: range, model: MergedModel) -> Masks:
    """A batch of held-out images, with a box prompt for up to eight masks of each.

    Broken samples are left out. Raises InputError when none is left.
    """
    pixels: list[Pixels] = []
    owned: list[tuple[int, Bits]] = []
    for image in images:
        with contextlib.suppress(BrokenSample):
            picture, masks, *_ = held_out.masked(Sample(image, 0), shape, most=8)
            owned.extend((len(pixels), mask) for mask in masks)
            pixels.append(picture)
    if not pixels:
        raise InputError("recipe: held_out holds no image that can be used")
    boxes = np.array([mask_box(mask) for _, mask in owned], np.float32)
    points = np.concatenate([boxes, np.zeros_like(boxes[:, :2])], axis=1).reshape(-1, 3, 2)  # third unused
    device = model.text_encoder.logit_scale.device
    labels = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT, NOTHING]], dtype=torch.float32, device=device)
    return Masks(
        pixels=_pixels(pixels, model),
        owner=torch.tensor([place for place, _ in owned], device=device),
        masks=torch.from_numpy(np.stack([mask for _, mask in owned])).to(device),
        points=torch.from_numpy(points).to(device),
        labels=labels.expand(len(owned), 3),
        logits=None,
        predicted_ious=None,
        skipped=[],
        kinds=[],
    )


def boxed_masks(model: MergedModel, batch: Masks) -> Tensor:
    """The single-mask token's logits (M,1,S/4,S/4) for the boxes of a batch."""
    masks: Tensor = prompted(model, batch, model.image_encoder(batch.pixels)[1])[0][:, :1]
    return masks


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """The IoU (M,) of each pair of masks (M,h,w); 1 where both are empty."""
    both, either = (a & b).sum(dim=(1, 2)), (a | b).sum(dim=(1, 2))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def _shape(model: MergedModel, stage: Stage) -> Batch:
    """The batch whose size masks are measured at: the stage's own for D_SAM, else one of the model's largest size."""
    return stage.sam or Batch(size=model.spec.squares[-1], images=1)


@torch.inference_mode()
def box_iou(model: MergedModel, shape: Batch, held_out: Source) -> float:
    """The mean IoU of box-prompted masks with the true masks, both at the size of the model's input."""
    found = []
    for batch in _all_boxed(model, shape, held_out):
        found.append(_iou(_enlarged(boxed_masks(model, batch), batch), batch.masks))
    return float(torch.cat(found).mean())


@torch.inference_mode()
def easier(model: MergedModel, shape: Batch, held_out: Source) -> dict[str, float]:
    """What to hold `box_iou` against: the mean IoU of the box itself as the mask, and that of masks of one click in the
    middle of the true mask, by the rule for a single click (`tasks.segment`)."""
    boxes, clicks = [], []
    for batch in _all_boxed(model, shape, held_out):
        x0, y0, x1, y1 = batch.points[:, :2].flatten(1).T[:, :, None, None]
        y, x = torch.meshgrid(*(torch.arange(side, device=x0.device) for side in batch.masks.shape[-2:]), indexing="ij")
        boxes.append(_iou((x >= x0) & (x < x1) & (y >= y0) & (y < y1), batch.masks))
        middles = [[middle(mask), (0, 0), (0, 0)] for mask in batch.masks.cpu().numpy()]
        labels = torch.tensor([[FOREGROUND, NOTHING, NOTHING]], dtype=torch.float32, device=x0.device)
        asked = batch._replace(
            points=torch.tensor(middles, dtype=torch.float32, device=x0.device), labels=labels.expand(len(middles), 3)
        )
        masks, predicted_ious = prompted(model, asked, model.image_encoder(asked.pixels)[1])
        best = 1 + predicted_ious[:, 1:].argmax(dim=1)
        chosen = masks[torch.arange(len(best), device=best.device), best][:, None]
        clicks.append(_iou(_enlarged(chosen, batch), batch.masks))
    return {"IoU of the box itself": float(torch.cat(boxes).mean()), "click IoU": float(torch.cat(clicks).mean())}


def _all_boxed(model: MergedModel, shape: Batch, held_out: Source) -> Iterator[Masks]:
    for start in range(0, min(len(held_out), _IMAGES // 2), _BATCH):
        yield boxed(held_out, shape, range(start, min(start + _BATCH, len(held_out))), model)


def _enlarged(low_res: Tensor, batch: Masks) -> Tensor:
    """The masks (M,S,S) of low-res logits (M,1,S/4,S/4)."""
    return F.interpolate(low_res, size=batch.masks.shape[-2:], mode="bilinear", align_corners=False)[:, 0] > 0


@torch.inference_mode()
def overlap(model: MergedModel, teacher: MergedModel, stage: Stage, held_out: Source) -> float:
    """The mean IoU of the student's low-res masks with the SAM teacher's, for the same box prompts."""
    batch = boxed(held_out, _shape(model, stage), range(min(len(held_out), _BATCH)), model)
    ours, theirs = (boxed_masks(each, batch)[:, 0] > 0 for each in (model, teacher))
    return float(_iou(ours, theirs).mean())
