"""Loader processes: how they begin, and that they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


def loader(dataset: Dataset[Any], workers: int, **rest: Any) -> DataLoader[Any]:
    """PyTorch's loader of the items of a dataset one by one, in so many processes; 0: in this one.

    rest: further arguments of `DataLoader`. What is in the dataset must be picklable. A loader process imports the
    script that runs, so that has to keep what it does under `if __name__ == "__main__":`.
    """
    processes: dict[str, Any] = {}
    if workers:
        # A process that has threads, as gloo's, must not be forked: a lock that one of them holds at that moment stays
        # locked in the child for ever. The server has none, and has imported what loaders need.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["samclip_edge.train.data.batches"])
        processes = {"multiprocessing_context": context, "worker_init_fn": _end_with_parent}
    pinned = torch.cuda.is_available()
    return DataLoader(dataset, batch_size=None, num_workers=workers, pin_memory=pinned, **processes, **rest)


def _end_with_parent(_: int) -> None:
    """End this process when the one that it loads for is killed. (PyTorch would watch the server, which lives on.)"""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
