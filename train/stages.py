"""What each stage learns: which parts it trains, at which share of the learning rate, and the losses of a step.

The backward pass runs once for each loss.

- `teach_clip` and `teach_sam` train the teachers of a recipe that names no public weights.
- `teach_text` trains the text encoder alone, on a sentence encoder's features of words.
- `probe`, `joint` and `adapt` are the paper's stages (Sec. 3, Fig. 3). `probe` trains the CLIP head alone. `joint`
  trains all but the prompt encoder, with rehearsal of SAM. `adapt` trains the CLIP head alone, at several image sizes.
- `distill` is the paper's control (Appendix D): `joint` without rehearsal, with head and backbone at the full rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F

from samclip_edge.model.merged import MergedModel
from samclip_edge.train.data.batches import Images, Masks
from samclip_edge.train.data.regions import regions
from samclip_edge.train.data.stored import eighths, from_eighths
from samclip_edge.train.data.texts import Texts
from samclip_edge.train.losses import (
    contrastive,
    feature_distillation,
    mask_distillation,
    mask_loss,
    patch_distillation,
    patch_naming,
)
from samclip_edge.train.recipe import Stage
from samclip_edge.train.teachers import ClipTeacher, Names, Teachers

_all_gather: Callable[[Tensor], tuple[Tensor, ...]] = all_gather  # differentiable
MAX_SCALE = 100.0  # CLIP's upper bound on the factor of the cosine similarities


class Loss(NamedTuple):
    """One loss of a step. It gets a backward pass of its own."""

    name: str
    weight: float
    value: Tensor  # a mean
    of: Literal["clip", "sam"]  # a mean over the images of D_CLIP (or texts), or over the masks of D_SAM


def moving(model: MergedModel, stage: Stage) -> list[tuple[nn.Module, float]]:
    """The parts that a stage trains, each with its share of the learning rate. All others are frozen."""
    slower = stage.slower if stage.task == "joint" else 1.0
    encoder = _apart(model.image_encoder, stage, slower)
    head = _apart(model.clip_head, stage, 1.0)
    parts: dict[str, list[tuple[nn.Module, float]]] = {
        "teach_text": [(model.text_encoder, 1.0)],
        "teach_clip": [*encoder, *head, (model.text_encoder, 1.0)],
        "teach_sam": [*encoder, (model.prompt_encoder, 1.0), (model.mask_decoder, 1.0)],
        "probe": head,
        "distill": [*head, *encoder],
        "joint": [
            *head,
            *encoder,
            (model.mask_decoder, slower),
            *([(model.prompt_encoder, slower)] if stage.train_prompt_encoder else []),
        ],
        "adapt": head,
    }
    return parts[stage.task]


def _apart(part: nn.Module, stage: Stage, share: float) -> list[tuple[nn.Module, float]]:
    """A part at a share of the rate, and what it names as `PUBLISHED` at `Stage.trunk` of that."""
    published: tuple[str, ...] = getattr(part, "PUBLISHED", ())
    if not published:
        return [(part, share)]
    inside = dict(part.named_children())
    shares = {name: share * (stage.trunk if name in published else 1.0) for name in inside}
    alone = nn.ParameterList(part.parameters(recurse=False))  # what is of no part inside
    return [*((inside[name], own) for name, own in shares.items() if own), (alone, share)]


def losses(
    model: MergedModel, stage: Stage, teachers: Teachers | None, clip: Images | Texts | None, sam: Masks | None
) -> Iterator[Loss]:
    """Yield the losses of a step one by one, so that the caller can run each backward pass before the next forward."""
    if isinstance(clip, Texts):
        yield Loss("text", 1.0, text_loss(model, clip), "clip")
    elif stage.task == "teach_clip":
        assert clip is not None
        yield Loss("contrastive", 1.0, caption_loss(model, clip, stage.patches), "clip")
    elif stage.task == "teach_sam":
        assert sam is not None
        yield Loss("masks", 1.0, true_mask_loss(model, sam, stage.focal), "sam")
    else:
        assert teachers is not None
        assert clip is not None
        yield Loss("clip", 1.0, clip_loss(model, teachers.clip, clip, stage.patches), "clip")
        if stage.task == "joint":
            assert sam is not None
            yield Loss("sam", stage.sam_weight, sam_loss(model, teachers.sam, sam), "sam")
        if stage.regions:
            assert sam is not None
            yield Loss("regions", stage.regions, region_loss(model, teachers.clip, sam), "sam")
        if stage.names:
            assert sam is not None
            assert teachers.names is not None
            yield Loss("names", stage.names, name_loss(model, teachers.names, sam), "sam")


def caption_loss(model: MergedModel, batch: Images, share: float) -> Tensor:
    """CLIP's contrastive loss over all images and captions of a step, those of the other processes included.

    share: see `image_features`.
    """
    tokens = model.tokenizer()(batch.captions)
    texts = model.text_encoder(torch.from_numpy(tokens).to(batch.pixels.device)).float()
    images = image_features(model, batch, share).float()
    contents = batch.contents
    if distributed.is_initialized():
        images, texts = (torch.cat(_all_gather(each.contiguous())) for each in (images, texts))
        lists: list[list[str]] = [[]] * distributed.get_world_size()
        distributed.all_gather_object(lists, contents)
        contents = [content for each in lists for content in each]
    scale = model.text_encoder.logit_scale.exp().clamp(max=MAX_SCALE)
    return contrastive(images, texts, scale, contents)


def text_loss(model: MergedModel, batch: Texts) -> Tensor:
    """Eq. 1 of texts. Each eighth of them, which come by length, is read no further than its longest text ends."""
    found: list[Tensor] = []
    for tokens in batch.tokens.chunk(8):
        longest = int((tokens[-1] == model.spec.text.end_of_text).int().argmax()) + 1
        found.append(model.text_encoder(tokens[:, :longest]))
    return feature_distillation(torch.cat(found).float(), batch.features)


def image_features(model: MergedModel, batch: Images, share: float) -> Tensor:
    """CLIP features (B,E) of a batch.

    With `share` below 1, each is pooled over a random subset of the image's patches; see `Stage.patches`.
    """
    tokens = model.image_encoder.tokens(batch.pixels)
    left_out = None
    if share < 1:
        side = model.spec.feature_grid(batch.pixels.shape[-1])[0]
        left_out = torch.stack([_left_out(draw, side, share) for draw in batch.draws]).to(tokens.device)
    features: Tensor = model.clip_head.image_features(tokens, left_out)
    return features


def _left_out(draw: int, grid: int, share: float) -> Tensor:
    """(grid,grid) bool: the patches to leave out. The share kept is drawn from `share` to 1; at least one is kept."""
    random = torch.Generator().manual_seed(draw)
    kept = share + (1 - share) * torch.rand((), generator=random)
    rank = torch.rand(grid * grid, generator=random).argsort().argsort()
    return (rank >= max(int(kept * grid * grid), 1)).view(grid, grid)


def prompted(model: MergedModel, batch: Masks, embedding: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Decode all prompts of a batch. Returns mask logits (M,4,S/4,S/4) and predicted IoUs (M,4).

    embedding: (B,256,h,w) of the images. mask: the mask prompts (M,S/4,S/4), logits, of the second round; None in the
    first round.
    """
    side = batch.pixels.shape[-1] // 4
    given = torch.zeros(len(batch.owner), side, side, device=embedding.device) if mask is None else mask
    count = 2 if mask is None else 3
    has_mask = torch.full((1,), float(mask is not None), device=embedding.device)
    sparse, dense = model.prompt_encoder(batch.points[:, :count], batch.labels[:, :count], given[:, None], has_mask)
    masks: tuple[Tensor, Tensor] = model.decode_masks(embedding[batch.owner], sparse, dense)
    return masks


