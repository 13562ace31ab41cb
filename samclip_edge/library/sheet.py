"""A contact sheet: the photos that answer, in the order of their ranks, each with its rank, chance and file name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from samclip_edge.errors import InputError
from samclip_edge.library.matches import Match
from samclip_edge.library.sources import source_of
from samclip_edge.photo.fonts import font_for
from samclip_edge.photo.masks import decode_rle
from samclip_edge.photo.opened import open_file
from samclip_edge.photo.pictures import color
from samclip_edge.photo.read import MAX_PIXELS
from samclip_edge.photo.resize import Pixels

_COLUMNS, _GAP = 4, 12
_WIDTH, _HEIGHT = 320, 240  # of a photo on the sheet
_LETTERS = 18
_PAPER, _FRAME, _INK, _FAINT = (24, 24, 28), (44, 44, 50), (255, 255, 255), (170, 170, 176)


def draw_sheet(matches: Sequence[Match], title: str, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Photos with what answers in them outlined, on a sheet (H,W,3) RGB under a title.

    A photo that cannot be read any more is left grey, and says so.
    """
    line, pad = round(1.5 * _LETTERS), _GAP
    tile = _HEIGHT + 2 * line + pad
    columns = min(_COLUMNS, max(len(matches), 2))
    rows = -(-len(matches) // columns)
    sheet = Image.new("RGB", (columns * (_WIDTH + pad) + pad, rows * (tile + pad) + line + 2 * pad), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, title, (pad, pad), sheet.width - 2 * pad, _INK)
    for rank, match in enumerate(matches):
        row, column = divmod(rank, columns)
        x, y = pad + column * (_WIDTH + pad), line + 2 * pad + row * (tile + pad)
        draw.rectangle((x, y, x + _WIDTH - 1, y + _HEIGHT - 1), _FRAME)
        told = _shown(match, max_pixels)
        if isinstance(told, str):
            _write(draw, told, (x + pad, y + _HEIGHT // 2), _WIDTH - 2 * pad, _FAINT)
        else:
            sheet.paste(told, (x + (_WIDTH - told.width) // 2, y + (_HEIGHT - told.height) // 2))
        how = f"similarity {match.similarity:.3f}" if match.score is None else f"{match.score:.0%}"
        _write(draw, f"{rank + 1}   {how}", (x, y + _HEIGHT + pad // 2), _WIDTH, _INK)
        _write(draw, Path(match.path).name, (x, y + _HEIGHT + pad // 2 + line), _WIDTH, _FAINT)
    return np.asarray(sheet)


def _shown(match: Match, max_pixels: int) -> Image.Image | str:
    """A photo made small, with its thing outlined; or why there is none."""
    try:
        opened = open_file(source_of(match.path).read(), match.path, max(_WIDTH, _HEIGHT), max_pixels)
    except (InputError, OSError):
        return "cannot be read any more"
    photo = Image.fromarray(opened.reduced(max(_WIDTH / opened.width, _HEIGHT / opened.height)))
    photo.thumbnail((_WIDTH, _HEIGHT))
    if match.thing is not None:
        mask = Image.fromarray(decode_rle(match.thing.mask).view(np.uint8) * np.uint8(255))
        mask = mask.resize(photo.size, Image.Resampling.BILINEAR).point(lambda value: 255 * (value > 127))
        for wide, ink in ((5, _PAPER), (3, color(0, 0.85))):
            edge = Image.fromarray(
                np.asarray(mask.filter(ImageFilter.MaxFilter(wide))) - np.asarray(mask.filter(ImageFilter.MinFilter(3)))
            )
            photo.paste(ink, (0, 0), edge)
    return photo


def _write(draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], width: int, ink: tuple[int, int, int]) -> None:
    font = font_for(text, _LETTERS)
    while font.getlength(text) > width and len(text) > 2:
        text = text[:-2] + "…"
    draw.text(at, text, ink, font)
