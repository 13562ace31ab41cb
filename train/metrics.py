"""What a run measured: `metrics.jsonl`, a line a step, and the same for TensorBoard."""

from __future__ import annotations

import json
import math
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from samclip_edge.train.data.files import write_whole


class Metrics:
    """Writes the metrics of a run's folder, and takes back those of steps that are done again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self.skipped = 0  # samples, since this process began
        self._board = folder / "tensorboard"
        self._writer: SummaryWriter | None = None

    def rewind(self, stage: int, task: str, step: int) -> None:
        """Go on after a step of a stage: drop the lines of later ones, and a line that a kill cut short."""
        kept = []
        for line in self.path.read_text().splitlines() if self.path.is_file() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if (entry["stage"], entry.get("step", math.inf)) <= (stage, step):
                kept.append(line + "\n")
        write_whole(self.path, "".join(kept))
        if self._writer:
            self._writer.close()
        self._writer = SummaryWriter(str(self._board / f"{stage}-{task}"), purge_step=step + 1)

    def write(self, stage: int, task: str, step: int | None, values: dict[str, float]) -> None:
        """Values after a step, or, without one, what the finished stage can do."""
        told = {"step": step, **values} if step is not None else {"measured": values}
        self._line({"stage": stage, "task": task, **told})
        assert self._writer
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if step is None:
            self._writer.flush()

    def skip(self, stage: int, step: int, samples: list[str]) -> None:
        """Samples of a step that could not be used, each with its name and the reason."""
        self.skipped += len(samples)
        self._line({"stage": stage, "step": step, "skipped": samples})

    def _line(self, entry: dict[str, object]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
