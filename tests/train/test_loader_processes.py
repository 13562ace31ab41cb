"""Loader processes: none is a fork of a process that has threads, and none outlives the one that it loads for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import threading
from torch.utils.data import Dataset
from samclip_edge.train.data.loader_processes import loader

lock = threading.Lock()

class Asked(Dataset):
    def __len__(self):
        return 100
    def __getitem__(self, item):
        import os
        with lock:
            return os.getpid()

if __name__ == "__main__":
    with lock:  # as a thread may, at the moment of a fork
        pids = iter(loader(Asked(), 1))
        print(next(pids), flush=True)
        while True:
            next(pids, None)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_lock_of_the_process_does_not_stop_its_loader_which_ends_when_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    assert worker != process.pid
    assert alive(worker)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    began = time.monotonic()
    while alive(worker) and time.monotonic() < began + 60:
        time.sleep(0.1)
    assert not alive(worker)