def as_prompt(masks: Tensor, batch: Masks) -> Tensor:
    """Turn mask logits (M,4,S/4,S/4) of the first round into mask prompts (M,S/4,S/4) of the second.

    The mask of the single-mask token is the prompt. About half of the prompts (those whose third point lies in an odd
    column) are averaged to one value for each patch, because `find` prompts with the CLIP head's map, which is no finer
    (Sec. 4.4).
    """
    single = masks[:, :1].detach().float()
    coarse = F.interpolate(F.avg_pool2d(single, 4), size=single.shape[-2:], mode="bilinear", align_corners=False)
    odd = batch.points[:, 2, 0] % 2 >= 1
    return torch.where(odd[:, None, None], coarse[:, 0], single[:, 0])


def true_mask_loss(model: MergedModel, batch: Masks, weight: float) -> Tensor:
    """SAM's own loss (SAM, Sec. A), the mean of two rounds of prompts. weight: of focal beside dice loss; SAM's is 20.

    It adds focal and dice loss of the single-mask token, the same of the best of the other three masks, and the squared
    error of all predicted IoUs.
    """
    embedding = model.image_encoder(batch.pixels)[1]
    first = prompted(model, batch, embedding)
    second = prompted(model, batch, embedding, as_prompt(first[0], batch))
    return (_true_mask_loss(*first, batch.masks, weight) + _true_mask_loss(*second, batch.masks, weight)) / 2


def at_half_the_side(masks: Tensor) -> Tensor:
    """Masks (M,S,S) as 0 and 1 at (M,S/2,S/2): 1 where more than half of two by two pixels is covered.

    Of a mask that covers none of these wholly it is more than half of the most that it covers: else the smallest masks
    would teach that there is nothing.
    """
    shares = F.avg_pool2d(masks.float(), 2)
    return (shares > shares.amax(dim=(1, 2), keepdim=True) / 2).float()


