"""A font that has the letters of a name: Pillow's own for Latin, else one of the system's."""

from __future__ import annotations

import logging
from functools import lru_cache

from PIL import ImageFont

log = logging.getLogger(__name__)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Of Linux, macOS and Windows; Pillow looks for them where each system keeps its fonts.
_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "arial.ttf",
    "msyh.ttc",
    "seguiemj.ttf",
)
_NO_LETTER = "\uffff"  # no font has it, so it is drawn as what stands for letters that are missing


@lru_cache(maxsize=256)
def font_for(text: str, height: int) -> Font:
    """A font of that height in pixels that has all letters of a text, or else as many as any font here has.

    Logs a warning where letters are missing from all of them; these are drawn as boxes.
    """
    own = ImageFont.load_default(height)
    letters = {letter for letter in text if not letter.isspace()}
    best, least = own, _missing(own, letters)
    for name in _FONTS:
        if not least:
            return best
        try:
            font = ImageFont.truetype(name, height)
        except OSError:
            continue
        missing = _missing(font, letters)
        if missing < least:
            best, least = font, missing
    if least:
        log.warning("no font here has all letters of %r; install one to see them in the picture", text)
    return best


def _missing(font: Font, letters: set[str]) -> int:
    """How many letters a font has not."""
    stand_in = bytes(font.getmask(_NO_LETTER))
    return sum(bytes(font.getmask(letter)) == stand_in for letter in letters)
