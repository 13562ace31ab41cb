"""What LiteRT's GPU leaves to the CPU, or would compute wrongly, is named with why; see `litert_operators`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from samclip_edge.export.targets.litert_conversion import Call, convert
from samclip_edge.export.targets.litert_operators import taken


class Asked(nn.Module):
    """A function of one tensor."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


NAMED: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "BATCH_MATMUL (of a constant from the left)": ((1, 4, 6, 2), lambda x: torch.ones(1, 4, 3, 6) @ x),
    "BATCH_MATMUL (of unequal numbers of matrices: computed wrongly)": (
        (1, 4, 6, 2),
        lambda x: x @ torch.ones(1, 1, 2, 6),
    ),
    "MUL (of two dimensions with more: computed wrongly)": (
        (7, 8),
        lambda x: x * torch.arange(32.0).reshape(1, 4, 1, 8),
    ),
    "ADD (of a batch)": ((2, 3, 4, 4), lambda x: x + 1),
    "TRANSPOSE (of more than four dimensions)": ((1, 2, 3, 4, 5), lambda x: x.permute(0, 2, 1, 4, 3)),
}


@pytest.mark.parametrize("what", NAMED)
def test_what_the_gpu_leaves_or_computes_wrongly_is_named(tmp_path: Path, what: str) -> None:
    shape, function = NAMED[what]
    path = tmp_path / "some.tflite"
    convert([Call("asked", Asked(function).eval(), {"x": np.ones(shape, np.float32)}, ("y",))], path)
    found = taken(path, ["asked"])
    assert what in found.left["GPU"]
    assert found.operators[what.split()[0]] == 1


def test_a_graph_that_every_processor_takes_is_left_whole(tmp_path: Path) -> None:
    path = tmp_path / "some.tflite"
    function = Asked(lambda x: (x @ torch.ones(1, 4, 2, 6)).softmax(dim=-1) + torch.arange(6.0))
    convert([Call("asked", function.eval(), {"x": np.ones((1, 4, 6, 2), np.float32)}, ("y",))], path)
    assert taken(path, ["asked"]).left == {"GPU": (), "Qualcomm NPU": (), "MediaTek NPU": ()}
