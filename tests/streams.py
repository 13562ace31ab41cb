"""What the tests of streams share: tar shards of small images that say where they lie, and what reads them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from PIL import Image

from samclip_edge.train.data.batches import ClipSteps
from samclip_edge.train.data.stream import Drawn, Lane, Stream
from samclip_edge.train.recipe import Batch

SHAPE = Batch(size=128, images=4)


def image_of(shard: int, number: int) -> bytes:
    """An image of one colour, which says where it lies."""
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (shard, number, 0)).save(file, "png")
    return file.getvalue()


def write(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def stream(folder: Path, *counts: int) -> Stream:
    """Shards of so many images each."""
    paths = [
        write(folder / f"{shard:02}.tar", {f"{number:03}.png": image_of(shard, number) for number in range(count)})
        for shard, count in enumerate(counts)
    ]
    return Stream(paths, seed=5, annotated=False, images=None)


def told(sample: Drawn) -> tuple[int, int]:
    """The shard and the number that an image says."""
    red, green, _ = sample.raw.pixels()[0, 0]
    return int(red), int(green)


def lanes(made: Stream, count: int) -> list[Lane]:
    return [Lane(made, count, start) for start in made.starts(count)]


def clip_steps(made: Stream, which: range, share: tuple[int, int] = (0, 1), parts: int = 1) -> ClipSteps:
    return ClipSteps(made, [SHAPE, Batch(size=256, images=2)], which, share, parts, None)
