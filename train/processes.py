"""What the processes of a run tell each other, so that none goes a way of its own and leaves the others waiting.

Whatever one process decides or finds by itself goes through here: a choice of the main process, and an error that only
one of them meets.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, distributed

from samclip_edge.errors import InputError, one_line
from samclip_edge.train.data.places import digest

PATIENCE = timedelta(hours=1)  # that processes wait for one: longer than to measure a stage or to list a large folder
T = TypeVar("T")
_NUMBERS = {"WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"}  # in which launchers say how many


def start(precision: str = "no") -> Accelerator:
    """Join the processes that torchrun or `accelerate launch` started; or be the only one.

    precision: of what is computed under Accelerate's `autocast`; `gradients` applies a recipe's by itself. Raises
    InputError where `accelerate launch` was asked for several and started one. (Where MASTER_PORT is exported, one of
    several cannot be told from one.)
    """
    names = list(os.environ)
    asked = {"ACCELERATE_USE_CPU", "MASTER_PORT"} <= os.environ.keys()
    # It sets the port for several alone, behind what is its own; an exported port keeps its place before that.
    asked = asked and names.index("ACCELERATE_USE_CPU") < names.index("MASTER_PORT")
    if asked and not _NUMBERS & os.environ.keys():
        raise InputError(
            "accelerate launch: without several GPUs it starts one process, whatever --num_processes says; "
            "start them by `torchrun --nproc-per-node N`, or ask for one"
        )
    waits = InitProcessGroupKwargs(timeout=PATIENCE)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    cpu = several and not torch.cuda.is_available()  # else processes without a GPU would not join, and each run it all
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=[waits])
    atexit.register(accelerator.end_training)  # else gloo's running threads abort one exit in ten
    return accelerator


@contextmanager
def company() -> Iterator[None]:
    """What fails inside because another process is gone, a loader process too, raises InputError, which says so."""
    try:
        yield
    except RuntimeError as error:
        if not re.search("gloo|nccl|dataloader worker", str(error), re.IGNORECASE):
            raise
        mend = "what it printed says why; where memory ran out, lower workers"
        raise InputError(f"another process is gone ({one_line(error)[-80:]}); {mend}") from error


def gathered(own: T) -> list[T]:
    """What each process has, in their order. Raises InputError where one is gone."""
    if not distributed.is_initialized():
        return [own]
    found = [own] * distributed.get_world_size()
    with company():
        distributed.all_gather_object(found, own)
    return found


def summed(values: Tensor) -> Tensor:
    """The sum over processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def agreed(what: str, own: Sequence[str]) -> None:
    """Raise InputError, in all processes, where one has other names than the main process. what: they are names of."""
    if len(set(gathered(digest(own)))) == 1:
        return
    wanted = told(lambda: list(own))
    with together():
        odd = sorted(set(own) ^ set(wanted))
        if odd:
            one, other = ("this", "the main") if odd[0] in own else ("the main", "this")
            raise InputError(
                f"{what}: {one} process finds {odd[0]}, and {other} process does not; all need the same files"
            )


@contextmanager
def together() -> Iterator[None]:
    """What is done inside succeeds in every process, or stops them all.

    An error goes on in the process that met it. The others raise InputError with its text.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as raised:
        error = raised
    told = gathered("" if error is None else one_line(error))
    if error is not None:
        raise error
    for process, text in enumerate(told):
        if text:
            raise InputError(f"process {process} stopped: {text}")


def told(make: Callable[[], T]) -> T:
    """What the main process makes, told to all. An error there stops them all, as in `together`."""
    made: list[T | None] = [None]
    with together():
        if not distributed.is_initialized() or distributed.get_rank() == 0:
            made[0] = make()
    return gathered(made[0])[0]  # type: ignore[return-value]


def in_turn(make: Callable[[], T]) -> T:
    """What each process makes for itself: first the main process, which writes the files that the others then read."""
    main = not distributed.is_initialized() or distributed.get_rank() == 0
    made: list[T] = []
    for turn in (True, False):
        with together():
            if main == turn:
                made.append(make())
    return made[0]
