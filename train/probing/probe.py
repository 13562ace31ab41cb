"""Trains a head on a frozen backbone, on one process or on many, and measures it. A run that was stopped goes on."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from samclip_edge.errors import InputError, one_line
from samclip_edge.files import replacing, write_whole
from samclip_edge.train.probing.backbones import Backbone
from samclip_edge.train.probing.data import IGNORED, Photos, Shown, Steps
from samclip_edge.train.probing.heads import Head, head
from samclip_edge.train.probing.recipe import ProbeRecipe
from samclip_edge.train.processes import gathered, start, summed, together, told

Report = Callable[[str, int, int], None]  # called with what is done, the steps done, and the steps in all


class Probe:
    """A head that is trained in a folder, which holds its settings and, while it is trained, `state.pt`."""

    def __init__(
        self, recipe: ProbeRecipe, backbone: Backbone, kind: Head, photos: Photos, folder: Path, report: Report
    ) -> None:
        """Raises InputError where the folder holds another probe, or a batch does not split over the processes."""
        self.recipe, self.photos, self.folder, self.report = recipe, photos, folder, report
        self.accelerator = start(recipe.precision)
        place = (self.accelerator.process_index, self.accelerator.num_processes)
        if recipe.images % place[1] or recipe.images < 2 * place[1]:
            raise InputError(
                f" {recipe.images} images do not split over {place[1]} processes; choose another number",
                "recipe: images:",
            )
        self.share = place
        self.steps = max(1, round(recipe.epochs * photos.count / recipe.images))
        self.backbone = backbone.to(self.accelerator.device)
        channels = self._patches(torch.zeros(1, 3, recipe.size, recipe.size, dtype=torch.uint8)).shape[1]
        torch.manual_seed(recipe.seed)
        made = head(kind, channels, photos.classes, photos.whole)
        optimizer = torch.optim.AdamW(made.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.head, self.optimizer = self.accelerator.prepare(made, optimizer)
        about = f"{recipe.model_dump_json()}\n{kind} {backbone.kind} {channels} {photos.count} {photos.classes}\n"
        told(lambda: self._claim(about))

    def _claim(self, about: str) -> None:
        path = self.folder / "probe.txt"
        if path.is_file() and path.read_text() != about:
            raise InputError(f"-o {self.folder}: holds a probe with other settings or data; name another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, about)

    def _patches(self, pixels: Tensor) -> Tensor:
        """Frozen patch features (B,D,h,w) of images (B,3,S,S) uint8."""
        with self.accelerator.autocast():
            features: Tensor = self.backbone(pixels.to(self.accelerator.device).float()).float()
        return features

    def train(self) -> None:
        """Train the head to its last step, from the last one that was saved. Raises InputError for a loss of NaN."""
        step, recipe = self._restore(), self.recipe
        loader = DataLoader(
            Steps(self.photos, recipe, range(step, self.steps), self.share),
            batch_size=None,
            num_workers=recipe.workers,
            multiprocessing_context="spawn" if recipe.workers else None,
        )
        self.head.train()
        batches = iter(loader)
        while step < self.steps:
            with together():
                pixels, truth = next(batches)
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(step)
            torch.manual_seed(recipe.seed + (step * self.share[1] + self.share[0]) * 7919)  # of dropout
            self.optimizer.zero_grad()
            loss = self._loss(self.head(self._patches(pixels)), truth.to(self.accelerator.device))
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.head.parameters(), recipe.gradient_norm)
            if not math.isfinite(float(self.accelerator.reduce(loss.detach(), "mean"))):
                raise InputError(f"recipe: the loss of step {step} is not finite; lower rate")
            self.optimizer.step()
            step += 1
            self.report("probing", step, self.steps)
            if step % recipe.save_every == 0 or step == self.steps:
                self._save(step)

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy of logits (B,K) or (B,K,h,w), which are enlarged to the labels (B,S,S)."""
        if not self.photos.whole:
            logits = F.interpolate(logits, size=truth.shape[-2:], mode="bilinear", align_corners=False)
            if not (truth != IGNORED).any():
                return logits.sum() * 0
        return F.cross_entropy(logits, truth, ignore_index=IGNORED if not self.photos.whole else -100)

    def _rate(self, step: int) -> float:
        """The learning rate of a step: it rises over the warmup, then falls to 0 along a cosine."""
        warmup = min(self.recipe.warmup, self.steps - 1)
        if step < warmup:
            return self.recipe.rate * (step + 1) / warmup
        return self.recipe.rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (self.steps - warmup)))

    @property
    def _state(self) -> Path:
        return self.folder / "state.pt"

    def _save(self, step: int) -> None:
        def written() -> None:
            module = self.accelerator.unwrap_model(self.head)
            state = {"step": step, "head": module.state_dict(), "optimizer": self.optimizer.state_dict()}
            with replacing(self._state) as partial:
                torch.save(state, partial)

        told(written)

    def _restore(self) -> int:
        """Load what was saved, if anything was. Returns the step to go on from."""
        if not self._state.is_file():
            return 0
        try:
            state = torch.load(self._state, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(f"{self._state}: cannot be read ({one_line(error)}); remove it to begin anew") from None
        self.accelerator.unwrap_model(self.head).load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    @torch.no_grad()
    def measure(self, photos: Photos) -> tuple[dict[str, float], list[str]]:
        """The measures of the trained head on photos, split over the processes; and why photos could not be used.

        top-1 and top-5 accuracy of whole photos; of patches the mean IoU over the classes that are in the truth or in
        an answer, and the share of pixels that are right, from one confusion matrix.
        """
        self.head.eval()
        module = self.accelerator.unwrap_model(self.head)
        # Statistics of BatchNorm are each process's own; those of the main process are saved, and count.
        module.load_state_dict(told(lambda: {name: each.cpu() for name, each in module.state_dict().items()}))
        counts = torch.zeros(3 if photos.whole else (photos.classes, photos.classes), dtype=torch.float64)
        failed: list[str] = []
        numbers = range(self.share[0], photos.count, self.share[1])
        shown = Shown(photos, self.recipe.size, numbers)
        context = "spawn" if self.recipe.workers else None
        loader = DataLoader(
            shown, batch_size=None, num_workers=self.recipe.workers, multiprocessing_context=context, collate_fn=_as_is
        )
        for done, each in enumerate(loader):
            if isinstance(each, str):
                failed.append(each)
                continue
            pixels, truth = each
            counts += _counted(module(self._patches(pixels[None])).cpu(), truth)
            self.report("measuring", done * self.share[1], photos.count)
        counts = summed(counts.to(self.accelerator.device)).cpu()
        return (_of_whole if photos.whole else _of_patches)(counts), [each for own in gathered(failed) for each in own]


def _as_is(each: Any) -> Any:
    return each


def _counted(logits: Tensor, truth: Any) -> Tensor:
    """What one photo adds: (3,) photos, right at first, right among five; or its confusion matrix (K,K) by pixels."""
    if isinstance(truth, int):
        place = int((logits[0] > logits[0, truth]).sum())
        return torch.tensor([1, place < 1, place < 5], dtype=torch.float64)
    labels = torch.from_numpy(truth).long()
    found = F.interpolate(logits, size=labels.shape, mode="bilinear", align_corners=False)[0].argmax(dim=0)
    known, classes = labels != IGNORED, logits.shape[1]
    return torch.bincount(labels[known] * classes + found[known], minlength=classes**2).view(classes, classes).double()


def _of_whole(counts: Tensor) -> dict[str, float]:
    photos = counts[0].clamp(min=1)
    return {"top-1": float(counts[1] / photos), "top-5": float(counts[2] / photos)}


def _of_patches(confusion: Tensor) -> dict[str, float]:
    both = confusion.diagonal()
    either = confusion.sum(dim=0) + confusion.sum(dim=1) - both
    seen = either > 0
    return {
        "mIoU": float((both[seen] / either[seen]).mean()),
        "pixel accuracy": float(both.sum() / confusion.sum().clamp(min=1)),
    }
