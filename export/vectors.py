"""Test vectors: inputs and expected outputs as files, for the tests of an app in any language.

Every file holds one array, little-endian, in C order (row by row). `vectors/index.json` gives the file, dtype and shape
of each array. The outputs of a graph are torch's. Those of `preprocess_S` and `postprocess_S` come from this package's
own pre- and post-processing. What the whole pipeline answers is in `vectors/pipeline.json` (`export.pipeline_vectors`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samclip_edge import data
from samclip_edge.bundle.contract import Arrays, GraphName
from samclip_edge.bundle.folder import describe
from samclip_edge.bundle.manifest import File
from samclip_edge.bundle.sizes import Size
from samclip_edge.export.parity import Case
from samclip_edge.photo.frame import Frame
from samclip_edge.photo.read import read_photo

FOLDER = "vectors"
PHOTO = data.FOLDER / "photos" / "chelsea.jpg"  # of a cat, wider than high


class Vectors:
    """Writes test vectors into a bundle's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Path] = []
        self._index: dict[str, Any] = {}
        (folder / FOLDER).mkdir()

    def graph(self, name: GraphName, size: Size | None, case: Case) -> None:
        """Write the inputs of a graph and torch's outputs."""
        self._write(f"{name}_{size}" if size else name, *case)

    def photo(self, size: Size) -> None:
        """Write two vectors: a photo with the `image` that it becomes, and low-res logits with their mask.

        The photo is (H,W,3) uint8 RGB. The mask is (H,W), 0 or 1, in photo pixels.
        """
        pixels = read_photo(PHOTO)
        frame = Frame.of(pixels, size)
        self._write(f"preprocess_{size}", {"photo": pixels}, {"image": frame.image(pixels)})
        rows, columns = frame.low_res
        y, x = np.mgrid[:rows, :columns] / max(rows, columns)
        logits = (8 - 80 * ((x - 0.4) ** 2 + (y - 0.3) ** 2)).astype(np.float32)
        mask = (frame.to_photo(logits) > 0).astype(np.uint8)
        self._write(f"postprocess_{size}", {"logits": logits}, {"mask": mask})

    def _write(self, what: str, inputs: Arrays, outputs: Arrays) -> None:
        def write(side: str, arrays: Arrays) -> dict[str, Any]:
            return {name: self.array(f"{what}.{side}.{name}", np.asarray(each)) for name, each in arrays.items()}

        self._index[what] = {"inputs": write("in", inputs), "outputs": write("out", outputs)}

    def array(self, name: str, values: npt.NDArray[Any]) -> dict[str, Any]:
        """Write an array as `NAME.bin`. Returns its entry for an index: file, dtype and shape."""
        path = self._folder / FOLDER / f"{name}.bin"
        path.write_bytes(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes())
        self._made.append(path)
        return {"file": path.name, "dtype": values.dtype.name, "shape": list(values.shape)}

    def listed(self, name: str, told: dict[str, Any]) -> None:
        """Write an index as `NAME.json`."""
        path = self._folder / FOLDER / f"{name}.json"
        path.write_text(json.dumps(told, indent=1), "utf-8")
        self._made.append(path)

    def finish(self) -> tuple[File, ...]:
        """Write the index of the graphs. Returns the manifest's entries, that index first."""
        self.listed("index", self._index)
        return tuple(describe(self._folder, path) for path in (self._made[-1], *self._made[:-1]))
