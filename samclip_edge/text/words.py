"""Words to text features, once each: by the bundle's text encoder, or looked up in its vocabulary."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.contract import fixed_sides, signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import File
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.errors import InputError, one_line
from samclip_edge.progress import Progress, silent
from samclip_edge.text.names import check_text, read_names, read_templates
from samclip_edge.text.tokenizer import Tokenizer, clean

Floats = npt.NDArray[np.float32]
_BATCH = 32
_REMEMBERED = 10_000  # names whose features are kept; at most 30 MB


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


class Words:
    """The text side of a bundle. May be used from several threads."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._lock = threading.Lock()
        self.bundle = bundle = sessions.bundle
        text = bundle.manifest.text
        self.logit_scale, self.logit_bias = text.logit_scale, text.logit_bias
        self.templates = read_templates(bundle.checked(text.templates))
        self._known: dict[str, Floats] = {}  # by the name as `clean` leaves it
        self._names: list[str] = []  # of the vocabulary
        self._tokenizer: Tokenizer | None = None
        self._fixed: dict[str, int] = {}  # texts in a call (B) and their length (L), where the graph takes no others
        if text.tokenizer is not None:
            spec, graph = bundle.manifest.spec, bundle.graph("text_encoder")
            self._fixed = fixed_sides(graph.signature, signature(spec, "text_encoder"))
            self._tokenizer = Tokenizer.read(bundle.checked(text.tokenizer), spec.text, self._fixed.get("L"))
        elif text.names is not None and text.features is not None:
            self._names, features = read_features(bundle, text.names, text.features)
            self._known = dict(zip(map(clean, self._names), features, strict=True))

    @property
    def vocabulary(self) -> list[str] | None:
        """The names of a bundle without a text encoder; None where any word will do."""
        return None if self._tokenizer else list(self._names)

    def features(self, names: Sequence[str], progress: Progress = silent) -> Floats:
        """A feature for each name (K,E), L2-normalised: the mean over the prompt templates (CLIP, Sec. 3.1.4).

        Names that `clean` makes equal have one feature. Raises InputError for a name that the bundle's vocabulary does
        not hold, or that is no text.
        """
        for name in names:
            check_text(name, "name")
        keys = [clean(name) for name in names]
        with self._lock:
            missing = [name for key, name in dict(zip(keys, names, strict=True)).items() if key not in self._known]
            if missing and self._tokenizer is None:
                raise InputError(
                    f"name {missing[0]!r}: not in the bundle's vocabulary of {len(self._known)} names; choose one of "
                    "them (`samclip-edge info` lists them) or export with the text encoder"
                )
            if len(self._known) + len(missing) > _REMEMBERED and self._tokenizer is not None:
                self._known = {key: self._known[key] for key in keys if key in self._known}
            for name in progress(missing, "reading names") if missing else ():
                mean = self.encode([template.replace("{}", name) for template in self.templates]).mean(axis=0)
                self._known[clean(name)] = mean / np.linalg.norm(mean)
            return np.stack([self._known[key] for key in keys])

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
        if self._tokenizer is None:
            raise InputError(": the bundle holds a vocabulary, not a text encoder; use the names in it", "text")
        tokens = self._tokenizer(texts)
        spec = self.bundle.manifest.spec.text
        ends = (tokens == spec.end_of_text).argmax(axis=1)
        lengths = np.full(len(tokens), tokens.shape[1]) if spec.filled else ends + 1
        order, step = np.argsort(lengths, kind="stable"), self._fixed.get("B", _BATCH)  # near lengths go together
        features = np.empty((len(tokens), self._sessions.bundle.manifest.spec.features), np.float32)
        for rows in np.split(order, range(step, len(order), step)):
            columns = lengths[rows].max()
            shape = self._fixed.get("B", len(rows)), self._fixed.get("L", columns)
            given = np.full(shape, self._tokenizer.pad, np.int32)
            given[: len(rows), :columns] = tokens[rows, :columns]
            features[rows] = self._sessions.run("text_encoder", tokens=given)["text_features"][: len(rows)]
        return features
