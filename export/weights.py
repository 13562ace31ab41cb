"""External weights of ONNX graphs: big tensors lie in a file that all sizes of a graph share, or in a checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

SMALL = 1024  # bytes; a smaller tensor stays in the graph, where shape inference can see it
# Bytes of alignment: a tensor of 16 pages or more starts on a page, to be memory-mapped; a smaller one on a line.
_PAGE, _LINE = 4096, 64


class WeightFile:
    """One file for the tensors of several graphs. Equal tensors are stored once.

    Tensors of two types are never equal, though their bytes may be: TensorRT refuses one place that is read as 320
    floats and as 640 halves.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[tuple[int, bytes], int] = {}  # by the type and the sha256 of the values
        self._end = 0

    def take(self, model: onnx.ModelProto) -> None:
        """Move the model's tensors of `SMALL` bytes or more into the file, and leave references to it."""
        with self.path.open("ab") as file:
            for tensor in model.graph.initializer:
                data = tensor.raw_data
                if len(data) < SMALL:
                    continue
                values = tensor.data_type, hashlib.sha256(data).digest()
                if values not in self._places:
                    page = _PAGE if len(data) >= 16 * _PAGE else _LINE
                    file.write(bytes(-self._end % page))
                    start = self._end + -self._end % page
                    file.write(data)
                    self._places[values], self._end = start, start + len(data)
                point_to(tensor, self.path.name, self._places[values], len(data))


class Place(NamedTuple):
    """Where a tensor lies in a checkpoint beside the graphs."""

    file: str
    offset: int
    length: int
    shape: tuple[int, ...]
    transposed: bool  # whether the graph's tensor is the transpose of the file's


def places(checkpoint: Path) -> dict[bytes, Place]:
    """Where each float16 tensor lies in a safetensors file, by the bytes of its values.

    A matrix is also listed by the bytes of its transpose, because a graph may hold it so.
    """
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
    """Make a tensor of a graph read its values from a file beside it. offset, length: in bytes."""
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
