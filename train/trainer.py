"""Runs a recipe, stage after stage, on one process or on many. A run that was stopped goes on where it was.

A run is a folder. It holds `recipe.json`, a checkpoint for each finished stage, `state.pt` for the stage under way,
`metrics.jsonl` with one line for each step, and `tensorboard/`. The data of a step depends on the recipe and the step
alone. `state.pt` and the checkpoints are written under a temporary name and then renamed. So a run that was killed at
any moment goes on with the same data and losses, and ends with the same weights.
"""

from __future__ import annotations

import atexit
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sizes import in_order
from samclip_edge.bundle.weights import weights_of
from samclip_edge.errors import InputError
from samclip_edge.files import write_whole
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel, random_init, start_clip_head
from samclip_edge.model.names import name_features
from samclip_edge.model.public import merged
from samclip_edge.rendered import NAMES
from samclip_edge.text.names import BACKGROUND_NAMES
from samclip_edge.train.calibrate import calibrate
from samclip_edge.train.data.batches import ClipSteps, SamSteps, steps
from samclip_edge.train.data.sources import Source
from samclip_edge.train.data.stored import Stored
from samclip_edge.train.gradients import Part, gradients, has_bf16
from samclip_edge.train.learner import Learner, learner, rate_at
from samclip_edge.train.measure import measure, overlap
from samclip_edge.train.metrics import Metrics
from samclip_edge.train.recipe import Recipe, Stage
from samclip_edge.train.teachers import OpenClip, OwnClip, Teachers

CLIP_GRADIENT = 1.0  # the norm that a step's gradient is clipped to
Report = Callable[[str, int, int], None]  # called with the stage, the steps done, and the steps in all


