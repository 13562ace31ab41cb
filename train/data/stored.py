"""Reads the teachers' answers, stored once so that no later epoch runs them (dataset reinforcement, arXiv 2303.08983).

The folder holds `stored.json`, which names the data and the teachers, and shards of `PER_SHARD` images:

- `clip-SIZE-THINGS-SHARD.npy`: the features (n,V,E) of V variants of each image; it is mapped into memory.
- `sam-SIZE-THINGS-SHARD.npz`: for every image and variant the mask logits (2,M,4,S/4,S/4), times eight as int8, and the
  predicted IoUs (2,M,4).

SIZE and THINGS are those of the recipe's `Batch`.
"""

from __future__ import annotations

import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from samclip_edge.errors import InputError
from samclip_edge.json_files import read_json
from samclip_edge.train.data.files import BrokenSample
from samclip_edge.train.recipe import Batch, Recipe

PER_SHARD = 256
Floats = npt.NDArray[np.float32]


def eighths(logits: Tensor) -> Tensor:
    """Round mask logits to eighths, as int8 for storage. They are clipped to -15.875..15.875 and never rounded to 0.

    The logits of teachers that run in every step are rounded the same way, so that both train the same model.
    """
    rounded = (8 * logits.float()).round().clamp(-127, 127)
    smallest = torch.where(logits > 0, 1.0, -1.0)  # a logit above 0 is mask, so its sign must stay
    return torch.where(rounded == 0, smallest, rounded).to(torch.int8)


def from_eighths(stored: Tensor) -> Tensor:
    """Stored mask logits as float32."""
    return stored.float() / 8


def fingerprint(recipe: Recipe) -> dict[str, object]:
    """The parts of a recipe that stored answers depend on. They must be the same when the answers are used."""
    return {
        "seed": recipe.seed,
        "clip_data": recipe.clip_data.model_dump(mode="json", exclude={"images"}),
        "sam_data": recipe.sam_data.model_dump(mode="json", exclude={"images"}),
        "clip_teacher": recipe.clip_teacher,
        "sam_teacher": recipe.sam_teacher,
        "masks": [stage.masks for stage in recipe.stages if stage.task == "joint"],
        "teachers": [stage.model_dump(mode="json") for stage in recipe.stages if stage.task.startswith("teach")],
    }


def clip_shard(folder: Path, shape: Batch, shard: int) -> Path:
    """The path of a shard of CLIP features."""
    return folder / f"clip-{shape.size}-{shape.things}-{shard:06d}.npy"


def sam_shard(folder: Path, shape: Batch, shard: int) -> Path:
    """The path of a shard of SAM's masks."""
    return folder / f"sam-{shape.size}-{shape.things}-{shard:06d}.npz"


class Stored:
    """Reads a folder that `samclip-edge train reinforce` wrote. It can be passed to worker processes."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        """Raises InputError when the folder holds no answers, or answers for other data, masks or teachers."""
        self.folder, path = folder, folder / "stored.json"
        try:
            same = read_json(path) == fingerprint(recipe)
        except (OSError, ValueError):
            raise InputError(f"stored {folder}: holds no answers; run `samclip-edge train reinforce`") from None
        if not same:
            raise InputError(f"{path}: was stored for other data, masks or teachers; run `train reinforce` again")

    def features(self, shape: Batch, image: int, variant: int) -> Floats:
        """The CLIP teacher's feature (E,) of a variant of an image.

        Raises BrokenSample for an image that was broken when they were stored, InputError when the shard is not there.
        """
        shard, place = divmod(image, PER_SHARD)
        path = clip_shard(self.folder, shape, shard)
        try:
            found = np.asarray(_features(path)[place, variant], np.float32)
        except IndexError:
            raise InputError(f"{path}: holds no answer for image {image}; run `train reinforce` again") from None
        if not found.any():
            raise BrokenSample(f"{path}: holds no answer for image {image}, which was broken when it was written")
        return found

    def masks(self, shape: Batch, image: int, variant: int) -> tuple[npt.NDArray[np.int8], Floats]:
        """The SAM teacher's logits (2,M,4,S/4,S/4), times eight as int8, and predicted IoUs (2,M,4) for a variant.

        Raises BrokenSample for an image that was broken when they were stored, InputError when the shard is not there.
        """
        path = sam_shard(self.folder, shape, image // PER_SHARD)
        try:
            with np.load(path, allow_pickle=False) as file:  # reads only the members that are asked for
                return file[f"{image}-{variant}.logits"], file[f"{image}-{variant}.scores"]
        except KeyError:
            raise BrokenSample(
                f"{path}: holds no answer for image {image}, which was broken when it was written"
            ) from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            raise InputError(f"{path}: missing or damaged; run `samclip-edge train reinforce` again") from None


@lru_cache(maxsize=1024)
def _features(path: Path) -> npt.NDArray[np.float32]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path}: missing or damaged; run `samclip-edge train reinforce` again") from None
