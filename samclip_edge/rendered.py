"""Draws scenes for training where there are no photos: things with a shape, a colour and a surface on a background.

Every scene is drawn from a seed. It has a mask for each thing and a caption that names them. So one renderer serves the
CLIP teacher (captions), the SAM teacher (masks) and every measurement (scenes of seeds that training never saw).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Random = np.random.Generator

COLOURS: dict[str, tuple[int, int, int]] = {  # RGB; the shade of a thing varies around its colour
    "red": (205, 35, 35),
    "orange": (240, 130, 20),
    "yellow": (235, 215, 40),
    "green": (40, 150, 55),
    "blue": (35, 75, 205),
    "purple": (130, 45, 165),
    "white": (242, 242, 242),
    "black": (22, 22, 22),
}
SURFACES = ("plain", "striped", "dotted")
GROUNDS = ("plain", "shaded", "cloudy", "checked")
_SHARE = 0.45  # the share of a thing's visible area that one more thing must leave in sight


@dataclass(frozen=True)
class Thing:
    """One thing of a rendered scene."""

    shape: str
    colour: str
    surface: str
    mask: Bits  # (S,S), only the part that no other thing hides

    @property
    def kind(self) -> str:
        """Its colour and shape, one of NAMES: "red star"."""
        return f"{self.colour} {self.shape}"

    @property
    def name(self) -> str:
        """What a person would call it: "red star", or "striped red star"."""
        words = (self.surface, self.colour, self.shape) if self.surface != "plain" else (self.colour, self.shape)
        return " ".join(words)


@dataclass(frozen=True)
class RenderedScene:
    """A picture and the things on it, the one with the largest visible area first."""

    image: Pixels  # (S,S,3) RGB
    things: tuple[Thing, ...]
    ground: str  # the background, one of GROUNDS

    @property
    def caption(self) -> str:
        """The names of all things: "a red star", or "a red star, a blue ring and a white heart".

        A scene without things is named by its background: "a checked background".
        """
        names = [f"a{'n' if thing.name[0] in 'aeiou' else ''} {thing.name}" for thing in self.things]
        names = names or [f"a {self.ground} background"]
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def render(seed: int, size: int = 128, fewest: int = 1, most: int = 4) -> RenderedScene:
    """Draw the scene of a seed: `fewest` to `most` things on a square of `size` pixels.

    They may partly hide each other. A thing for which there is no place is left out.
    """
    random = np.random.default_rng(seed)
    ground, image = _background(random, size)
    things: list[Thing] = []
    masks: list[Bits] = []
    for _ in range(int(random.integers(fewest, most + 1))):
        placed = _place(random, size, masks)
        if placed is None:
            continue
        shape, alpha = placed
        colour, surface = str(random.choice(list(COLOURS))), str(random.choice(SURFACES, p=(0.76, 0.12, 0.12)))
        image += (_paint(random, size, COLOURS[colour], surface) - image) * alpha[..., None]
        bits = alpha > 0.5
        masks = [mask & ~bits for mask in masks] + [bits]
        things.append(Thing(shape, colour, surface, bits))
    seen = [Thing(t.shape, t.colour, t.surface, mask) for t, mask in zip(things, masks, strict=True)]
    seen.sort(key=lambda thing: -int(thing.mask.sum()))
    return RenderedScene(_photograph(random, image), tuple(seen), ground)


def _place(random: Random, size: int, masks: list[Bits]) -> tuple[str, Floats] | None:
    """Draw a shape at a random place, as coverage (S,S) 0..1. Returns its name and the coverage.

    It must leave `_SHARE` of each earlier thing (masks) in sight. Returns None if 12 tries find no such place.
    """
    for _ in range(12):
        shape = str(random.choice(list(SHAPES)))
        radius = size * (random.uniform(0.13, 0.34) if masks else random.uniform(0.2, 0.38))
        angle = random.uniform(-0.5, 0.5)
        stretch = np.diag(random.uniform(0.85, 1.15, 2)) * radius
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        center = random.uniform(0.55 * radius, size - 0.55 * radius, 2)
        outlines = [(points @ stretch @ turn.T + center) for points in SHAPES[shape]()]
        canvas = np.zeros((size, size), np.uint8)
        cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32) for points in outlines], 255, cv2.LINE_AA, shift=4)
        bits = canvas > 127
        areas = [(int((mask & ~bits).sum()), int(mask.sum())) for mask in masks]
        if bits.sum() > 0.008 * size * size and all(left > _SHARE * before for left, before in areas):
            return shape, np.asarray(canvas / 255, np.float32)
    return None


def _paint(random: Random, size: int, rgb: tuple[int, int, int], surface: str) -> Floats:
    """Draw the colours of a thing over the whole square (S,S,3): its shade, its surface, and light from one side."""
    shade = np.clip(np.array(rgb) + random.normal(0, 10, 3), 0, 255).astype(np.float32)
    angle, period = random.uniform(0, math.pi), size * random.uniform(0.06, 0.11)
    light = random.uniform(-0.25, 0.25)
    x = np.arange(size, dtype=np.float32)
    y = x[:, None]
    along = x * math.cos(angle) + y * math.sin(angle)
    paint = np.broadcast_to(shade, (size, size, 3))
    if surface != "plain":
        other = shade * 0.55 if shade.sum() > 200 else shade + 75  # a darker tone, or a lighter one for black
        wave = np.sin(2 * math.pi / period * along)
        if surface == "dotted":
            wave = wave * np.sin(2 * math.pi / period * (y * math.cos(angle) - x * math.sin(angle)))
        paint = np.where((wave > (0.45 if surface == "dotted" else 0.15))[..., None], other, shade)
    return np.asarray(paint * (1 + light * (along / size - 0.5))[..., None], np.float32)


def _background(random: Random, size: int) -> tuple[str, Floats]:
    """Draw a dull background. Returns its name, one of GROUNDS, and its pixels (S,S,3)."""
    base = random.uniform(70, 190) + random.normal(0, 14, 3)
    pixels = np.full((size, size, 3), base, np.float32)
    ground = str(random.choice(GROUNDS))
    if ground == "shaded":
        ramp = np.linspace(-1, 1, size, dtype=np.float32) * random.uniform(15, 45)
        pixels += ramp[:, None, None] if random.random() < 0.5 else ramp[None, :, None]
    elif ground == "cloudy":
        cells = int(random.integers(3, 12))
        coarse = random.normal(0, 16, (cells, cells, 3)).astype(np.float32)
        pixels += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    elif ground == "checked":
        side = int(size * random.uniform(0.08, 0.25)) + 1
        y, x = np.mgrid[:size, :size] // side
        pixels += np.where((x + y) % 2, 1, -1).astype(np.float32)[..., None] * random.uniform(5, 18)
    return ground, pixels


def _photograph(random: Random, image: Floats) -> Pixels:
    """Add what a camera adds: sometimes a little blur, another exposure, and noise."""
    if random.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), 0), np.float32)
    noise = random.standard_normal(image.shape, np.float32) * random.uniform(1, 11)
    return np.clip(image * random.uniform(0.85, 1.12) + random.normal(0, 6) + noise, 0, 255).astype(np.uint8)


def _polygon(corners: int, turn: float = -np.pi / 2, inner: float | None = None) -> Floats:
    """A regular polygon around the origin; with `inner`, a star whose every second corner lies at that radius."""
    count = corners if inner is None else 2 * corners
    angles = turn + 2 * np.pi * np.arange(count) / count
    radii = np.ones(count) if inner is None else np.where(np.arange(count) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1).astype(np.float32)


def _heart() -> Floats:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.asarray(np.stack([16 * np.sin(t) ** 3, -y - 2.5], axis=1) / 16, np.float32)


def _crescent() -> Floats:
    """A disc from whose right side another disc is cut."""
    outer = np.linspace(0.62, 2 * np.pi - 0.62, 48)
    tip = np.array([np.cos(0.62), np.sin(0.62)])
    middle = 0.55
    reach, start = np.hypot(tip[0] - middle, tip[1]), np.arctan2(tip[1], tip[0] - middle)
    inner = np.linspace(2 * np.pi - start, start, 40)
    bite = np.stack([middle + reach * np.cos(inner), reach * np.sin(inner)], axis=1)
    return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], axis=1), bite]).astype(np.float32)


def _points(*corners: tuple[float, float]) -> Floats:
    return np.array(corners, np.float32)


def _cross() -> Floats:
    a = 0.34
    return _points(
        (-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)
    )  # fmt: skip


def _arrow() -> Floats:
    return _points((0, -1), (0.85, 0), (0.35, 0), (0.35, 1), (-0.35, 1), (-0.35, 0), (-0.85, 0))


# Outlines around the origin, in -1..1, y down. A point inside two outlines of a shape is outside the shape.
SHAPES: dict[str, Callable[[], list[Floats]]] = {
    "circle": lambda: [_polygon(48)],
    "square": lambda: [_polygon(4, turn=np.pi / 4)],
    "triangle": lambda: [_polygon(3)],
    "hexagon": lambda: [_polygon(6)],
    "star": lambda: [_polygon(5, inner=0.42)],
    "ring": lambda: [_polygon(48), _polygon(48) * 0.55],
    "heart": lambda: [_heart()],
    "crescent": lambda: [_crescent()],
    "cross": lambda: [_cross()],
    "arrow": lambda: [_arrow()],
}
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)  # the kind of every thing there is
