"""What a text tower is taught: a corpus of words with its teacher's features, and how well a tower has learned it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError, one_line
from samclip_edge.files import replacing
from samclip_edge.model.merged import MergedModel
from samclip_edge.train.data.texts import SENTENCES, Sentences, TextSteps
from samclip_edge.train.data.words import words
from samclip_edge.train.recipe import Corpus, Recipe, Stage
from samclip_edge.train.sentences import TEMPLATE, space

FILE = "texts.npz"  # in the run's folder
_BATCH = 250
Halves = npt.NDArray[np.float16]


def taught(recipe: Recipe, stage: Stage, folder: Path, device: torch.device) -> Taught | None:
    """What a stage teaches of texts, if that is what it does; see `Taught`."""
    return Taught(recipe, stage.texts, folder, device) if stage.texts else None


class Taught:
    """A corpus with the teacher's feature of each text."""

    def __init__(self, recipe: Recipe, corpus: Corpus, folder: Path, device: torch.device) -> None:
        """folder: the run's, which keeps the features, so that the teacher runs once; another corpus replaces them.

        Raises InputError when the teacher cannot be read or does not fit the preset, or the file cannot be written.
        """
        assert recipe.clip_teacher is not None
        self.words, self.corpus, self.recipe = words(corpus.words, recipe.seed), corpus, recipe
        texts = [*self.words.taught, *self.words.held_out]
        key = hashlib.sha256("\n".join([recipe.clip_teacher, TEMPLATE, *texts]).encode()).hexdigest()
        kept = _read(folder / FILE, key)
        if kept is None:
            kept = space(recipe.clip_teacher, device)(texts).numpy().astype(np.float16)
            _write(folder / FILE, key, kept)
        spec = PRESETS[recipe.preset]
        if kept.shape[1] != spec.features:
            raise InputError(
                f"recipe: the texts' features have {kept.shape[1]} numbers, and {recipe.preset}'s {spec.features}; "
                "choose another preset, or name another folder in clip_teacher"
            )
        self.features, self.held_out = np.split(kept, [len(self.words.taught)])  # (N,E) and (H,E)

    def steps(self, which: range, share: tuple[int, int], parts: int) -> TextSteps:
        """The batches of the steps in `which`; see `Steps`."""
        sentences = Sentences(self.words.taught, PRESETS[self.recipe.preset].text)
        return TextSteps(sentences, self.features, self.corpus.batch, self.recipe.seed, which, share, parts)

    @torch.inference_mode()
    def measure(self, model: MergedModel) -> dict[str, float]:
        """How near a tower comes to its teacher on the words that are held out.

        "word cosine" is the mean cosine of the two features of a word, and "sentence cosine" that of a word in one of
        `SENTENCES`. "own word" is the share of words whose feature is nearer to the teacher's of itself than to the
        teacher's of every other.
        """
        held_out = self.words.held_out
        wanted = F.normalize(torch.from_numpy(self.held_out.astype(np.float32)), dim=-1)
        around = [SENTENCES[1 + place % (len(SENTENCES) - 1)] for place in range(len(held_out))]
        alone = _features(model, held_out)
        spoken = _features(model, [each.replace("{}", word) for each, word in zip(around, held_out, strict=True)])
        nearest = (alone @ wanted.T).argmax(dim=1)
        return {
            "word cosine": float((alone * wanted).sum(dim=1).mean()),
            "sentence cosine": float((spoken * wanted).sum(dim=1).mean()),
            "own word": float((nearest == torch.arange(len(held_out))).float().mean()),
        }


def _features(model: MergedModel, texts: Sequence[str]) -> Tensor:
    """(N,E), on the CPU."""
    tokenizer, device = model.tokenizer(), model.text_encoder.logit_scale.device
    parts = [tokenizer(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    return torch.cat([model.text_encoder(torch.from_numpy(part).to(device)).float().cpu() for part in parts])


def _read(path: Path, key: str) -> Halves | None:
    """The features in a file, if it is whole and of this key."""
    try:
        with np.load(path) as kept:
            found: Halves = kept["features"]
            return found if str(kept["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, key: str, features: Halves) -> None:
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, features=features, key=np.array(key))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({one_line(error)}); make room") from error
