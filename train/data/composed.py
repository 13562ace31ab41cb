"""Draws photos with masks from a few: crops of annotated ones, and things cut out of them pasted on others.

Copy-paste as in arXiv 2012.07177, but that a thing is only cut out where it is whole. Each image depends on the seed
and its number alone.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError
from samclip_edge.photo.masks import Bits, mask_box
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Pixels
from samclip_edge.rendered import render
from samclip_edge.train.data.panoptic import Labels, Layers, Panoptic, Segment
from samclip_edge.train.data.salient import Salient
from samclip_edge.train.data.sources import generator

SIDE = 512  # pixels of an image's longer side, at most
ANNOTATED, ALONE = 0.6, 0.5  # shares: images on annotated photos; of these and of salient ones, without pastes
RENDERED, SALIENT = 0.1, 0.4  # shares of pastes
MOSAIC = 0.25  # share of images that are four in one, so that things are as small as they often are
SCENES = range(3_000_000, 4_000_000)  # seeds of the rendered things
ZOOM = (0.4, 1.0)  # a crop's side, as a share of the photo's
WIDTH = (0.2, 0.8)  # a pasted thing's longer side, as a share of the image's shorter one
ENLARGED = 2.0  # at most, so that it stays sharp
TURN = 15.0  # degrees, either way
INSIDE = 0.6  # the share of a pasted thing that lies on the image, at least
IN_SIGHT = 0.2  # the share of a segment that a paste must leave, for it to be kept
LEAST = 1 / 40000  # the share of a square of `SIDE` that a mask has, at least
WHOLE, CUT = 0.9, 40  # of a thing to cut out: the share of it in one piece, and its longer side in pixels; at least
TRIES = 30  # until a thing that can be cut out, or a place for it, is given up
Random = np.random.Generator
Floats = npt.NDArray[np.float32]


class Piece(NamedTuple):
    """A thing cut out of a picture, with a little of what is around it."""

    pixels: Pixels  # (h,w,3)
    bits: Bits  # (h,w)
    name: str


class Composer:
    """Images by number, from annotated photos and from photos without masks."""

    def __init__(
        self, annotated: Sequence[Panoptic], photos: Sequence[Path], salient: Sequence[Salient], seed: int
    ) -> None:
        """annotated: at least one. photos: without masks; there may be none. salient: those of them with a thing."""
        self.annotated, self.photos, self.seed = annotated, photos, seed
        self.salient, self._marked = salient, {each.photo: each for each in salient}
        self._read = functools.lru_cache(maxsize=128)(lambda place: self.annotated[place].read())
        self._things: dict[str, list[tuple[int, int]]] = {}  # by name: the place of a photo, and its segment there
        for place, photo in enumerate(annotated):
            for number, segment in enumerate(photo.segments.values(), 1):
                if segment.thing and not segment.crowd:
                    self._things.setdefault(segment.name, []).append((place, number))

    def image(self, number: int) -> Layers:
        """The image of a number, with at least one segment. Raises InputError where a photo cannot be read."""
        for attempt in range(TRIES):
            random = generator(self.seed, "composed", number, attempt)
            tiles = [self._drawn(random) for _ in range(4 if random.random() < MOSAIC else 1)]
            made = kept(mosaic(tiles, random) if len(tiles) > 1 else tiles[0], LEAST * SIDE**2)
            if any(not segment.crowd for segment in made.segments):
                return made._replace(pixels=tinted(made.pixels, random, 1.0))
        raise InputError(f"image {number}: {TRIES} photos in a row have no segment; name others")

    def _drawn(self, random: Random) -> Layers:
        if not self.photos or random.random() < ANNOTATED:
            place = int(random.integers(len(self.annotated)))
            layers, pastes = self._read(place), 0 if random.random() < ALONE else int(random.integers(1, 4))
            photo = self.annotated[place].photo
        else:
            photo = self.photos[int(random.integers(len(self.photos)))]
            if (thing := self._marked.get(photo)) is not None:
                layers, pastes = thing.read(), 0 if random.random() < ALONE else int(random.integers(1, 4))
            else:
                pixels = read_photo(photo)
                layers = Layers(pixels, np.zeros(pixels.shape[:2], np.int32), [])
                pastes = int(random.integers(1, 5))
        layers = cropped(layers, random)
        for _ in range(pastes):
            piece = self._piece(photo, random)
            for _ in range(TRIES):
                if (made := pasted(layers, piece, random)) is not None:
                    layers = made
                    break
        return layers

    def _piece(self, apart: Path, random: Random) -> Piece:
        """A thing of another photo than `apart`: an annotated one, each name as likely as another, or a salient one.
        One that is rendered where there is none."""
        kind, names = random.random(), sorted(self._things)
        salient = RENDERED <= kind < RENDERED + SALIENT and bool(self.salient)
        for _ in range(TRIES if salient else 0):
            thing = self.salient[int(random.integers(len(self.salient)))]
            if thing.photo != apart:
                layers = thing.read()
                if (piece := cut_out(layers.pixels, layers.labels == 1, "")) is not None:
                    return piece
        for _ in range(TRIES if kind >= RENDERED and names else 0):
            listed = self._things[names[int(random.integers(len(names)))]]
            place, number = listed[int(random.integers(len(listed)))]
            if self.annotated[place].photo != apart:
                layers = self._read(place)
                piece = cut_out(layers.pixels, layers.labels == number, layers.segments[number - 1].name)
                if piece is not None:
                    return piece
        for _ in itertools.count():
            scene = render(int(random.integers(SCENES.start, SCENES.stop)), SIDE // 2, 1, 1)
            for drawn in scene.things:
                piece = cut_out(scene.image, drawn.mask, drawn.kind)
                if piece is not None:
                    return piece
        raise AssertionError


def jpeg(pixels: Pixels) -> bytes:
    """A picture (H,W,3) as a JPEG of quality 90."""
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return data.tobytes()


def cropped(layers: Layers, random: Random) -> Layers:
    """A random part of a photo, mirrored half the time, and made smaller where it is larger than `SIDE`."""
    height, width = layers.labels.shape
    zoom, ratio = random.uniform(*ZOOM), np.exp(random.uniform(-0.15, 0.15))
    w, h = (
        max(1, min(round(side), most))
        for side, most in ((zoom * width * ratio, width), (zoom * height / ratio, height))
    )
    x, y = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
    part = slice(y, y + h), slice(x, x + w)
    pixels, labels = layers.pixels[part], layers.labels[part]
    made = resized(Layers(pixels, labels, list(layers.segments)), min(1.0, SIDE / max(h, w)))
    if random.random() < 0.5:
        made = made._replace(pixels=made.pixels[:, ::-1].copy(), labels=made.labels[:, ::-1].copy())
    return made


def resized(layers: Layers, scale: float) -> Layers:
    """A copy of a photo made smaller by a factor, at most 1."""
    if scale == 1:
        return Layers(layers.pixels.copy(), layers.labels.copy(), layers.segments)
    height, width = layers.labels.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = np.asarray(cv2.resize(layers.pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    labels = cv2.resize(layers.labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return Layers(pixels, np.asarray(labels, np.int32), layers.segments)


def mosaic(tiles: Sequence[Layers], random: Random) -> Layers:
    """A square of `SIDE` of four photos, from each of which the widest square is cut at a random place."""
    side = SIDE // 2
    pixels, labels = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.int32)
    segments: list[Segment] = []
    for number, tile in enumerate(tiles):
        height, width = tile.labels.shape
        least = min(height, width)
        y, x = int(random.integers(height - least + 1)), int(random.integers(width - least + 1))
        square = tile._replace(
            pixels=tile.pixels[y : y + least, x : x + least], labels=tile.labels[y : y + least, x : x + least]
        )
        square = resized(square, min(1.0, side / least))
        rows, columns = square.labels.shape
        top, left = side * (number // 2), side * (number % 2)
        here = slice(top, top + rows), slice(left, left + columns)
        pixels[here] = square.pixels
        labels[here] = np.where(square.labels > 0, square.labels + len(segments), 0)
        segments += tile.segments
    return Layers(pixels, labels, segments)


def cut_out(pixels: Pixels, bits: Bits, name: str) -> Piece | None:
    """A thing (H,W) cut out of a picture (H,W,3). None where it is not whole: where it touches the border, or lies in
    pieces as something hides it; or where it is tiny."""
    x0, y0, x1, y1 = mask_box(bits)
    height, width = bits.shape
    if min(x0, y0) < 1 or x1 >= width or y1 >= height or max(x1 - x0, y1 - y0) < CUT:
        return None
    part = slice(max(y0 - 4, 0), y1 + 4), slice(max(x0 - 4, 0), x1 + 4)
    count, _, facts, _ = cv2.connectedComponentsWithStats(bits[part].view(np.uint8), connectivity=8)
    areas = facts[1:count, cv2.CC_STAT_AREA]
    if areas.max() < WHOLE * areas.sum():
        return None
    return Piece(pixels[part], bits[part], name)


def pasted(layers: Layers, piece: Piece, random: Random) -> Layers | None:
    """A thing pasted at a random place, size and angle. What it hides is cut off the segments below; one of which
    hardly anything is left has none of it. None where too little of the thing lies on the picture."""
    pixels, alpha = _turned(piece, min(layers.labels.shape), random)
    pixels = tinted(pixels, random, 0.5)
    height, width = layers.labels.shape
    rows, columns = alpha.shape
    top, left = int(random.integers(height)) - rows // 2, int(random.integers(width)) - columns // 2
    here = slice(max(top, 0), min(top + rows, height)), slice(max(left, 0), min(left + columns, width))
    of_piece = slice(here[0].start - top, here[0].stop - top), slice(here[1].start - left, here[1].stop - left)
    alpha, solid = alpha[of_piece], int((alpha > 0.5).sum())
    bits = alpha > 0.5
    if bits.sum() < max(INSIDE * solid, LEAST * SIDE**2):
        return None
    image, labels = layers.pixels.copy(), layers.labels.copy()
    below = image[here].astype(np.float32)
    image[here] = np.round(below + (pixels[of_piece] - below) * alpha[..., None]).astype(np.uint8)
    labels[here][bits] = len(layers.segments) + 1
    before, after = (np.bincount(each.ravel(), minlength=len(layers.segments) + 2) for each in (layers.labels, labels))
    lost = np.flatnonzero(after[:-1] < IN_SIGHT * before[:-1])
    labels[np.isin(labels, lost[lost > 0])] = 0
    return Layers(image, labels, [*layers.segments, Segment(piece.name, thing=True)])


def _turned(piece: Piece, side: int, random: Random) -> tuple[Pixels, Floats]:
    """A piece at a random size and angle, mirrored half the time: its pixels (h,w,3), and how much of what is below it
    hides (h,w), 0..1. Its edge is soft inwards, so that nothing of what was around it comes along."""
    rows, columns = piece.bits.shape
    wanted = side * np.exp(random.uniform(*np.log(WIDTH)))
    scale = min(wanted / max(rows, columns), ENLARGED)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = cv2.resize(piece.pixels, size, interpolation=how)
    cover = cv2.resize(piece.bits.astype(np.float32), size, interpolation=how)
    if random.random() < 0.5:
        pixels, cover = pixels[:, ::-1], cover[:, ::-1]
    angle = random.uniform(-TURN, TURN)
    turn = np.asarray(cv2.getRotationMatrix2D(((size[0] - 1) / 2, (size[1] - 1) / 2), angle, 1.0), np.float64)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    w, h = int(np.ceil(size[0] * cos + size[1] * sin)), int(np.ceil(size[0] * sin + size[1] * cos))
    turn[:, 2] += (w - size[0]) / 2, (h - size[1]) / 2
    pixels = cv2.warpAffine(np.ascontiguousarray(pixels), turn, (w, h), borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.GaussianBlur(cv2.warpAffine(np.ascontiguousarray(cover), turn, (w, h)), (5, 5), 1.0)
    return np.asarray(pixels, np.uint8), np.clip(2 * cover - 1, 0, 1).astype(np.float32)


def tinted(pixels: Pixels, random: Random, strength: float) -> Pixels:
    """A picture (H,W,3) in other light: brightness, contrast, saturation and the light's colour, each a little."""
    light, contrast, saturation = 1 + strength * random.uniform(-0.2, 0.2, 3)
    colour = 1 + strength * random.uniform(-0.06, 0.06, 3)
    values = pixels.astype(np.float32)
    grey = values.mean(axis=2, keepdims=True)
    values = (grey + (values - grey) * np.float32(saturation)) * (light * colour).astype(np.float32)
    middle = np.float32(values.mean())
    return np.clip(np.round(middle + (values - middle) * np.float32(contrast)), 0, 255).astype(np.uint8)


def kept(layers: Layers, least: float) -> Layers:
    """Only the segments of at least so many pixels, numbered anew."""
    areas = np.bincount(layers.labels.ravel(), minlength=len(layers.segments) + 1)[1:]
    stays = [number for number, area in enumerate(areas.tolist(), 1) if area >= least]
    table: Labels = np.zeros(len(layers.segments) + 1, np.int32)
    table[stays] = np.arange(1, len(stays) + 1)
    return Layers(layers.pixels, table[layers.labels], [layers.segments[number - 1] for number in stays])
