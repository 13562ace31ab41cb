"""Words to text features, once each: by the bundle's text encoder, or looked up in its vocabulary."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.contract import fixed_sides, signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import File
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.cache import Shelf
from samclip_edge.errors import InputError, one_line
from samclip_edge.progress import Progress, silent
from samclip_edge.text.names import check_text, read_names, read_templates
from samclip_edge.text.tokenizer import Tokenizer, clean

Floats = npt.NDArray[np.float32]
_BATCH = 32
_TOGETHER = 32  # names whose texts are read together
_REMEMBERED = 10_000  # names whose features are kept; at most 30 MB
_KEPT = Shelf("names", most=20_000)  # on disk


def vocabulary_names(bundle: Bundle) -> list[str] | None:
    """The names of a bundle that holds a vocabulary; None where it holds the text encoder."""
    file = bundle.manifest.text.names
    return None if file is None else read_names(bundle.checked(file))


def read_features(bundle: Bundle, names: File, features: File) -> tuple[list[str], Floats]:
    """K names of a bundle and their features (K,E). Raises InputError where the files do not fit each other."""
    listed, path = read_names(bundle.checked(names)), bundle.checked(features)
    try:
        found = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path}: no features of names ({one_line(error)}); export the bundle again") from None
    if found.shape != (len(listed), bundle.manifest.spec.features) or found.dtype != np.float32:
        raise InputError(f"{path}: {found.dtype} {found.shape} for {len(listed)} names; export the bundle again")
    return listed, found


class _Call(NamedTuple):
    """One call of the text encoder."""

    rows: npt.NDArray[np.intp]  # which texts it reads
    tokens: npt.NDArray[np.int32]  # (B,L), more rows than texts where the graph fixes B


class Words:
    """The text side of a bundle. Its tokenizer or vocabulary is read when needed. May be used from several threads."""

    def __init__(self, sessions: Sessions, templates: Sequence[str] | None = None) -> None:
        """templates: prompt templates in place of the bundle's own."""
        self._sessions = sessions
        self._lock = threading.Lock()
        self.bundle = bundle = sessions.bundle
        self._text = text = bundle.manifest.text
        self.logit_scale, self.logit_bias = text.logit_scale, text.logit_bias
        self.templates = list(templates) if templates else read_templates(bundle.checked(text.templates))
        self._learned: dict[str, Floats] = {}  # by the name as `clean` leaves it

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer | None:
        if self._text.tokenizer is None:
            return None
        path, spec = self.bundle.checked(self._text.tokenizer), self.bundle.manifest.spec.text
        return Tokenizer.read(path, spec, self._fixed.get("L"))

    @functools.cached_property
    def _fixed(self) -> dict[str, int]:
        """Texts in a call (B) and their length (L), where the graph takes no others."""
        graph = self.bundle.graph("text_encoder")
        return fixed_sides(graph.signature, signature(self.bundle.manifest.spec, "text_encoder"))

    @functools.cached_property
    def _vocabulary(self) -> dict[str, Floats]:
        """The names of the vocabulary in its order, with their features; empty where there is the text encoder."""
        if self._text.names is None or self._text.features is None:
            return {}
        names, features = read_features(self.bundle, self._text.names, self._text.features)
        return dict(zip(names, features, strict=True))

    @property
    def vocabulary(self) -> list[str] | None:
        """The names of a bundle without a text encoder; None where any word will do."""
        return None if self._text.names is None else list(self._vocabulary)

    def features(self, names: Sequence[str], progress: Progress = silent) -> Floats:
        """A feature for each name (K,E), L2-normalised: the mean over the prompt templates (CLIP, Sec. 3.1.4).

        Names that `clean` makes equal have one feature. Raises InputError for a name that the bundle's vocabulary does
        not hold, or that is no text.
        """
        for name in names:
            check_text(name, "name")
        keys = [clean(name) for name in names]
        learned = self._learned
        if not all(key in learned for key in keys):
            with self._lock:
                self._learn(dict(zip(keys, names, strict=True)), progress)
                learned = self._learned
        return np.stack([learned[key] for key in keys])

    def _learn(self, names: dict[str, str], progress: Progress) -> None:
        """Find the features of those that are not known, by the keys of `_learned`: on disk, or by reading them."""
        if self._text.names is not None and not self._learned:
            self._learned = {clean(name): feature for name, feature in self._vocabulary.items()}
        missing = {key: name for key, name in names.items() if key not in self._learned}
        if missing and self._text.names is not None:
            raise InputError(
                f"name {next(iter(missing.values()))!r}: not in the bundle's vocabulary of {len(self._learned)} names; "
                "choose one of them (`samclip-edge info` lists them) or export with the text encoder"
            )
        if len(self._learned) + len(missing) > _REMEMBERED and self._text.names is None:
            self._learned = {key: self._learned[key] for key in names if key in self._learned}
        kept = {key: _KEPT.read(self._decides + name) for key, name in missing.items()}
        self._learned.update({key: np.frombuffer(each, "<f4") for key, each in kept.items() if each is not None})
        self._read([(key, name) for key, name in missing.items() if kept[key] is None], progress)

    def _read(self, names: list[tuple[str, str]], progress: Progress) -> None:
        """Read names, each after its key, by the text encoder, and keep their features."""
        step = 1 if self.bundle.manifest.dynamic else _TOGETHER  # no name may change the feature of another
        parts = [names[start : start + step] for start in range(0, len(names), step)]
        texts = [[template.replace("{}", name) for _, name in part for template in self.templates] for part in parts]
        for part, features in zip(parts, self._encoded(texts, progress) if parts else (), strict=True):
            for (key, _), own in zip(part, np.split(features, len(part)), strict=True):
                mean = own.mean(axis=0)
                self._learned[key] = mean / np.linalg.norm(mean)
            _KEPT.write({self._decides + name: self._learned[key].astype("<f4").tobytes() for key, name in part})

    @functools.cached_property
    def _decides(self) -> str:
        """All that decides the feature of a name besides the name, in front of which it stands as a key."""
        spec, graph = self.bundle.manifest.spec.text, self.bundle.graph("text_encoder")
        files = self._text.tokenizer, graph.built_engine, *graph.files
        digests = [self.templates, *(file and file.sha256 for file in files)]
        told = spec.model_dump_json(), graph.signature.model_dump_json(), self.bundle.manifest.precision
        return json.dumps([digests, told, self._sessions.engine]) + "\n"

    def probabilities(self, features: Floats, names: Sequence[str], progress: Progress = silent) -> Floats:
        """Softmax over names of the scaled cosines. features: (..., E), L2-normalised. Returns (..., K).

        So they share the chance that one of them fits. For a CLIP that was trained by a sigmoid of each name by itself,
        it is the chance of each where exactly one of them fits: its bias cancels out.
        """
        logits = self.logit_scale * (features @ self.features(names, progress).T)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)

    def encode(self, texts: Sequence[str]) -> Floats:
        """A feature (B,E) for each text, without templates, L2-normalised.

        Raises InputError without a text encoder, and for what is no text.
        """
        for text in texts:
            check_text(text, "text")
        if self._text.names is not None:
            raise InputError(": the bundle holds a vocabulary, not a text encoder; use the names in it", "text")
        (features,) = self._encoded([texts], silent)
        return features

    def _encoded(self, groups: Sequence[Sequence[str]], progress: Progress) -> Iterator[Floats]:
        """The features (B,E) of each group of texts, which are read together; progress is that of all groups."""
        assert self._tokenizer is not None
        planned = [list(self._calls(self._tokenizer(texts))) for texts in groups]
        steps = iter(progress([call for calls in planned for call in calls], "reading names"))
        for texts, calls in zip(groups, planned, strict=True):
            features = np.empty((len(texts), self.bundle.manifest.spec.features), np.float32)
            for rows, tokens in islice(steps, len(calls)):
                answer = self._sessions.run("text_encoder", tokens=tokens)["text_features"]
                features[rows] = np.asarray(answer)[: len(rows)]
            yield features
        next(steps, None)  # so that whoever shows progress sees its end

    def _calls(self, tokens: npt.NDArray[np.int32]) -> Iterator[_Call]:
        """The calls that read texts (T,L), each of texts of one length, so that nothing is filled up."""
        assert self._tokenizer is not None
        spec, step = self.bundle.manifest.spec.text, self._fixed.get("B", _BATCH)
        lengths = (tokens == spec.end_of_text).argmax(axis=1) + 1
        if spec.filled or "L" in self._fixed:
            lengths[:] = tokens.shape[1]
        taken = self.bundle.graph("text_encoder").taken("L")
        if taken is not None:  # the runtime fills them up to one of these, so they may as well go together
            rounded = np.array([*taken, tokens.shape[1]])[np.searchsorted(taken, lengths)]
            lengths = np.minimum(rounded, tokens.shape[1])
        for length in np.unique(lengths):
            same = np.flatnonzero(lengths == length)
            for rows in np.split(same, range(step, len(same), step)):
                # Engines have a way of their own for a single text, whose last bits differ. So it is read twice, and
                # the feature of a name does not depend on what it is asked with.
                texts = self._fixed.get("B", max(len(rows), 2))
                given = np.full((texts, self._fixed.get("L", length)), self._tokenizer.pad, np.int32)
                given[:, :length] = tokens[np.resize(rows, texts), :length]
                yield _Call(rows, given)
