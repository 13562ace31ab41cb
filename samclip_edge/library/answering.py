"""The questions that a library is asked, whatever holds its rows."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from samclip_edge.errors import InputError
from samclip_edge.library.matches import Found, Match
from samclip_edge.library.rows import Floats
from samclip_edge.library.searching import Asked, Searched, by_feature, by_words
from samclip_edge.photo.masks import Mask
from samclip_edge.pipeline import SamClip
from samclip_edge.scene import Scene
from samclip_edge.text.judge import MIN_SCORE, check_score
from samclip_edge.text.names import check_labels


class Answering(ABC):
    """A library that answers: a file, or a data set that lies elsewhere."""

    model: SamClip

    @property
    @abstractmethod
    def things(self) -> int | None:
        """How many things it holds; None where it was made without."""

    @abstractmethod
    def near(self, feature: Floats, asked: Asked) -> AbstractContextManager[Searched]:
        """In the block, the rows that may come near to a feature (E,), or all there are."""

    def search(
        self,
        text: str,
        n: int = 20,
        things: bool = False,
        min_score: float = MIN_SCORE,
        under: str | os.PathLike[str] | None = None,
    ) -> Found:
        """Photos that show what the words say, nearest first, each with the calibrated chance that it does.

        n: at most so many. things: their things answer too (see `searching`). min_score: the least chance; where no
        photo has it, the nearest ones come apart from the answer. under: only photos of that folder or tar. Raises
        InputError for things of a library that was made without, and for a folder that no photo is of.
        """
        (name,) = check_labels([text], "text")
        check_score(min_score)
        asked = self._asked(n, things, under)
        (wanted,) = self.model.words.features([name])
        with self.near(wanted, asked) as rows:
            return by_words(rows, self.model, name, asked, min_score)

    def like(
        self,
        scene: Scene,
        mask: Mask | None = None,
        n: int = 20,
        things: bool = False,
        under: str | os.PathLike[str] | None = None,
    ) -> list[Match]:
        """Photos that look like another one, nearest first, by the cosine of their features.

        mask: a thing of the scene, which then is what is looked for: among the things, where the library has them, else
        among photos. n, things, under: see `search`. Raises InputError where `search` does.
        """
        asked = self._asked(n, things, under)
        if mask is not None and self.things is not None:
            asked = asked._replace(photos=False, things=True)
        feature = scene.image_features if mask is None else scene.features_under(mask.bits)
        with self.near(feature, asked) as rows:
            return by_feature(rows, feature, asked)

    def _asked(self, n: int, things: bool, under: str | os.PathLike[str] | None) -> Asked:
        if n < 1:
            raise InputError(f" {n}: ask for one photo at least", "n")
        if things and self.things is None:
            raise InputError(": the library was made without; make it anew with --reindex and --things", "things")
        return Asked(n, True, things, None if under is None else os.fspath(under))
