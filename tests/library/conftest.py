"""A trained model and photos that it tells apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import paint

from samclip_edge import SamClip, data
from samclip_edge.library import Library


@pytest.fixture(scope="session")
def shapes() -> SamClip:
    """The model of rendered shapes."""
    return SamClip.load(data.TINY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos, by their seeds."""
    for seed in range(4):
        paint(tmp_path / "photos" / f"{seed}.png", seed)
    return tmp_path / "photos"


@pytest.fixture
def library(shapes: SamClip, tmp_path: Path) -> Library:
    """A library that is not written yet."""
    return Library.open(tmp_path / "library.db", shapes)