class Trainer:
    """A recipe being run in a folder."""

    def __init__(self, recipe: Recipe, folder: Path, report: Report = lambda *_: None) -> None:
        self.recipe, self.folder, self.report = recipe, folder, report
        self.accelerator = Accelerator(mixed_precision="no")  # `gradients` applies the recipe's precision
        atexit.register(self.accelerator.end_training)  # else gloo's running threads abort one exit in ten
        self._bf16 = recipe.precision == "bf16" and has_bf16()
        with self.accelerator.main_process_first():  # it writes the files that the others then read
            self._claim()
            self.clip_data = Source(recipe.clip_data, recipe.seed, False, folder)
            self.sam_data = Source(recipe.sam_data, recipe.seed, True, folder)
            self.held_out = Source(recipe.held_out, recipe.seed, True, folder)
        self.metrics = Metrics(folder) if self.accelerator.is_main_process else None

    def _claim(self) -> None:
        """Write `recipe.json` into the folder. Raises InputError when it holds another recipe's run, or other files."""
        path, text = self.folder / "recipe.json", self.recipe.model_dump_json(indent=1)
        if path.is_file() and path.read_text() != text:
            raise InputError(f"-o {self.folder}: holds a run of another recipe; name another folder")
        if not path.is_file() and self.folder.is_dir() and any(self.folder.iterdir()):
            raise InputError(f"-o {self.folder}: holds other files; name a new or empty folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)

    def finished(self, index: int) -> Path:
        """The path of the checkpoint that stage `index` writes when it is finished."""
        return self.folder / f"{index + 1}-{self.recipe.stages[index].task}.safetensors"

    def train(self) -> Path:
        """Run every stage that is not finished yet. Returns the path of the last checkpoint."""
        for index in range(len(self.recipe.stages)):
            if not self.finished(index).is_file():
                self._run_stage(index)
        return self.finished(len(self.recipe.stages) - 1)

    def _read(self, index: int) -> MergedModel:
        return checkpoint.load(self.finished(index))[0].to(self.accelerator.device)

    def _last(self, task: str) -> MergedModel:
        """The model of the last stage of a task."""
        return self._read(max(i for i, stage in enumerate(self.recipe.stages) if stage.task == task))

    def teachers(self) -> Teachers:
        """The frozen teachers, on this process's device."""
        recipe, device = self.recipe, self.accelerator.device
        clip = OpenClip(recipe.clip_teacher, device) if recipe.clip_teacher else OwnClip(self._last("teach_clip"))
        sam = self._last("teach_sam") if recipe.sam_teacher is None else merged(recipe.preset, sam=recipe.sam_teacher)
        return Teachers(clip, sam.to(device).requires_grad_(False))

    def start(self, index: int) -> MergedModel:
        """The model that a stage begins with."""
        recipe, stage = self.recipe, self.recipe.stages[index]
        before = recipe.before(index, stage.task)
        if before is not None:
            return self._read(before)
        if stage.task.startswith("teach"):
            model = MergedModel(PRESETS[recipe.preset])
            random_init(model, recipe.seed)
        else:  # the student: SAM, CLIP's text encoder, and a CLIP head that starts from SAM's last layer
            model = merged(recipe.preset, recipe.seed, recipe.sam_teacher, recipe.clip_teacher)
            if recipe.sam_teacher is None:
                sam = self._last("teach_sam")
                for name in ("image_encoder", "prompt_encoder", "mask_decoder"):
                    getattr(model, name).load_state_dict(getattr(sam, name).state_dict())
            if recipe.clip_teacher is None:
                model.text_encoder.load_state_dict(self._last("teach_clip").text_encoder.state_dict())
            start_clip_head(model)
        return model.to(self.accelerator.device)

    def learner(self, index: int) -> Learner:
        """The model that a stage begins with, only the parts that it trains unfrozen, and their optimiser."""
        return learner(self.start(index), self.recipe.stages[index], self.recipe)

    def _run_stage(self, index: int) -> None:
        stage, learner = self.recipe.stages[index], self.learner(index)
        teachers = None if stage.task.startswith("teach") else self.teachers()
        if teachers and stage.names:
            names = name_features(learner.model, [*NAMES, *BACKGROUND_NAMES], ClipSteps.templates)
            teachers = teachers._replace(names=names)
        all_steps = stage.all_steps(len(self.clip_data), len(self.sam_data))
        last = max(round(all_steps * stage.stop_after), 1)
        step = self._restore(index, learner)
        began, images = time.perf_counter(), 0
        for parts in self.batches(stage, range(step, last)):
            values = self._step(learner, stage, teachers, rate_at(stage, step, all_steps), parts)
            step += 1
            images += self.accelerator.num_processes * sum(len(b.pixels) for part in parts for b in part if b)
            self._log(index, step, values)
            self._log_skipped(index, step, parts)
            self.report(f"{index + 1} {stage.task}", step, last)
            if step % self.recipe.save_every == 0 and step < last:
                if stage.task in ("joint", "distill") and self.forgets(index, step, learner.model, teachers):
                    break
                self._save(index, step, learner)
        model = learner.model
        if learner.average:
            for own, averaged in zip(model.parameters(), learner.average.module.parameters(), strict=True):
                own.data.copy_(averaged)  # not the buffers: BatchNorm's statistics are averages already
        model.eval()
        if self.accelerator.is_main_process:
            speed = images / (time.perf_counter() - began)
            self._log(index, None, {**measure(model, stage, self.held_out), "images/s": speed})
            trained = stage.task in ("joint", "adapt")
            note = f"recipe {self.recipe.preset}, seed {self.recipe.seed}, after {stage.task}"
            rendered = bool(self.recipe.clip_data.scenes and self.recipe.sam_data.scenes)
            calibrated = calibrate(model, self.held_out) if stage.names else None
            sizes = {batch.size for each in self.recipe.stages[: index + 1] for batch in each.batches}
            origin = checkpoint.Origin(
                trained=trained,
                rendered=rendered,
                note=note,
                calibrated=calibrated,
                trained_at=tuple(sorted(sizes, key=in_order)),
                weights=weights_of(self.recipe.sam_teacher, self.recipe.clip_teacher),
            )
            checkpoint.save(model.cpu(), self.finished(index), origin)
            self._state.unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()

    def _step(
        self, learner: Learner, stage: Stage, teachers: Teachers | None, rate: float, parts: list[Part]
    ) -> dict[str, float]:
        """Compute the gradients of all losses, then take one optimiser step. Returns losses, gradient norm and rate."""
        for group in learner.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        learner.optimizer.zero_grad()
        values = self.gradients(learner.model, stage, teachers, parts)
        moved = [parameter for group in learner.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(moved, CLIP_GRADIENT)
        learner.optimizer.step()
        if learner.average:
            learner.average.update_parameters(learner.model)
        return {**values, "gradient": float(norm), "rate": rate}

    def gradients(
        self, model: MergedModel, stage: Stage, teachers: Teachers | None, parts: list[Part]
    ) -> dict[str, float]:
        """Call `gradients.gradients` with this run's processes and precision."""
        return gradients(self.accelerator, self._bf16, model, stage, teachers, parts)

    def batches(self, stage: Stage, which: range) -> Iterator[list[Part]]:
        """Yield this process's share of the batch of every step in `which`, on its device.

        Raises InputError when a batch does not split evenly over the processes and their parts.
        """
        place = (self.accelerator.process_index, self.accelerator.num_processes)
        parts = self.recipe.accumulate
        for shape in stage.batches:
            if shape.images % (place[1] * parts):
                raise InputError(
                    f"recipe: a batch of {shape.images} images does not split over {place[1]} processes times "
                    f"{parts} parts; choose another number of images"
                )
        live = stage.task.startswith("teach") or self.recipe.stored is None
        stored = None if live else Stored(Path(self.recipe.stored or ""), self.recipe)
        rest = (which, place, parts, stored)
        nothing: Iterator[Any] = itertools.repeat([None] * parts, len(which))
        workers = self.recipe.workers
        clip = steps(ClipSteps(self.clip_data, stage.clip, *rest), workers) if stage.clip else nothing
        sam = steps(SamSteps(stage.masks, self.sam_data, [stage.sam], *rest), workers) if stage.sam else nothing
        for images, masks in zip(clip, sam, strict=True):
            yield [(self.here(a), self.here(b)) for a, b in zip(images, masks, strict=True)]

    def here(self, batch: Any) -> Any:
        """Move a batch to this process's device."""
        if batch is None:
            return None
        return type(batch)(*(part.to(self.accelerator.device) if isinstance(part, Tensor) else part for part in batch))

    def forgets(self, index: int, step: int, model: MergedModel, teachers: Teachers | None) -> bool:
        """Log the mean IoU of the student's masks with the SAM teacher's. Returns whether to stop (`Stage.forget`)."""
        assert teachers is not None
        stage = self.recipe.stages[index]
        kept = overlap(model, teachers.sam, stage, self.held_out)
        self._log(index, step, {"overlap with the SAM teacher": kept})
        return kept < stage.forget

    @property
    def _state(self) -> Path:
        return self.folder / "state.pt"

    def _save(self, index: int, step: int, learner: Learner) -> None:
        if self.accelerator.is_main_process:
            partial = self._state.with_suffix(".partial")
            state = {"stage": index, "step": step, "model": learner.model.state_dict()}
            state["optimizer"] = learner.optimizer.state_dict()
            state["average"] = learner.average.state_dict() if learner.average else None
            torch.save(state, partial)
            os.replace(partial, self._state)

    def _restore(self, index: int, learner: Learner) -> int:
        """Load the saved state of this stage, if there is one. Returns the step to go on from."""
        step = 0
        if self._state.is_file():
            state = torch.load(self._state, map_location=self.accelerator.device, weights_only=True)
            if state["stage"] == index:
                learner.model.load_state_dict(state["model"])
                learner.optimizer.load_state_dict(state["optimizer"])
                if learner.average:
                    learner.average.load_state_dict(state["average"])
                step = int(state["step"])
        self.accelerator.wait_for_everyone()
        if self.metrics:
            self.metrics.rewind(index + 1, self.recipe.stages[index].task, step)
        return step

    def _log(self, index: int, step: int | None, values: dict[str, float]) -> None:
        if self.metrics:
            self.metrics.write(index + 1, self.recipe.stages[index].task, step, values)

    def _log_skipped(self, index: int, step: int, parts: list[Part]) -> None:
        skipped = [name for part in parts for batch in part if batch is not None for name in batch.skipped]
        if skipped and self.metrics:
            self.metrics.skip(index + 1, step, skipped)
