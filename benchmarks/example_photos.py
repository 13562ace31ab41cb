"""Photos to measure with, made of those that ship: of 12 megapixels, and many of 640x480. The same on every machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samclip_edge import data
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Pixels

LARGE, SMALL = (4000, 3000), (640, 480)  # width, height
COUNT = 100
GRAIN = 6.0  # standard deviation of noise in levels of 255: an enlarged photo without it is half as large a JPEG


def example_photos(folder: Path) -> dict[str, Any]:
    """Write the photos into a folder. Returns the paths: `photo` of 512x512, `large`, and `many`."""
    shipped = [read_photo(path) for path in data.photos()]
    generator = np.random.default_rng(0)
    large = _resized(shipped[-1], LARGE).astype(np.int16)
    large += np.rint(generator.normal(scale=GRAIN, size=large.shape)).astype(np.int16)
    _write(np.clip(large, 0, 255).astype(np.uint8), folder / "large.jpg")
    many = [folder / f"{index}.jpg" for index in range(COUNT)]
    for index, path in enumerate(many):
        photo = shipped[index % len(shipped)]
        rows, columns = photo.shape[0] * 3 // 4, photo.shape[1] * 3 // 4
        y, x = generator.integers(photo.shape[0] - rows), generator.integers(photo.shape[1] - columns)
        _write(_resized(photo[y : y + rows, x : x + columns], SMALL), path)
    return {"photo": str(data.photos()[0]), "large": str(folder / "large.jpg"), "many": list(map(str, many))}


def _resized(photo: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


def _write(photo: Pixels, path: Path) -> None:
    Image.fromarray(photo).save(path, quality=90)
