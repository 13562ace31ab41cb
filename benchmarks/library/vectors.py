"""Features to measure searches with: real ones with noise, as many as are wanted, always the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from samclip_edge import data
from samclip_edge.library.rows import Floats
from samclip_edge.pipeline import SamClip
from samclip_edge.rendered import render
from samclip_edge.text.names import read_names

NOISE = 0.75  # length of the noise, over that of a feature
QUERIES = 100
_STEP = 65_536


def real_features(model: SamClip) -> Floats:
    """Features (R,E) of the photos that ship, of parts of them, of rendered scenes, and of names."""
    size = model.names_size
    photos = [model.look(path, size) for path in data.photos()]
    parts = [np.moveaxis(photo.patch_features, 0, -1).reshape(-1, photo.image_features.size) for photo in photos]
    scenes = model.embed([render(seed).image for seed in range(50)], size)
    names = model.words.features(read_names(data.RIVALS))
    return np.concatenate([np.stack([photo.image_features for photo in photos]), *parts, scenes, names])


def noisy(real: Floats, count: int, seed: int) -> Iterator[Floats]:
    """`count` features, L2-normalised, in parts: each is one of the real ones and noise."""
    generator = np.random.default_rng(seed)
    for start in range(0, count, _STEP):
        some = real[generator.integers(0, len(real), min(_STEP, count - start))]
        noise = generator.standard_normal(some.shape, np.float32)
        made = some + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        yield made / np.linalg.norm(made, axis=1, keepdims=True)


def queries(real: Floats) -> Floats:
    """Features to ask for (`QUERIES`,E)."""
    return np.concatenate(list(noisy(real, QUERIES, seed=1)))


def nearest(parts: Iterator[Floats], asked: Floats, count: int) -> np.ndarray:
    """The true answer: where the `count` highest cosines are for each that is asked for, by float32 products."""
    best, where, start = np.zeros((len(asked), 0), np.float32), np.zeros((len(asked), 0), np.int64), 0
    for part in parts:
        cosines = asked @ part.T
        best = np.concatenate([best, cosines], axis=1)
        where = np.concatenate([where, np.broadcast_to(np.arange(start, start + len(part)), cosines.shape)], axis=1)
        keep = np.argsort(-best, axis=1)[:, :count]
        best, where = np.take_along_axis(best, keep, 1), np.take_along_axis(where, keep, 1)
        start += len(part)
    return where
