"""Weights beside ONNX graphs: big tensors in files that all sizes of a graph share, or read from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

SMALL = 1024  # bytes; a smaller tensor stays in the graph, where shape inference can see it
_PAGE, _LINE = 4096, 64  # alignment of big and of lesser tensors: a page can be memory-mapped


class WeightFile:
    """Tensors of several graphs in one file, each different tensor once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[bytes, int] = {}
        self._end = 0

    def take(self, model: onnx.ModelProto) -> None:
        """Move the model's big tensors into the file and leave references to it."""
        with self.path.open("ab") as file:
            for tensor in model.graph.initializer:
                data = tensor.raw_data
                if len(data) < SMALL:
                    continue
                if data not in self._places:
                    page = _PAGE if len(data) >= 16 * _PAGE else _LINE
                    file.write(bytes(-self._end % page))
                    start = self._end + -self._end % page
                    file.write(data)
                    self._places[data], self._end = start, start + len(data)
                point_to(tensor, self.path.name, self._places[data], len(data))


class Place(NamedTuple):
    """Where a tensor lies in a checkpoint beside the graphs."""

    file: str
    offset: int
    length: int
    shape: tuple[int, ...]
    transposed: bool  # whether a graph that holds these very bytes wants the transpose of what the file holds


def places(checkpoint: Path) -> dict[bytes, Place]:
    """Where in a half-precision safetensors file to find the bytes that a graph may hold, matrices also transposed."""
    found: dict[bytes, Place] = {}
    raw = checkpoint.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F16":
            continue
        first, last = entry["data_offsets"]
        content, shape = raw[start + first : start + last], tuple(entry["shape"])
        place = Place(checkpoint.name, start + first, last - first, shape, transposed=False)
        if len(shape) == 2:
            turned = np.frombuffer(content, np.float16).reshape(shape).T
            found.setdefault(turned.tobytes(), place._replace(transposed=True))
        found[content] = place
    return found


def point_to(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Have a tensor of a graph read its values from a file beside it."""
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
