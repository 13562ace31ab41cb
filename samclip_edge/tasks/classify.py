"""Names for a photo (CLIP, Sec. 3.1): which of the labels fits best, and whether any of them fits at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from samclip_edge.encoded import Encoded
from samclip_edge.progress import Progress
from samclip_edge.text.judge import Judge
from samclip_edge.text.words import Words


class Guess(NamedTuple):
    """A name for a photo."""

    label: str
    score: float  # the calibrated chance, 0..1, that it fits, whatever else was asked
    similarity: float  # the cosine of the photo and the name
    share: float  # its softmax probability among the labels that were asked for, 0..1


class Guesses(list[Guess]):
    """The labels that were asked for, best first."""

    @property
    def any_fits(self) -> float:
        """The chance, 0..1, that any of them fits: that of the likeliest, so no further label makes it smaller."""
        return max(guess.score for guess in self)


def classify(
    encoded: Encoded, words: Words, judge: Judge, names: Sequence[str], background: Sequence[str], progress: Progress
) -> Guesses:
    """Each name judged by itself, most similar first."""
    photo, size = encoded.image_features, encoded.frame.size
    log_odds = judge.log_odds(photo, names, background, progress)
    scores, similarities = judge.chance("photo", size, log_odds), words.features(names) @ photo
    shares = words.probabilities(photo, names)
    return Guesses(
        Guess(names[k], float(scores[k]), float(similarities[k]), float(shares[k]))
        for k in np.argsort(-similarities, kind="stable")
    )
