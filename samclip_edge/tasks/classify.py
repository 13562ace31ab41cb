"""Names for a photo, with probabilities (CLIP, Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from samclip_edge.encoded import Encoded
from samclip_edge.progress import Progress
from samclip_edge.text.words import Words


class Guess(NamedTuple):
    """A name, and its probability among the names that were given."""

    label: str
    score: float  # 0..1


def classify(encoded: Encoded, words: Words, names: Sequence[str], progress: Progress) -> list[Guess]:
    """The names with their probabilities, best first."""
    chances = words.probabilities(encoded.image_features, names, progress)
    return [Guess(names[index], float(chances[index])) for index in np.argsort(-chances, kind="stable")]
