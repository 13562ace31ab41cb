"""A recipe says what a run trains, on what data, for how long and at which rates.

It is a YAML file and is validated before anything starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from pydantic import Field, FiniteFloat, ValidationError, field_validator, model_validator

from samclip_edge.bundle.encoder_spec import Frozen
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError, one_line
from samclip_edge.train.yaml_lines import line_of

FOLDER = Path(__file__).parent / "recipes"
# The presets with a CLIP head that learns: not those of two models, nor of one whose head is published with it.
TRAINED = [name for name, spec in PRESETS.items() if spec.kind == "merged" and spec.clip_head.kind != "adaptor"]

# Numbers have bounds that no run comes near, so that a slip is refused by its line and does not fill the memory.
MOST_STEPS = 100_000_000
Count = Annotated[int, Field(gt=0, le=10**12)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # torch's
Share = Annotated[float, Field(ge=0, le=1)]
Below = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]  # of a loss
Task = Literal["teach_text", "teach_clip", "teach_sam", "probe", "distill", "joint", "adapt"]

DISTILLING = {"probe", "distill", "joint", "adapt"}  # the tasks that learn from teachers of images


class Scenes(Frozen):
    """The rendered scenes of seeds `first` to `first + count - 1`."""

    first: int = Field(ge=0, le=10**12)
    count: Count


class Data(Frozen):
    """Where images come from: rendered scenes, or folders and tar shards.

    Files are paths, or patterns such as `cc3m/*.tar` and `cc3m/{00000..00331}.tar`. Those for D_SAM must have the
    layout of SA-1B: a json of annotations beside each jpg.

    Tar shards are read as a stream, of which nobody knows how many images it has. So `images` says it, for stages that
    count in epochs.
    """

    scenes: Scenes | None = None
    files: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    images: Count | None = None  # in files, all together; see above
    variants: Annotated[int, Field(ge=0, le=10**6)] = (
        0  # epochs until the crops and prompts of an image repeat; 0: never
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Data:
        if (self.scenes is None) == (not self.files):
            raise ValueError("give scenes or files, one of the two")
        if self.scenes and self.images:
            raise ValueError("images is for files; scenes have a count")
        return self


class Batch(Frozen):
    """The size of the images of a batch, and how many images it has over all processes.

    With `padded`, the model sees whole photos from files, padded as inference pads them (`photo.frame.Frame`), and not
    crops. The CLIP teacher sees the same photo without the padding, as it resizes photos itself.
    """

    size: Annotated[int, Field(gt=0, multiple_of=16)]
    images: Annotated[int, Field(gt=0, le=10**6)]
    things: Annotated[int, Field(gt=0, le=100)] = 4  # on a rendered scene, at most
    padded: bool = False  # see above; those of D_SAM always are


class Corpus(Frozen):
    """What `teach_text` reads: so many words and phrases (`data/words.py`), a batch of them in each step."""

    words: Count = 120_000
    batch: Count = 512  # over all processes


class Stage(Frozen):
    """One part of a run. Its task says what is learned and what is frozen; see `stages.py`.

    With `patches` below 1, the image feature is pooled over a random subset of the patches. For each image the share
    of patches kept is drawn between `patches` and 1. This way each patch learns to name its content by itself, and not
    only together with its neighbours.

    With `regions` above 0, patches learn the same from regions of D_SAM's images. The CLIP teacher sees each region
    alone; see `data/regions.py`.

    With `names` above 0, patches learn the names that D_SAM's masks have; see `stages.name_loss`.
    """

    task: Task
    steps: Annotated[int, Field(gt=0, le=MOST_STEPS)] | None = None
    epochs: Annotated[float, Field(gt=0, le=1e6)] | None = (
        None  # over D_CLIP; over D_SAM if the stage has no clip batches
    )
    stop_after: Annotated[float, Field(gt=0, le=1)] = 1.0  # stop after this share of the rate schedule
    rate: Rate  # the highest learning rate
    warmup: Annotated[int, Field(ge=0, lt=MOST_STEPS)] = (
        0  # steps from 0 up to `rate`; then it falls to 0 along a cosine
    )
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.1  # of matrices and convolutions; see `learner.by_decay`
    betas: tuple[Below, Below] = (0.9, 0.999)
    clip_gradient: Annotated[FiniteFloat, Field(gt=0)] = 1.0  # the norm that the gradient of a step is clipped to
    clip: tuple[Batch, ...] = ()  # batches of D_CLIP; each step draws one at random (variable resolution)
    sam: Batch | None = None  # the batch of D_SAM
    texts: Corpus | None = None  # of `teach_text`, which has no images
    patches: Annotated[float, Field(gt=0, le=1)] = 1.0  # see above
    regions: Weight = 0.0  # the weight of the loss of `regions`; 0: no such loss
    names: Weight = 0.0  # the weight of the loss of `names`; 0: no such loss
    masks: Count = 32  # per image of D_SAM, at most
    focal: Weight = 20.0  # the weight of focal loss beside dice loss in `teach_sam`; SAM's is 20
    shake: Share = 0.1  # the noise of box prompts, as a share of the box's side; see `data/prompts.py`
    sam_weight: Annotated[float, Field(gt=0, le=1e6)] = 10.0  # lambda of Sec. 3
    slower: Share = 0.1  # in `joint`, backbone and SAM head learn at this share of the rate
    train_prompt_encoder: bool = False  # in `joint`; the paper keeps it frozen (Sec. 3)
    trunk: Share = 1.0  # of `photo`, what has published weights learns at this share of the rate; 0: not at all
    forget: Share = 0.0  # stop once the mean IoU of the student's and the SAM teacher's masks is lower; 0: never

    @model_validator(mode="after")
    def _has_data(self) -> Stage:
        if (self.task == "teach_text") != (self.texts is not None):
            raise ValueError("texts are for teach_text, which needs them")
        if self.texts and (self.batches or self.steps is None):
            raise ValueError("teach_text has no batches of images; give texts and steps")
        if self.task not in ("teach_text", "teach_sam") and not self.clip:
            raise ValueError(f"task {self.task} needs clip batches")
        if self.task in ("teach_sam", "joint") and self.sam is None:
            raise ValueError(f"task {self.task} needs a sam batch")
        if self.regions and (self.sam is None or self.task.startswith("teach")):
            raise ValueError("regions are for stages that distil, and need a sam batch")
        if self.names and (self.sam is None or self.task.startswith("teach")):
            raise ValueError("names are for stages that distil, and need a sam batch")
        if self.train_prompt_encoder and self.task != "joint":
            raise ValueError(f"train_prompt_encoder is for joint, not for {self.task}; leave it out")
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, one of the two")
        if self.steps is not None and self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} is not below steps {self.steps}")
        return self

    @property
    def batches(self) -> tuple[Batch, ...]:
        """Every kind of batch of the stage: those of D_CLIP, then that of D_SAM."""
        return (*self.clip, *([self.sam] if self.sam else []))

    def check_split(self, processes: int, parts: int) -> None:
        """Raise InputError when a batch does not split evenly over processes, and each share into so many parts."""
        numbers = [(shape.images, "images") for shape in self.batches]
        for number, what in [*numbers, (self.texts.batch, "texts")] if self.texts else numbers:
            if number % (processes * parts):
                raise InputError(
                    f"recipe: a batch of {number} {what} in a {self.task} stage does not split over {processes} "
                    f"processes times {parts} parts (accumulate); choose another number of {what}"
                )

    def all_steps(self, clip_count: int, sam_count: int) -> int:
        """The steps of the whole rate schedule, those past `stop_after` included.

        clip_count, sam_count: how many images D_CLIP and D_SAM have; 0: not known. Raises InputError where it must be.
        """
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        count, shapes = (clip_count, self.clip) if self.clip else (sam_count, self.batches)
        if not count:
            data = "clip_data" if self.clip else "sam_data"
            raise InputError(
                f"recipe: the {self.task} stage counts in epochs, but {data} is tar shards, which nobody counts; "
                f"say how many images they hold (`images` in {data}), or give steps"
            )
        steps = max(round(self.epochs * count / float(np.mean([shape.images for shape in shapes]))), self.warmup + 1)
        if steps > MOST_STEPS:
            raise InputError(f"recipe: the {self.task} stage has {steps} steps, more than {MOST_STEPS}; lower epochs")
        return steps


class Recipe(Frozen):
    """The settings of a whole run."""

    preset: str
    seed: Seed = 0
    clip_data: Data  # D_CLIP
    sam_data: Data  # D_SAM
    held_out: Data  # for measurements, never trained on; in the layout of D_SAM
    clip_teacher: str | None = None  # MODEL:TAG or MODEL:FILE of open_clip, or `conse`; None: what teach_clip trained
    sam_teacher: str | None = None  # SAM's weights; None: what the teach_sam stage trained
    encoder_weights: str | None = None  # published ones that `photo` starts from: a file, or the package that holds it
    decoder_weights: str | None = None  # `tiny` or a checkpoint, whose prompt encoder and decoder teach_sam starts from
    stored: str | None = None  # folder that `samclip-edge train reinforce` wrote; None: the teachers run in every step
    stages: tuple[Stage, ...] = Field(min_length=1)
    save_every: Count = 500  # steps from one saved `state.pt` to the next
    workers: Annotated[int, Field(ge=0, le=1000)] = 1  # loader processes, for D_CLIP and for D_SAM each
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulate: Count = 1  # a process splits its share of a batch into so many parts, one after another
    recompute: bool = False  # recompute the activations of encoder layers in the backward pass, to save memory
    ema: Below = 0.0  # decay of the moving average of the weights; 0: no average

    @field_validator("preset")
    @classmethod
    def _can_be_trained(cls, preset: str) -> str:
        if preset not in TRAINED:
            raise ValueError(f"{preset} is none of {', '.join(TRAINED)}")
        return preset

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        a, b = self.held_out.scenes, self.clip_data.scenes
        for each in (self.clip_data.scenes, self.sam_data.scenes):
            if a and each and a.first < each.first + each.count and each.first < a.first + a.count:
                raise ValueError("held_out shares scenes with the data that is trained on")
        if (b is None) and any(stage.task == "teach_clip" for stage in self.stages):
            raise ValueError("teach_clip needs captions, which only scenes have; name a clip_teacher")
        tasks = {stage.task for stage in self.stages}
        if "teach_text" in tasks and not self.conse:
            raise ValueError("teach_text needs the texts' teacher; say clip_teacher: conse, or conse:WEIGHTS:FOLDER")
        if self.conse and tasks & DISTILLING and "teach_text" not in tasks:
            raise ValueError("conse has no text encoder for the student; add a teach_text stage")
        for stage in self.stages:
            if stage.task == "teach_clip" and self.accumulate > 1:
                raise ValueError("teach_clip compares all images of a batch; leave accumulate at 1")
            for batch in stage.batches:
                if batch.size not in PRESETS[self.preset].sizes:
                    raise ValueError(f"size {batch.size} is not one of {self.preset}'s {PRESETS[self.preset].sizes}")
        if tasks & DISTILLING:
            for teach, given in (("teach_clip", self.clip_teacher), ("teach_sam", self.sam_teacher)):
                if given is None and teach not in tasks:
                    raise ValueError(f"stages that distil need a {teach} stage, or {teach[6:]}_teacher")
        if self.stored and any(batch.padded for stage in self.stages for batch in stage.clip):
            raise ValueError("stored answers are about crops; leave out stored, or padded")
        if self.stored and any(stage.regions or stage.shake != 0.1 for stage in self.stages):
            raise ValueError("stored answers: no regions, and a shake of 0.1; leave out stored, or regions and shake")
        for index, stage in enumerate(self.stages):
            self.before(index, stage.task)
        return self

    @property
    def conse(self) -> bool:
        """Whether a classifier and a sentence encoder take CLIP's place; see `conse.conse`."""
        return (self.clip_teacher or "").partition(":")[0] == "conse"

    @property
    def open_clip(self) -> str | None:
        """The CLIP of open_clip that teaches."""
        return None if self.conse else self.clip_teacher

    def before(self, index: int, task: Task) -> int | None:
        """The index of the stage whose checkpoint stage `index` starts from.

        None: it starts from the teachers, or from random weights. Raises ValueError when a stage that it needs is not
        among the earlier ones.
        """
        earlier = [self.stages[i].task for i in range(index)]
        if earlier and earlier[-1] == task:  # the same task goes on, with other sizes or rates
            return index - 1
        needs: dict[str, Task] = {"distill": "probe", "joint": "probe", "adapt": "joint"}
        if task not in needs:
            return None
        if needs[task] not in earlier:
            raise ValueError(f"a {task} stage needs a {needs[task]} stage before it")
        return max(i for i, other in enumerate(earlier) if other == needs[task])


def read_recipe(name: str) -> Recipe:
    """Read a recipe: a file, if `name` ends in .yaml or .yml, else the recipe of that name in `recipes/`.

    Raises InputError when there is none, or when it is not valid; the message names the line.
    """
    path = FOLDER / f"{name}.yaml" if not name.endswith((".yaml", ".yml")) else Path(name)
    try:
        text = path.read_bytes()
    except (OSError, ValueError):
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise InputError(f" {name}: no such recipe; name a file or one of {known}", "recipe") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return Recipe.model_validate(yaml.safe_load(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: not YAML ({error.problem})") from None
    except ValidationError as error:
        # An unknown key comes first: a typo in a key also makes pydantic say that the right key is missing.
        first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        message = one_line(ValueError(first["msg"].removeprefix("Value error, ")))
        raise InputError(f"{path}:{line_of(root, first['loc'])}: {where or 'recipe'}: {message}") from None
    # PyYAML raises these over bytes that are no text, dates and numbers that are none, and brackets nested too deeply.
    except (yaml.YAMLError, ValueError, LookupError, ArithmeticError, TypeError, RecursionError, MemoryError) as error:
        raise InputError(f"{path}: not YAML ({one_line(error)})") from None
