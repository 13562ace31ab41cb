"""The batches of texts that a text tower is taught, each with the feature that it should get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samclip_edge import data
from samclip_edge.bundle.spec import TextSpec
from samclip_edge.text.names import read_templates
from samclip_edge.text.tokenizer import Tokenizer
from samclip_edge.train.data.batches import Steps
from samclip_edge.train.data.sources import generator

_BARE = 0.3  # share of texts that stand alone, without a sentence around them
SENTENCES = ("{}", *read_templates(data.TEMPLATES), *read_templates(data.CAPTIONS))


class Texts(NamedTuple):
    """A batch of texts, the shortest first."""

    tokens: Tensor  # (B,L) int32
    features: Tensor  # (B,E) float32 of the teacher
    skipped: tuple[str, ...] = ()  # none ever: texts are not broken as images are

    @property
    def size(self) -> int:
        """B."""
        return len(self.tokens)


class Sentences:
    """Puts texts that are tokenized once into sentences: the token ids that the tokenizer gives the whole."""

    def __init__(self, texts: Sequence[str], spec: TextSpec) -> None:
        self.end = spec.end_of_text
        self.names = list(texts)  # as of all data that a run remembers
        self._spec, tokenizer = spec, Tokenizer.of(spec)
        self._pad, self._start = tokenizer.pad, int(tokenizer([""])[0, 0])

        def inside(several: Sequence[str]) -> list[list[int]]:
            return [row[1 : int(np.argmax(row == spec.end_of_text))].tolist() for row in tokenizer(several)]

        self._texts = inside(texts)
        around = [sentence.split("{}", 1) for sentence in SENTENCES]
        self._around = list(zip(*(inside(each) for each in zip(*around, strict=True)), strict=True))

    def __call__(self, places: Sequence[int], sentences: Sequence[int]) -> npt.NDArray[np.int32]:
        """Token ids (B,L) of the texts at `places`, each in the sentence of that number; filled as `Tokenizer` does."""
        rows: list[list[int]] = []
        for place, sentence in zip(places, sentences, strict=True):
            before, after = self._around[sentence]
            ids = [self._start, *before, *self._texts[place], *after][: self._spec.context - 1]
            rows.append([*ids, self._spec.end_of_text])
        tokens = np.full((len(rows), max(map(len, rows))), self._pad, np.int32)
        for row, ids in zip(tokens, rows, strict=True):
            row[: len(ids)] = ids
        return tokens


class TextSteps(Steps[Texts]):
    """The steps of `teach_text`. Each epoch takes every text once, in another order; each time in a drawn sentence."""

    def __init__(
        self,
        sentences: Sentences,
        features: npt.NDArray[np.float16],
        batch: int,
        seed: int,
        steps: range,
        share: tuple[int, int],
        parts: int,
    ) -> None:
        """features: (N,E) of the texts of `sentences`. batch: texts of a step, over all processes. Else see `Steps`."""
        self.source = sentences  # type: ignore[assignment]  # which has names, as images have
        self.sentences, self.features, self.number, self.seed = sentences, features, batch, seed
        self.steps, self.share, self.accumulate = steps, share, parts

    def __getitem__(self, item: int) -> list[Texts]:
        step = self.steps[item]
        number = self.number
        random = generator(self.seed, "sentences", step)
        drawn = random.integers(1, len(SENTENCES), size=number) * (random.random(number) >= _BARE)
        places = [self._place(index) for index in range(step * number, (step + 1) * number)]
        size = number // (self.share[1] * self.accumulate)
        firsts = range(self.share[0] * self.accumulate * size, (self.share[0] + 1) * self.accumulate * size, size)
        return [self._texts(places[first : first + size], drawn[first : first + size]) for first in firsts]

    def _texts(self, places: Sequence[int], drawn: npt.NDArray[np.int64]) -> Texts:
        tokens = self.sentences(places, drawn.tolist())
        order = (tokens == self.sentences.end).argmax(axis=1).argsort(kind="stable")
        wanted = self.features[np.asarray(places)[order]].astype(np.float32)
        return Texts(torch.from_numpy(tokens[order]), torch.from_numpy(wanted))

    def _place(self, index: int) -> int:
        """The text that is the index-th to be taken, counted over epochs."""
        epoch, place = divmod(index, len(self.features))
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._order = epoch, generator(self.seed, "texts", epoch).permutation(len(self.features))
        return int(self._order[place])
