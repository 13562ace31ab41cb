"""Trains a head on a frozen backbone, on one process or on many, and measures it. A run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.errors import InputError, one_line
from samclip_edge.files import replacing, write_whole
from samclip_edge.train.batch_norm import share_statistics
from samclip_edge.train.data.loader_processes import loader
from samclip_edge.train.probing.backbones import Backbone
from samclip_edge.train.probing.data import IGNORED, Labels, Photos, Shown, Steps
from samclip_edge.train.probing.heads import Head, head
from samclip_edge.train.probing.recipe import ProbeRecipe
from samclip_edge.train.processes import agreed, gathered, start, summed, together, told

Report = Callable[[str, int, int], None]  # called with what is done, the steps done, and the steps in all
_CLAIM = {"settings": "settings", "head": "head", "backbone": "backbone", "data": "training photos or labels"}
_DAMAGED = (RuntimeError, OSError, EOFError, pickle.UnpicklingError, LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Found:
    """What came of measuring. Photos are told by their numbers."""

    measures: dict[str, float]
    goodness: dict[int, float]  # of each photo's answer: less its true class's place, or its own mean IoU, or NaN
    skipped: dict[int, str]  # why a photo could not be used


class Probe:
    """A head that is trained in a folder, which holds `probe.json` (what is trained, and on what) and `state.pt`."""

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
        data = {"photos": photos.count, "classes": photos.classes, "sha256": photos.sha256}
        about = {"settings": recipe.deciding(), "head": kind, "backbone": backbone.facts, "data": data}
        agreed("probe", [_named(what, about[key]) for key, what in _CLAIM.items()])
        self.steps = max(1, round(recipe.epochs * photos.count / recipe.images))
        self.backbone = backbone.to(self.accelerator.device)
        channels = self._patches(torch.zeros(1, 3, recipe.size, recipe.size, dtype=torch.uint8)).shape[1]
        torch.manual_seed(recipe.seed)
        made = head(kind, channels, photos.classes, photos.whole)
        share_statistics(made)
        optimizer = torch.optim.AdamW(made.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.head, self.optimizer = self.accelerator.prepare(made, optimizer)
        told(lambda: self._claim(about))

    def _claim(self, about: dict[str, Any]) -> None:
        path = self.folder / "probe.json"
        about = json.loads(json.dumps(about))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.exists() or self._state.exists():
                held = _read(path)
                if others := [what for key, what in _CLAIM.items() if held.get(key) != about[key]]:
                    why = f"holds a probe with other {', '.join(others)}; name another folder, or remove this one"
                    raise InputError(f"-o {self.folder}: {why}")
            write_whole(path, json.dumps(about, indent=1))
        except OSError as error:
            raise InputError(f"-o {self.folder}: cannot be written ({one_line(error)}); name another folder") from None

    def _patches(self, pixels: Tensor) -> Tensor:
        """Frozen patch features (B,D,h,w) of images (B,3,S,S) uint8."""
        with self.accelerator.autocast():
            features: Tensor = self.backbone(pixels.to(self.accelerator.device).float()).float()
        return features

    def train(self) -> None:
        """Train the head to its last step, from the last one that was saved. Raises InputError for a loss of NaN."""
        recipe = self.recipe
        with together():
            step = self._restore()
        batches = iter(loader(Steps(self.photos, recipe, range(step, self.steps), self.share), recipe.workers))
        self.head.train()
        while step < self.steps:
            with together():
                pixels, truth = next(batches)
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(step)
            torch.manual_seed(recipe.seed + (step * self.share[1] + self.share[0]) * 7919)  # of dropout
            self.optimizer.zero_grad()
            loss = self._loss(self.head(self._patches(pixels)), truth.to(self.accelerator.device))
            self.accelerator.backward(loss)
            norm = self.accelerator.clip_grad_norm_(self.head.parameters(), recipe.gradient_norm)
            if not math.isfinite(float(norm) + float(self.accelerator.reduce(loss.detach(), "mean"))):
                raise InputError(f"recipe: the loss of step {step} or its gradient is not finite; lower rate")
            self.optimizer.step()
            step += 1
            self.report("probing", step, self.steps)
            if step % recipe.save_every == 0 or step == self.steps:
                told(partial(self._save, step))

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy of logits (B,K) or (B,K,h,w), which are enlarged to the labels (B,S,S).

        It is the mean over what all processes have that counts, times their number, by which Accelerate divides.
        """
        ignored = IGNORED if not self.photos.whole else -100
        if not self.photos.whole:
            logits = F.interpolate(logits, size=truth.shape[-2:], mode="bilinear", align_corners=False)
        count = summed((truth != ignored).sum()).clamp(min=1)
        return F.cross_entropy(logits, truth, ignore_index=ignored, reduction="sum") * self.share[1] / count

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
        module = self.accelerator.unwrap_model(self.head)
        state = {"step": step, "head": module.state_dict(), "optimizer": self.optimizer.state_dict()}
        try:
            with replacing(self._state) as path:
                torch.save(state, path)
        except (OSError, RuntimeError) as error:  # torch's own hides the system's behind it
            why = one_line(error if isinstance(error, OSError) else error.__context__ or error)
            mend = "make room, and give the same command again"
            raise InputError(f"{self._state}: cannot be written ({why}); {mend}") from error

    def _restore(self) -> int:
        """Load what was saved, if anything was. Returns the step to go on from."""
        if not self._state.is_file():
            return 0
        try:
            state = torch.load(self._state, map_location="cpu", weights_only=True)
            self.accelerator.unwrap_model(self.head).load_state_dict(state["head"])
            self.optimizer.load_state_dict(state["optimizer"])
            return range(self.steps + 1)[state["step"]]
        except _DAMAGED as error:
            raise InputError(f"{self._state}: cannot be read ({one_line(error)}); remove it to begin anew") from None

    @torch.no_grad()
    def logits(self, shown: Tensor) -> Tensor:
        """Logits (K,) or (K,h,w) of an image (3,S,S) uint8, by the head as it stands."""
        module = self.accelerator.unwrap_model(self.head).eval()
        found: Tensor = module(self._patches(shown[None]))[0].cpu()
        return found

    def measure(self, photos: Photos) -> Found:
        """Measure the trained head on photos, split over the processes.

        top-1 and top-5 accuracy of whole photos; of patches the mean IoU over the classes that are in the truth or in
        an answer, and the share of pixels that are right, from one confusion matrix. Raises InputError where nothing
        can be counted, and where processes have other photos.
        """
        agreed("probe", [_named("photos that are measured", [photos.count, photos.classes, photos.sha256])])
        counts = torch.zeros(3 if photos.whole else (photos.classes, photos.classes), dtype=torch.float64)
        goodness: dict[int, float] = {}
        skipped: dict[int, str] = {}
        numbers = range(self.share[0], photos.count, self.share[1])
        shown = Shown(photos, self.recipe.size, numbers)
        with together():
            for number, each in zip(numbers, loader(shown, self.recipe.workers, collate_fn=_as_is), strict=True):
                if isinstance(each, str):
                    skipped[number] = each
                    continue
                pixels, truth = each
                own, goodness[number] = _counted(self.logits(pixels), truth)
                counts += own
                self.report("measuring", number, photos.count)
        counts = summed(counts.to(self.accelerator.device)).cpu()
        goodness, skipped = _joined(gathered(goodness)), _joined(gathered(skipped))
        if not counts.any():
            why = next(iter(skipped.values()), "all their pixels are ignored")
            raise InputError(f"no photo can be measured ({why}); fetch the data set again")
        return Found((_of_whole if photos.whole else _of_patches)(counts), goodness, skipped)


