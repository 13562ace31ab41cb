"""Small data sets in the layouts in which the real ones are published, written from rendered scenes."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from samclip_edge.rendered import RenderedScene, render

WORDNET = ("n01440764", "n01443537", "n02123045")  # ImageNet's classes 0 and 1, and 281, the tabby


def scene(seed: int, size: int = 128, most: int = 1) -> RenderedScene:
    return render(seed, size, most=most)


def save(seed: int, path: Path, **options: object) -> Path:
    """Write a rendered scene of one thing as the picture that its name asks for, in folders that are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(seed).image).save(path, **options)
    return path
