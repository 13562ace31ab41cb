"""Loads the batches of a stage ahead, in loader processes, and knows where each of their lanes stands (`stream`)."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from samclip_edge.errors import InputError
from samclip_edge.train.data.batches import Item, Steps
from samclip_edge.train.data.files import TRIES, BrokenSample
from samclip_edge.train.data.loader_processes import loader
from samclip_edge.train.data.places import digest
from samclip_edge.train.data.stream import Lane, Position, Stood, Stream

log = logging.getLogger(__name__)

Loaded = tuple[list[Any], Position, list[str]]  # parts of a step, where the lane stands after it, damaged shards


class Loader(Generic[Item]):
    """Iterates over the steps of a stage: for each, this process's parts of the batch.

    Iterating raises InputError when the data gives out, also when a loader process found it.
    """

    def __init__(self, steps: Steps[Item], workers: int, stood: Stood | None = None) -> None:
        """workers: loader processes; 0: this one loads. stood: what `stood` returned, to go on from."""
        self.steps, self.workers = steps, workers
        self.positions: list[Position] = []  # of the lanes of this process, if its data is a stream
        rank, processes = steps.share
        each, source = max(workers, 1), steps.source
        if isinstance(source, Stream):
            self.positions = source.starts(processes * each, stood)[rank * each : (rank + 1) * each]
        if stood is None or rank:  # the main process speaks for all
            return
        if stood.names != digest(source.names):
            goes_on = "the data goes on with a new epoch" if self.positions else "some images come again or not at all"
            log.warning("files were added, taken away or renamed since the run was stopped: %s", goes_on)
        elif self.positions and len(stood.lanes) != processes * each:
            log.warning("other processes or workers than before: the data goes on with a new epoch")

    def stood(self, positions: Iterable[list[Position]]) -> Stood:
        """Where the data of all processes stands. positions: of each process, in their order."""
        source = self.steps.source
        return Stood(digest(source.names), len(source.names), [each for own in positions for each in own])

    def __iter__(self) -> Iterator[list[Item]]:
        stream = self.steps.source
        dataset = _Streamed(self.steps, self.positions) if isinstance(stream, Stream) else self.steps
        made = loader(dataset, self.workers, prefetch_factor=4 if self.workers else None)
        if not isinstance(stream, Stream):
            yield from _told(iter(made))
            return
        for step, (parts, position, damaged) in zip(self.steps.steps, _told(iter(made)), strict=True):
            self.positions[step % len(self.positions)] = Position(*position)
            for line in damaged:
                if line not in stream.damaged:
                    log.warning("%s; the run goes on with what is whole", line)
                stream.damaged.add(line)
            yield parts


class _Streamed(IterableDataset[Loaded]):
    """The steps of a stage from a stream. Each loader process is one lane, and the lanes take turns, step by step."""

    def __init__(self, steps: Steps[Any], starts: Sequence[Position]) -> None:
        self.steps, self.starts = steps, list(starts)

    def __iter__(self) -> Iterator[Loaded]:
        steps, info = self.steps, get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        mine = steps.steps[worker::workers]
        if not mine:
            return
        assert isinstance(steps.source, Stream)
        lane = Lane(steps.source, workers * steps.share[1], self.starts[mine[0] % workers])
        for step in mine:
            parts = steps.parts(step, (itertools.islice(lane, TRIES) for _ in itertools.count()))
            yield parts, lane.position, lane.damaged
            lane.damaged = []


def on_device(batch: Any, device: torch.device, masks: bool = True) -> Any:
    """Move a batch (`Images`, `Masks` or None) to a device, where its pixels become float32. masks: move those too."""
    if batch is None:
        return None

    def moved(name: str, part: Any) -> Any:
        if not isinstance(part, Tensor) or (name == "masks" and not masks):
            return part
        there = part.to(device, non_blocking=True)
        return there.float() if name in ("pixels", "shown") else there

    return batch._replace(**{name: moved(name, part) for name, part in batch._asdict().items()})


def _told(items: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from items
    except (BrokenSample, InputError) as error:  # from a worker, its text is a traceback that ends with the line
        line = re.sub(r"^[\w.]+(BrokenSample|InputError): ", "", str(error).strip().splitlines()[-1])
        raise InputError(line if isinstance(error, InputError) else f"recipe: {line}") from None
