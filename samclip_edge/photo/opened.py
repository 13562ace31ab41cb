"""A photo that was opened: as many of its pixels as are asked for.

A model sees a photo far smaller than a camera makes it. A JPEG holds blocks of 8 x 8 pixels by their frequencies, so it
can be decoded at a half, a quarter or an eighth of each side, and most of the work is left out. Pixels that were
decoded so are used for what is smaller still, by `ENOUGH`: then the model's input is off from one that is made of all
pixels by 0.2 to 1.3 of 255 in the mean over a photo (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from samclip_edge.bundle.sizes import Size, sides
from samclip_edge.photo.decode import decode, open_image, pixels_of
from samclip_edge.photo.resize import Pixels

ENOUGH = 1.75  # how many times as large as what is made of them reduced pixels are, at least


class OpenPhoto:
    """A photo as a person sees it. May be asked from several threads."""

    def __init__(self, pixels: Pixels) -> None:
        """pixels: the photo (H,W,3) RGB, upright, which nobody changes from now on."""
        self.height, self.width, _ = pixels.shape
        self._pixels = _for_reading(pixels)

    @property
    def pixels(self) -> Pixels:
        """The photo (H,W,3) RGB, not to be written to."""
        return self._pixels

    def reduced(self, scale: float) -> Pixels:
        """The photo with fewer pixels, where there are enough of them to be resized to `scale` times its sides."""
        return self._pixels


class _Reduced(OpenPhoto):
    """A photo of which only reduced pixels were decoded."""

    def __init__(self, reduced: Pixels, by: int, decode_all: Callable[[], Pixels]) -> None:
        """by: how many times smaller than the photo's its sides are."""
        super().__init__(reduced)
        self.height, self.width = by * self.height, by * self.width
        self._by, self._decode_all = by, decode_all
        self._all: Pixels | None = None

    @property
    def pixels(self) -> Pixels:
        """See `OpenPhoto.pixels`: decoded when first asked for."""
        if self._all is None:
            self._all = _for_reading(self._decode_all())
        return self._all

    def reduced(self, scale: float) -> Pixels:
        """See `OpenPhoto.reduced`."""
        return self._pixels if self._by * scale * ENOUGH <= 1 else self.pixels


def open_file(data: bytes, name: str, size: Size, max_pixels: int, white: float | None = None) -> OpenPhoto:
    """Open a photo file to be looked at in an input of `size`. Takes and raises what `decode` does.

    What is damaged in it is found now, also where fewer pixels are decoded than it has.
    """
    image, data = open_image(data, name, max_pixels)
    plain = image.format == "JPEG" and image.mode in ("RGB", "L")
    most = max(image.size) / (ENOUGH * max(sides(size)))
    by = next((by for by in (8, 4, 2) if plain and by <= most and not any(side % by for side in image.size)), 1)
    if by == 1:
        return OpenPhoto(pixels_of(image, name, white))
    image.draft(None, (image.width // by, image.height // by))
    return _Reduced(pixels_of(image, name), by, partial(decode, data, name, max_pixels))


def _for_reading(pixels: Pixels) -> Pixels:
    pixels = pixels.view()
    pixels.flags.writeable = False
    return pixels