def _true_mask_loss(low_res: Tensor, predicted_ious: Tensor, wanted: Tensor, weight: float) -> Tensor:
    wanted = at_half_the_side(wanted)
    masks = F.interpolate(low_res.float(), size=wanted.shape[-2:], mode="bilinear", align_corners=False)
    each = torch.stack([mask_loss(masks[:, k], wanted, weight) for k in range(masks.shape[1])], dim=1)
    with torch.no_grad():
        cut, true = masks > 0, wanted[:, None] > 0.5
        iou = (cut & true).sum(dim=(2, 3)) / (cut | true).sum(dim=(2, 3)).clamp(min=1)
    return (each[:, 0] + each[:, 1:].min(dim=1).values).mean() + F.mse_loss(predicted_ious.float(), iou)


def clip_loss(model: MergedModel, teacher: ClipTeacher, batch: Images, share: float) -> Tensor:
    """Eq. 1. The teacher sees the same crop, resized to its own size, or the photo that is padded for the student.

    Stored features are used where there are any.
    """
    seen = batch.pixels if batch.shown is None else batch.shown
    wanted = teacher(seen) if batch.features is None else batch.features
    return feature_distillation(image_features(model, batch, share).float(), wanted.float())


def region_loss(model: MergedModel, teacher: ClipTeacher, batch: Masks) -> Tensor:
    """Eq. 1 for the patches of every region of D_SAM's images (see `regions`).

    The sum over the regions is divided by the number of masks, so that it adds up over processes as `Loss.of` says.
    """
    features = model.clip_head(model.image_encoder.tokens(batch.pixels))[1].float()
    found = regions(batch, features.shape[-1], teacher.size)
    wanted = teacher(found.pictures).float()
    return patch_distillation(features[found.owner], found.patches, wanted).sum() / len(batch.owner)


def name_loss(model: MergedModel, names: Names, batch: Masks) -> Tensor:
    """Each patch under a mask that has a name is given that name, and each patch that no mask touches the name of the
    background, where an image says that all on it has a mask (`Masks.complete`).

    Not of the paper, whose patches learn no name by itself: a name that is not there must lose against those that are.
    The sum over masks and backgrounds is divided by the number of masks, so that it adds up over processes as
    `Loss.of` says.
    """
    features = model.clip_head(model.image_encoder.tokens(batch.pixels))[1].float()
    covered = F.adaptive_avg_pool2d(batch.masks[:, None].float(), features.shape[-1])[:, 0]
    free = torch.ones_like(features[:, 0]).index_add(0, batch.owner, -(covered > 0).float()).clamp(min=0)
    places = {name: place for place, name in enumerate(names.names)}
    own = torch.tensor([places.get(kind, -1) for kind in batch.kinds], device=features.device)
    complete = torch.tensor(batch.complete, device=features.device)
    missed = patch_naming(
        torch.cat([features[batch.owner], features]),
        torch.cat([covered * (own >= 0)[:, None, None], free * complete[:, None, None]]),
        names.features,
        torch.cat([own.clamp(min=0), torch.full_like(own[:1], len(places)).expand(len(free))]),
        model.text_encoder.logit_scale.detach().exp().clamp(max=MAX_SCALE),
    )
    return missed.sum() / len(batch.owner)


def sam_loss(model: MergedModel, teacher: MergedModel, batch: Masks) -> Tensor:
    """Eq. 2 over the four masks of each prompt, plus the squared error of the predicted IoUs; mean of both rounds."""
    logits, wanted_ious = asked(teacher, batch)
    embedding = model.image_encoder(batch.pixels)[1]
    total = torch.zeros((), device=embedding.device)
    for turn in range(2):
        mask = None if turn == 0 else as_prompt(logits[0], batch)
        masks, predicted_ious = prompted(model, batch, embedding, mask)
        total = total + mask_distillation(masks.float().flatten(0, 1), logits[turn].flatten(0, 1))
        total = total + F.mse_loss(predicted_ious.float(), wanted_ious[turn])
    return total / 2


@torch.no_grad()
def asked(teacher: MergedModel, batch: Masks) -> tuple[Tensor, Tensor]:
    """The SAM teacher's answers in both rounds: logits (2,M,4,S/4,S/4) and predicted IoUs (2,M,4).

    Stored answers are used where the batch has them. Else the teacher runs, and its logits are rounded as stored ones
    are.
    """
    if batch.logits is not None and batch.predicted_ious is not None:
        return from_eighths(batch.logits), batch.predicted_ious
    embedding = teacher.image_encoder(batch.pixels)[1]
    answers = [prompted(teacher, batch, embedding)]
    logits = from_eighths(eighths(answers[0][0]))
    answers.append(prompted(teacher, batch, embedding, as_prompt(logits, batch)))
    return (
        torch.stack([logits, from_eighths(eighths(answers[1][0]))]),
        torch.stack([predicted_ious.float() for _, predicted_ious in answers]),
    )
