"""Runs a recipe, stage after stage, on one process or on many. A run that was stopped goes on where it was.

A run is a folder. It holds `recipe.json`, a checkpoint for each finished stage, `state.pt` for the stage under way,
`metrics.jsonl` with one line for each step, and `tensorboard/`. The data of a step depends on the recipe and the step
alone, and that of a stream on where it stood, which `state.pt` keeps too. `state.pt` and the checkpoints are written
under a temporary name and then renamed. So a run that was killed at any moment goes on with the same data and losses,
and ends with the same weights.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samclip_edge.bundle.sizes import in_order
from samclip_edge.errors import InputError
from samclip_edge.files import write_whole
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel
from samclip_edge.model.names import name_features
from samclip_edge.model.public import merged
from samclip_edge.text.names import BACKGROUND_NAMES
from samclip_edge.train.calibrate import calibrate
from samclip_edge.train.conse import named
from samclip_edge.train.data.batches import ClipSteps, SamSteps, Steps
from samclip_edge.train.data.loading import Loader, on_device
from samclip_edge.train.data.sources import Source
from samclip_edge.train.data.stored import Stored
from samclip_edge.train.data.stream import names_in, open_data
from samclip_edge.train.first_model import first_model, made_of
from samclip_edge.train.gradients import Part, gradients, has_bf16
from samclip_edge.train.learner import Learner, rate_at
from samclip_edge.train.measure import measure, overlap
from samclip_edge.train.metrics import Metrics
from samclip_edge.train.processes import agreed, company, gathered, in_turn, start, together, told
from samclip_edge.train.recipe import Recipe, Stage
from samclip_edge.train.state import Saved, load_state, save_state
from samclip_edge.train.teachers import Names, OwnClip, Teachers
from samclip_edge.train.texts import Taught, taught

Report = Callable[[str, int, int], None]  # called with the stage, the steps done, and the steps in all


class Trainer:
    """A recipe being run in a folder."""

    def __init__(self, recipe: Recipe, folder: Path, report: Report = lambda *_: None) -> None:
        self.recipe, self.folder, self.report = recipe, folder, report
        self.accelerator = start()
        self._bf16 = recipe.precision == "bf16" and has_bf16()
        told(self._claim)
        with together():
            if not self._claimed.is_file():
                raise InputError(f"-o {folder}: the main process writes another; all servers need one shared folder")
            if not _same(self._claimed, recipe):
                raise InputError(f"{self._claimed}: is not this process's recipe; give all processes the same file")
        self.clip_data = in_turn(lambda: open_data(recipe.clip_data, recipe.seed, False, folder))
        self.sam_data = in_turn(lambda: open_data(recipe.sam_data, recipe.seed, True, folder))
        self.held_out = in_turn(lambda: Source(recipe.held_out, recipe.seed, True, folder))
        for name, data in (("clip_data", self.clip_data), ("sam_data", self.sam_data), ("held_out", self.held_out)):
            agreed(f"recipe: {name}", data.names)
        for stage in recipe.stages:
            stage.all_steps(len(self.clip_data), len(self.sam_data))  # refuses data that nobody has counted
        self.names = told(lambda: names_in(self.sam_data)) if any(stage.names for stage in recipe.stages) else []
        self.loaders: dict[str, Loader[Any]] = {}  # of the stage under way, by data set
        self.taught: Taught | None = None  # the texts of the stage under way
        self.metrics = Metrics(folder) if self.accelerator.is_main_process else None

    @property
    def _claimed(self) -> Path:
        return self.folder / "recipe.json"

    def _claim(self) -> None:
        """Write `recipe.json` into the folder. Raises InputError when it holds another recipe's run, or other files."""
        path = self._claimed
        if path.is_file() and not _same(path, self.recipe):
            raise InputError(f"-o {self.folder}: holds a run of another recipe; name another folder")
        if not path.is_file() and self.folder.is_dir() and any(self.folder.iterdir()):
            raise InputError(f"-o {self.folder}: holds other files; name a new or empty folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*.partial"):  # by a process that was killed while it wrote
            left.unlink()
        write_whole(path, self.recipe.model_dump_json(indent=1))

    def finished(self, index: int) -> Path:
        """The path of the checkpoint that stage `index` writes when it is finished."""
        return self.folder / f"{index + 1}-{self.recipe.stages[index].task}.safetensors"

    def _name(self, index: int) -> str:
        return f"stage {index + 1} {self.recipe.stages[index].task}"

    def train(self) -> Path:
        """Run every stage that is not finished yet. Returns the path of the last checkpoint.

        Raises InputError, before the first step, when a batch of one of them does not split over the processes.
        """
        stages = range(len(self.recipe.stages))
        left = told(lambda: [each for each in stages if not self.finished(each).is_file()])
        for index in left:
            self.recipe.stages[index].check_split(self.accelerator.num_processes, self.recipe.accumulate)
        for index in left:
            self._run_stage(index)
        return self.finished(stages[-1])

    def _read(self, index: int) -> MergedModel:
        return checkpoint.load(self.finished(index))[0].to(self.accelerator.device)

    def _last(self, task: str) -> MergedModel:
        """The model of the last stage of a task."""
        return self._read(max(i for i, stage in enumerate(self.recipe.stages) if stage.task == task))

    def teachers(self) -> Teachers:
        """The frozen teachers, on this process's device."""
        recipe, device = self.recipe, self.accelerator.device
        clip = named(recipe.clip_teacher, device) if recipe.clip_teacher else OwnClip(self._last("teach_clip"))
        sam = self._last("teach_sam") if recipe.sam_teacher is None else merged(recipe.preset, sam=recipe.sam_teacher)
        return Teachers(clip, sam.to(device).requires_grad_(False))

    def start(self, index: int) -> MergedModel:
        """The model that a stage begins with."""
        before = self.recipe.before(index, self.recipe.stages[index].task)
        model = first_model(self.recipe, index, self._last) if before is None else self._read(before)
        return model.to(self.accelerator.device)

    def learner(self, index: int) -> Learner:
        """The model that a stage begins with, only the parts that it trains unfrozen, and their optimiser."""
        return Learner(self.start(index), self.recipe.stages[index], self.recipe)

    def _run_stage(self, index: int) -> None:
        stage = self.recipe.stages[index]
        with together():
            learner = self.learner(index)
            teachers = None if stage.task.startswith("teach") else self.teachers()
            if teachers and stage.names:
                features = name_features(learner.model, [*self.names, *BACKGROUND_NAMES], ClipSteps.templates)
                teachers = teachers._replace(names=Names(self.names, features))
        self.taught = in_turn(lambda: taught(self.recipe, stage, self.folder, self.accelerator.device))
        all_steps = told(lambda: stage.all_steps(len(self.clip_data), len(self.sam_data)))
        last = max(round(all_steps * stage.stop_after), 1)
        saved = self._restore(index, learner)
        batches = self.batches(stage, range(learner.step, last), teachers, saved)
        began = time.perf_counter()
        while learner.step < last:
            with together(), company():  # the data of one process may give out, and not that of the others
                parts = next(batches)
            rate = rate_at(stage, learner.step, all_steps)
            learner.begin(rate)
            with company():
                values = learner.take(self.gradients(learner.model, stage, teachers, parts))
            batched = [batch for part in parts for batch in part if batch is not None]
            learner.images += self.accelerator.num_processes * sum(batch.size for batch in batched)
            learner.seconds, began = learner.seconds + time.perf_counter() - began, time.perf_counter()
            skipped = gathered([name for batch in batched for name in batch.skipped])
            with together():  # the disk of the main process may be full
                self._write(index, learner.step, values | {"rate": rate})
                if self.metrics and any(skipped):
                    self.metrics.skip(index + 1, learner.step, [*itertools.chain(*skipped)])
            learner.check(self._name(index), values)
            self.report(f"{index + 1} {stage.task}", learner.step, last)
            if learner.step % self.recipe.save_every == 0 and learner.step < last:
                if self._forgets(index, learner, teachers):
                    break
                self._save(index, learner)
        del batches  # and its worker processes
        told(lambda: self._finish(index, learner))

    def _finish(self, index: int, learner: Learner) -> None:
        """Measure what a stage has learned, and write its checkpoint."""
        recipe, stage = self.recipe, self.recipe.stages[index]
        learner.check_weights(self._name(index))
        model = learner.learned()
        found = self.taught.measure(model) if self.taught else measure(model, stage, self.held_out)
        self._write(index, None, found | learner.speed() | {"skipped steps": learner.skipped})
        sizes = {batch.size for each in recipe.stages[: index + 1] for batch in each.batches}
        origin = checkpoint.Origin(
            trained=stage.task in ("joint", "adapt"),
            rendered=bool(recipe.clip_data.scenes and recipe.sam_data.scenes),
            note=f"recipe {recipe.preset}, seed {recipe.seed}, after {stage.task}",
            calibrated=calibrate(model, self.held_out) if stage.names else None,
            trained_at=tuple(sorted(sizes, key=in_order)),
            weights=made_of(recipe),
        )
        checkpoint.save(model.cpu(), self.finished(index), origin)
        self._state.unlink(missing_ok=True)

    def gradients(
        self, model: MergedModel, stage: Stage, teachers: Teachers | None, parts: list[Part]
    ) -> dict[str, Tensor]:
        """Call `gradients.gradients` with this run's processes and precision. Raises InputError when memory is full."""
        try:
            return gradients(self.accelerator, self._bf16, model, stage, teachers, parts)
        except torch.OutOfMemoryError as error:
            mend = "raise accumulate, set recompute: true, or choose fewer images"
            raise InputError(f"recipe: a step of {stage.task} fills the GPU's memory; {mend}") from error

    def batches(
        self, stage: Stage, which: range, teachers: Teachers | None = None, saved: Saved | None = None
    ) -> Iterator[list[Part]]:
        """Yield this process's share of the batch of every step in `which`, on its device.

        teachers: asked how the CLIP teacher is shown padded photos. saved: where streams go on from.
        """
        place = (self.accelerator.process_index, self.accelerator.num_processes)
        parts = self.recipe.accumulate
        live = stage.task.startswith("teach") or self.recipe.stored is None
        stored = None if live else Stored(Path(self.recipe.stored or ""), self.recipe)
        padded = any(shape.padded for shape in stage.clip)
        rest = (which, place, parts, stored, teachers.clip.view if teachers and padded else None)
        made: dict[str, Steps[Any]] = {}
        if stage.clip:
            made["clip"] = ClipSteps(self.clip_data, stage.clip, *rest)
        if self.taught:
            made["clip"] = self.taught.steps(which, place, parts)
        if stage.sam:
            made["sam"] = SamSteps(stage.masks, self.sam_data, [stage.sam], *rest, shake=stage.shake)
        self.loaders = {
            name: Loader(steps, self.recipe.workers, (saved or {}).get(name)) for name, steps in made.items()
        }
        nothing: Iterator[Any] = itertools.repeat([None] * parts, len(which))
        clip, sam = (iter(self.loaders[name]) if name in made else nothing for name in ("clip", "sam"))
        reads = stage.task == "teach_sam" or bool(stage.regions or stage.names)
        device = self.accelerator.device
        for images, masks in zip(clip, sam, strict=True):
            yield [(on_device(a, device), on_device(b, device, reads)) for a, b in zip(images, masks, strict=True)]

    def _forgets(self, index: int, learner: Learner, teachers: Teachers | None) -> bool:
        """Log the mean IoU of the student's masks with the SAM teacher's. Returns whether to stop (`Stage.forget`).

        The main process decides: another's would come out a little different, and one would wait for ever.
        """
        stage = self.recipe.stages[index]
        if stage.task not in ("joint", "distill"):
            return False
        assert teachers is not None
        sam = teachers.sam

        def decide() -> bool:
            kept = overlap(learner.model, sam, stage, self.held_out)
            self._write(index, learner.step, {"overlap with the SAM teacher": kept})
            return kept < stage.forget

        return told(decide)

    @property
    def _state(self) -> Path:
        return self.folder / "state.pt"

    def _save(self, index: int, learner: Learner) -> None:
        stood = {name: loader.stood(gathered(loader.positions)) for name, loader in self.loaders.items()}

        def write() -> None:
            learner.check_weights(self._name(index))
            self._write(index, learner.step, learner.speed())
            save_state(self._state, index, learner, stood)

        told(write)

    def _restore(self, index: int, learner: Learner) -> Saved:
        """Go on from the saved state of this stage, if there is one. Returns where all lanes of its data stood."""
        with together():
            saved = load_state(self._state, index, learner)
        step = told(lambda: learner.step)
        with together():
            if learner.step != step:
                raise InputError(f"{self._state}: the main process sees another; all servers need one shared folder")
            if self.metrics:
                self.metrics.rewind(index + 1, self.recipe.stages[index].task, step)
        return saved

    def _write(self, index: int, step: int | None, values: dict[str, float]) -> None:
        if self.metrics:
            self.metrics.write(index + 1, self.recipe.stages[index].task, step, values)


def _same(path: Path, recipe: Recipe) -> bool:
    """Whether a `recipe.json` is that recipe's. One of an older version lacks keys that are new since."""
    try:
        text = path.read_text("utf-8")
        return text == recipe.model_dump_json(indent=1) or Recipe.model_validate_json(text) == recipe
    except ValueError:
        return False
