"""The metrics of a run: `metrics.jsonl`, one line for each step, and the same values for TensorBoard."""

from __future__ import annotations

import json
import math
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from samclip_edge.files import write_whole


class Metrics:
    """Writes the metrics of a run's folder, and removes those of steps that a resumed run does again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self.skipped = 0  # samples, since this process began
        self._board = folder / "tensorboard"
        self._writer: SummaryWriter | None = None

    def rewind(self, stage: int, task: str, step: int) -> None:
        """Prepare to go on after `step` of a stage: drop the lines of later steps, and a line that is cut short."""
        kept = []
        for line in self.path.read_text("utf-8", "replace").splitlines() if self.path.is_file() else ():
            try:
                entry = json.loads(line)
                if (entry["stage"], entry.get("step", math.inf)) <= (stage, step):
                    kept.append(line + "\n")
            except (ValueError, LookupError, TypeError, AttributeError):  # cut short, or not ours
                continue
        write_whole(self.path, "".join(kept))
        if self._writer:
            self._writer.close()
        self._writer = SummaryWriter(str(self._board / f"{stage}-{task}"), purge_step=step + 1)

    def write(self, stage: int, task: str, step: int | None, values: dict[str, float]) -> None:
        """Write the values of a step; with `step` None, the measurements of the finished stage.

        What is not finite is left out: JSON has no such numbers.
        """
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        told = {"step": step, **values} if step is not None else {"measured": values}
        self._line({"stage": stage, "task": task, **told})
        assert self._writer
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if step is None:
            self._writer.flush()

    def skip(self, stage: int, step: int, samples: list[str]) -> None:
        """Write the samples of a step that could not be used. Each text names the sample and the reason."""
        self.skipped += len(samples)
        self._line({"stage": stage, "step": step, "skipped": samples})

    def _line(self, entry: dict[str, object]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
