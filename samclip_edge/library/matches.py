"""What a search answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from samclip_edge.library.store import Thing
from samclip_edge.photo.masks import Mask, decode_rle, encode_rle


@dataclass(frozen=True)
class Match:
    """A photo that answers, and the thing in it that does, where it is a thing."""

    path: str  # of a photo in a tar, the tar's path and then its own
    similarity: float  # the cosine of photo and question; of its nearest thing where things answer; see `searching`
    score: float | None  # the calibrated chance, 0..1, that it shows the words; None where no words were asked for
    width: int  # of the photo
    height: int
    thing: Thing | None

    @property
    def mask(self) -> Mask | None:
        """The thing over the photo's own pixels, drawn from a mask of a few hundred pixels."""
        if self.thing is None:
            return None
        small = Image.fromarray(decode_rle(self.thing.mask).view(np.uint8) * np.uint8(255))
        bits = np.asarray(small.resize((self.width, self.height), Image.Resampling.BILINEAR)) > 127
        return Mask(encode_rle(bits), self.thing.predicted_iou)

    def to_json(self) -> dict[str, Any]:
        """What `search --json` prints of it."""
        sides = {"photo": self.path, "width": self.width, "height": self.height}
        fields = sides | {"score": self.score, "similarity": self.similarity}
        if self.thing is None or (mask := self.mask) is None:
            return fields
        return fields | {"thing": mask.to_json() | {"box": list(self.thing.box)}}


class Found(NamedTuple):
    """The answer to words: the photos that show them, best first; where none does, those that come nearest."""

    matches: list[Match]
    nearest: list[Match]  # empty where there are matches
