"""Measures how fast a recipe's data loads, with nothing that trains: `python -m samclip_edge.train.speed RECIPE`.

It prints how long the first image and the first batch of D_CLIP take, and the images a second of the loader beside what
limits it: the reading of the shards alone, and the decoding of their images alone in one process.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from samclip_edge.errors import InputError
from samclip_edge.train.data.batches import ClipSteps
from samclip_edge.train.data.loading import Loader
from samclip_edge.train.data.stream import Lane, Stream, open_data, samples_of
from samclip_edge.train.recipe import read_recipe

_BLOCK = 1 << 22


def measured(counts: Iterable[int], seconds: float) -> tuple[int, float]:
    """The sum of counts that come within so many seconds, at least one of them, and the seconds that it took."""
    began, total = time.perf_counter(), 0
    for count in counts:
        total += count
        if time.perf_counter() - began > seconds:
            break
    return total, time.perf_counter() - began


def read(paths: Iterable[Path]) -> Iterable[int]:
    """Read files from the disk, not from memory where the system forgets them. Yields how many bytes came."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while block := file.read(_BLOCK):
                yield len(block)


def main() -> None:
    """Measure the first stage with batches of D_CLIP."""
    parser = argparse.ArgumentParser(prog="python -m samclip_edge.train.speed", description=__doc__)
    parser.add_argument("recipe", help="a name or a YAML file whose clip_data is tar shards")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each measurement takes, about")
    asked = parser.parse_args()
    recipe = read_recipe(asked.recipe)
    stage = next(stage for stage in recipe.stages if stage.clip)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        source = open_data(recipe.clip_data, recipe.seed, False, Path(cache))
    if not isinstance(source, Stream):
        raise InputError("recipe: clip_data is no stream; name tar shards, and no variants")
    lane = Lane(source, 1, source.starts(1)[0])
    next(lane).raw.pixels()
    print(f"first image: after {time.perf_counter() - began:.2f} s, of {len(source.paths)} shards")
    began = time.perf_counter()
    loader = iter(Loader(ClipSteps(source, stage.clip, range(1 << 20), (0, 1), 1, None), recipe.workers))
    first = sum(len(part.pixels) for part in next(loader))
    print(f"first batch: after {time.perf_counter() - began:.2f} s, {first} images")
    images, took = measured((sum(len(part.pixels) for part in parts) for parts in loader), asked.seconds)
    print(f"loader: {images / took:.0f} images/s, {recipe.workers} loader processes")
    del loader
    sample = itertools.chain.from_iterable(samples_of(path, False) for path in source.paths)
    images, took = measured((len(raw.pixels()[:1]) for raw in sample), asked.seconds)
    print(f"decoding alone: {images / took:.0f} images/s, one process")
    size, took = measured(read(source.paths), asked.seconds)
    print(f"reading alone: {size / took / 1e6:.0f} MB/s")


if __name__ == "__main__":
    main()
