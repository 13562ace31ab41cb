"""Measures a task: reads samples in other processes, asks the model in this one, and keeps what was found so far."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from samclip_edge.benchmarks.evaluation.identity import fingerprint, question, stamps
from samclip_edge.benchmarks.evaluation.journal import Journal
from samclip_edge.benchmarks.evaluation.task import Asked, Outcome, Sample, Task
from samclip_edge.errors import InputError, one_line

log = logging.getLogger(__name__)

_SEED = 0  # of the samples that a limit leaves
_AHEAD = 4  # calls of the model for which samples are read ahead


class Measured(NamedTuple):
    """What a task came to."""

    task: Task
    measures: dict[str, float]
    outcomes: dict[str, Outcome]  # by key
    skipped: dict[str, str]  # why, by key
    of: int  # samples of the data set
    fingerprint: str  # of all that decides the numbers
    journal: Journal  # to be removed once the result is where it belongs


def measure(task: Task, asked: Asked, limit: int | None = None) -> Measured:
    """Measure a task on its samples, or on `limit` of them, drawn by a seed.

    A run that was stopped before continues. Raises InputError where no sample can be used.
    """
    samples = limited(task.samples, limit)
    stamped, asks = stamps(samples, asked.data), question(task, asked)
    skipped: dict[str, str] = {}
    with Journal(asks, None if len(samples) == len(task.samples) else stamped.values()) as journal:
        left = [sample for sample in samples if stamped[sample.key] not in journal.found]
        if len(left) < len(samples):
            log.warning(
                "%s: goes on behind %d samples of a run that was stopped", task.column, len(samples) - len(left)
            )
        batches = [left[start : start + task.together] for start in range(0, len(left), task.together)]
        if left:
            task.prepare()
        with _read_ahead(task, left) as read:
            for batch in asked.progress(batches, f"measuring, {task.column}"):
                usable = dict(zip((sample.key for sample in batch), islice(read, len(batch)), strict=True))
                for key in [key for key, each in usable.items() if isinstance(each, InputError)]:
                    skipped[key] = one_line(usable.pop(key))
                if usable:
                    answers = task.answer(list(usable.values()))
                    journal.add(dict(zip((stamped[key] for key in usable), answers, strict=True)))
    outcomes = {key: journal.found[stamp] for key, stamp in stamped.items() if stamp in journal.found}
    if not outcomes:
        why = next(iter(skipped.values()), "it has none")
        raise InputError(f" {asked.data}: no sample can be used ({why}); fetch the data set again", "data")
    measures = task.measures(list(outcomes.values()))
    return Measured(task, measures, outcomes, skipped, len(task.samples), fingerprint(asks, stamped), journal)


def fingerprint_of(task: Task, asked: Asked, limit: int | None) -> str:
    """The fingerprint that a task's numbers would have."""
    return fingerprint(question(task, asked), stamps(limited(task.samples, limit), asked.data))


def limited(samples: Sequence[Sample], limit: int | None) -> list[Sample]:
    """`limit` of the samples, drawn by a seed and in their order; those of a smaller limit are among a larger one's."""
    if limit is None or limit >= len(samples):
        return list(samples)
    order = list(range(len(samples)))
    random.Random(_SEED).shuffle(order)
    return [samples[index] for index in sorted(order[:limit])]


@contextmanager
def _read_ahead(task: Task, samples: Sequence[Sample]) -> Iterator[Iterator[Any]]:
    """What is read of each sample, in order, or the InputError that says why it cannot be used."""
    if len(samples) <= task.together:  # not worth another process
        yield (_read(task.read, sample) for sample in samples)
        return
    count = max(1, min(4, (os.cpu_count() or 2) // 2))
    # Not forked: a child must not hold the threads and locks of the engine that runs here.
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _be_quiet)
    waiting: deque[Future[Any]] = deque()
    left = iter(samples)

    def ready() -> Iterator[Any]:
        waiting.extend(pool.submit(_read, task.read, each) for each in islice(left, _AHEAD * task.together))
        while waiting:
            read = waiting.popleft().result()
            waiting.extend(pool.submit(_read, task.read, each) for each in islice(left, 1))
            yield read

    try:
        yield ready()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(read: Any, sample: Sample) -> Any:
    try:
        return read(sample)
    except InputError as error:
        return error


def _be_quiet() -> None:
    """Leave Ctrl-C to the process that asked, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
