"""The settings of a probe: a YAML file, one for segmentation and one for classification."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from samclip_edge.bundle.encoder_spec import Frozen
from samclip_edge.errors import InputError, one_line

FOLDER = Path(__file__).parent / "recipes"
PATCH = 16  # pixels; `size` is a multiple of it
Count = Annotated[int, Field(gt=0)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ProbeRecipe(Frozen):
    """How a head is trained. The paper does not print its own settings; these are ours."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    size: Annotated[int, Field(gt=0, le=4096, multiple_of=PATCH)]  # side of the images in pixels
    images: Annotated[int, Field(gt=1, le=2**20)]  # in a step, over all processes
    epochs: Annotated[Finite, Field(gt=0, le=1e5)]  # over the training photos
    rate: Annotated[float, Field(gt=0, lt=1)]  # the highest learning rate of AdamW; it falls to 0 along a cosine
    warmup: Annotated[int, Field(ge=0)] = 0  # steps from 0 up to `rate`
    weight_decay: Annotated[Finite, Field(le=1)] = 0.0
    gradient_norm: Annotated[Finite, Field(gt=0)] = 1.0  # the norm that a step's gradient is limited to
    least_area: Annotated[float, Field(gt=0, le=1)] = 1.0  # the least share of a photo's area that a training crop has
    save_every: Count = 200  # steps from one saved state to the next
    workers: Annotated[int, Field(ge=0, le=256)] = 1  # processes that read photos
    precision: Literal["no", "bf16"] = "no"  # of the forward passes, as Accelerate names it

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the head, which is all but how it is read and saved."""
        return self.model_dump(exclude={"save_every", "workers"})


def read_probe_recipe(name: str) -> ProbeRecipe:
    """The settings in a YAML file, or those of `recipes/NAME.yaml`. Raises InputError where there are none."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    try:
        return ProbeRecipe.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise InputError(f" {path}: {where}: {first['msg']}", "recipe") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f" {path}: cannot be read as a recipe ({one_line(error)})", "recipe") from None
