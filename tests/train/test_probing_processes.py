"""Two processes train and measure the head that one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from probes import RECIPE, drawn, mapped, read_labels, silent

from samclip_edge.errors import InputError
from samclip_edge.photo.resize import Pixels
from samclip_edge.train.probing.backbones import backbone
from samclip_edge.train.probing.data import IGNORED, Truth
from samclip_edge.train.probing.probe import Probe
from samclip_edge.train.processes import start

SCRIPT = """
import os, sys
from pathlib import Path
import torch
from test_probing_processes import heads, unlike

for name, told in heads(Path(sys.argv[1]) / "two").items():
    torch.save(told, Path(sys.argv[1]) / f"{name}.{os.environ['RANK']}")
print("\\n".join(unlike(Path(sys.argv[1]) / "unlike")))
"""


def read_unlike(number: int) -> tuple[Pixels, Truth]:
    """Of some photos most pixels count, and of others few."""
    pixels, labels = read_labels(number)
    labels[: 25 * (number % 3)] = IGNORED
    return pixels, labels


def heads(folder: Path) -> dict[str, dict]:
    """A head for whole photos and one for pixels, after 6 steps, and what they answer."""
    found = {}
    for name, photos in (("whole", drawn(12)), ("pixels", replace(mapped(12), read=read_unlike))):
        probe = Probe(RECIPE, backbone("tiny", 64), "linear", photos, folder / name, silent)
        probe.train()
        of = probe.measure(replace(photos, count=7))
        weights = {each.removeprefix("module."): value for each, value in probe.head.state_dict().items()}
        found[name] = {"weights": weights, "measures": of.measures, "goodness": of.goodness}
    return found


def unlike(folder: Path) -> list[str]:
    """What is said where the second process has other photos to train on, and then to measure."""
    said = []
    mine = replace(drawn(12), sha256=os.environ["RANK"])
    for photos, held_out in ((mine, drawn(7)), (drawn(12), mine)):
        try:
            Probe(RECIPE, backbone("tiny", 64), "linear", photos, folder, silent).measure(held_out)
        except InputError as error:
            said.append(str(error))
    return said


def test_two_processes_train_and_measure_the_head_of_one(tmp_path: Path) -> None:
    """They are started with what torchrun tells them, and not by it, which takes seconds to import torch itself."""
    (tmp_path / "both.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [sys.executable, tmp_path / "both.py", tmp_path],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": os.pathsep.join(folders)},
            cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    for (out, _), begin in zip(told, ("process 1 stopped: ", ""), strict=True):
        for line, what in zip(out.splitlines(), ("training photos or labels", "photos that are measured"), strict=True):
            assert line.startswith(f"{begin}probe: th")
            assert f" process finds {what} " in line
    for name, one in heads(tmp_path / "one").items():
        for rank in "01":
            two = torch.load(tmp_path / f"{name}.{rank}")
            torch.testing.assert_close(two, one, rtol=0, atol=1e-3)  # AdamW makes more of rounding


@pytest.mark.parametrize("exported", [False, True])
def test_one_process_where_several_were_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch, exported: bool) -> None:
    """What `accelerate launch --cpu --num_processes 2` sets, which starts one process that knows of no other; and with
    1, where the port is exported.
    """
    port = ["MASTER_ADDR", "MASTER_PORT"]
    own = ["ACCELERATE_USE_CPU", "ACCELERATE_DYNAMO_BACKEND"]
    for name in ("WORLD_SIZE", "RANK", *port, *own):
        monkeypatch.delenv(name, raising=False)
    for name in (*port, *own) if exported else (own[0], *port, own[1]):
        monkeypatch.setenv(name, "NO")
    if exported:
        assert start().num_processes == 1
        return
    with pytest.raises(InputError, match=r"starts one process, whatever --num_processes says; start them by `torchrun"):
        start()
