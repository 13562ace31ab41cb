"""Runs the teachers on every image once and stores their answers; `data/stored.py` describes the files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from samclip_edge.errors import InputError
from samclip_edge.files import write_whole
from samclip_edge.progress import Progress, silent
from samclip_edge.train.data.batches import ClipSteps, collected, stacked
from samclip_edge.train.data.files import BrokenSample
from samclip_edge.train.data.loading import on_device
from samclip_edge.train.data.sources import Sample, Source
from samclip_edge.train.data.stored import PER_SHARD, Floats, clip_shard, eighths, fingerprint, sam_shard
from samclip_edge.train.processes import gathered, together
from samclip_edge.train.recipe import Batch, Data
from samclip_edge.train.stages import asked
from samclip_edge.train.teachers import Teachers
from samclip_edge.train.trainer import Trainer

_BATCH = 32  # images in one batch of the CLIP teacher


class Reinforcement:
    """Stores the answers of a recipe's teachers on the recipe's data."""

    def __init__(self, run: Trainer, folder: Path, progress: Progress = silent) -> None:
        """Raises InputError when the recipe never repeats its crops, or the folder holds answers for another recipe."""
        self.run, self.folder, self.progress = run, folder, progress
        self.broken: set[str] = set()
        self.stages = [stage for stage in run.recipe.stages if not stage.task.startswith("teach")]
        _repeats("clip_data", run.recipe.clip_data)
        _repeats("sam_data", run.recipe.sam_data)
        path, text = folder / "stored.json", json.dumps(fingerprint(run.recipe), indent=1)
        if path.is_file() and path.read_text("utf-8") != text:
            raise InputError(f"-o {folder}: holds answers for another recipe; name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)

    def store(self) -> None:
        """Write every shard that is not there yet. A shard is written to a temporary name and then renamed.

        Several processes share the shards; all have stored theirs, and know of all `broken` samples, when this returns.
        """
        with together():
            self._store(self.run.teachers())
        self.broken = set().union(*gathered(self.broken))

    def _store(self, teachers: Teachers) -> None:
        clip_shapes = {(b.size, b.things): b for stage in self.stages for b in stage.clip}
        for shape in clip_shapes.values():
            for shard in self._missing(clip_shard, shape, len(self.run.clip_data)):
                _write(clip_shard(self.folder, shape, shard), self._features(teachers, shape, shard))
        sam_shapes = {(s.sam.size, s.sam.things): (s.sam, s.masks) for s in self.stages if s.sam}
        for shape, masks in sam_shapes.values():
            for shard in self._missing(sam_shard, shape, len(self.run.sam_data)):
                _write(sam_shard(self.folder, shape, shard), self._answers(teachers, shape, masks, shard))

    def _missing(self, name: Callable[[Path, Batch, int], Path], shape: Batch, images: int) -> list[int]:
        """The shards that this process has to write."""
        place = self.run.accelerator
        own = range(place.process_index, -(-images // PER_SHARD), place.num_processes)
        shards = [n for n in own if not name(self.folder, shape, n).is_file()]
        return list(self.progress(shards, f"asking the teachers at {shape.size}"))

    def _samples(self, shard: int, images: int, variants: int) -> list[Sample]:
        return [
            Sample(image, variant)
            for image in range(shard * PER_SHARD, min((shard + 1) * PER_SHARD, images))
            for variant in range(variants)
        ]

    def _features(self, teachers: Teachers, shape: Batch, shard: int) -> Floats:
        """The CLIP features (n,V,E) of a shard: n images, V variants of each. A broken sample gets zeros."""
        source = self.run.clip_data
        assert isinstance(source, Source)  # it has variants
        samples = self._samples(shard, len(source), source.variants)
        rows: dict[Sample, Floats] = {}
        for start in range(0, len(samples), _BATCH):
            pictures = {}
            for sample in samples[start : start + _BATCH]:
                try:
                    pictures[sample] = source.picture(sample, shape, ClipSteps.templates).pixels
                except BrokenSample as broken:
                    self.broken.add(str(broken))
            if pictures:
                pixels = stacked(list(pictures.values())).to(self.run.accelerator.device).float()
                features = teachers.clip(pixels).float().cpu().numpy()
                rows |= dict(zip(pictures, features, strict=True))
        if not rows:
            raise InputError(f"clip_data: images {samples[0].image} to {samples[-1].image} are all broken")
        nothing = np.zeros_like(next(iter(rows.values())))
        features = np.stack([rows.get(sample, nothing) for sample in samples])
        return features.reshape(-1, source.variants, features.shape[-1]).astype(np.float32)

    def _answers(self, teachers: Teachers, shape: Batch, masks: int, shard: int) -> dict[str, np.ndarray]:
        """The mask logits and predicted IoUs of a shard, by image and variant. A broken sample has none."""
        source = self.run.sam_data
        assert isinstance(source, Source)
        found = {}
        for sample in self._samples(shard, len(source), source.variants):
            try:
                batch = collected([source.masked(sample, shape, masks)])
            except BrokenSample as broken:
                self.broken.add(str(broken))
                continue
            logits, predicted_ious = asked(teachers.sam, on_device(batch, self.run.accelerator.device))
            found[f"{sample.image}-{sample.variant}.logits"] = eighths(logits).cpu().numpy()
            found[f"{sample.image}-{sample.variant}.scores"] = predicted_ious.cpu().numpy()
        return found


def _repeats(name: str, data: Data) -> None:
    if not data.variants:
        raise InputError(f"recipe: {name} has variants: 0, so crops and prompts never repeat; say how many to store")


def _write(path: Path, content: np.ndarray | dict[str, np.ndarray]) -> None:
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    if isinstance(content, dict):
        np.savez_compressed(partial, **content)  # type: ignore[arg-type]
    else:
        np.save(partial, content)
    os.replace(partial, path)