def classes_of(logits: Tensor, shape: tuple[int, ...]) -> Labels:
    """The likeliest class of each pixel (H,W) by logits (K,h,w), which are enlarged linearly."""
    enlarged = F.interpolate(logits[None], size=shape, mode="bilinear", align_corners=False)[0]
    return enlarged.argmax(dim=0).numpy().astype(np.uint8)


def _named(what: str, facts: Any) -> str:
    """A name that changes with facts."""
    return f"{what} {hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]}"


def _read(path: Path) -> dict[str, Any]:
    """What a probe's folder says of it; nothing where it cannot be read."""
    try:
        held = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def _joined(parts: list[dict[int, Any]]) -> dict[int, Any]:
    """What the processes have of each photo, in the order of the photos."""
    return dict(sorted(pair for part in parts for pair in part.items()))


def _as_is(each: Any) -> Any:
    return each


def _counted(logits: Tensor, truth: Any) -> tuple[Tensor, float]:
    """What one photo adds, and how good its answer is (see `Found`).

    It adds (3,) photos, right at first, right among five; or its confusion matrix (K,K) by pixels.
    """
    if isinstance(truth, int):
        place = int((logits > logits[truth]).sum())
        return torch.tensor([1, place < 1, place < 5], dtype=torch.float64), -float(place)
    found, known = classes_of(logits, truth.shape), truth != IGNORED
    classes = len(logits)
    pairs = truth[known].astype(np.int64) * classes + found[known]
    confusion = torch.from_numpy(np.bincount(pairs, minlength=classes**2)).view(classes, classes).double()
    return confusion, _of_patches(confusion)["mIoU"] if len(pairs) else math.nan


def _of_whole(counts: Tensor) -> dict[str, float]:
    return {"top-1": float(counts[1] / counts[0]), "top-5": float(counts[2] / counts[0])}


def _of_patches(confusion: Tensor) -> dict[str, float]:
    both = confusion.diagonal()
    either = confusion.sum(dim=0) + confusion.sum(dim=1) - both
    seen = either > 0
    return {
        "mIoU": float((both[seen] / either[seen]).mean()),
        "pixel accuracy": float(both.sum() / confusion.sum()),
    }
