"""Teachers: public weights answer as the libraries that published them, whatever the size of the student's crop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from segment_anything.modeling import Sam
from support import TOLERANCE, Ran, as_model, off

from samclip_edge.errors import InputError
from samclip_edge.model.public import merged
from samclip_edge.train.data.batches import Masks
from samclip_edge.train.recipe import read_recipe
from samclip_edge.train.stages import asked, prompted
from samclip_edge.train.teachers import OpenClip


def test_an_open_clip_teacher_answers_as_open_clip(
    clip: open_clip.CLIP, photos: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """On a crop of its own size, against open_clip's transform and `encode_image`; and on the same crop four times as
    large, which it sees resized.
    """
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16}  # as conftest.py makes it
    name = as_model(tmp_path, "taught", {**open_clip.get_model_config("ViT-L-14"), "vision_cfg": vision})
    teacher = OpenClip(f"{name}:{tmp_path / 'clip.pt'}", torch.device("cpu"))
    side = clip.visual.image_size[0]
    picture = Image.fromarray(photos["landscape"][:400, :400])
    transform = open_clip.image_transform(side, is_train=False)
    with torch.no_grad():
        wanted = clip.encode_image(transform(picture)[None], normalize=True)
    same = picture.resize((side, side), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(same, np.float32)).permute(2, 0, 1)[None]
    assert off(wanted, teacher(pixels)) < TOLERANCE
    large = torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)[None]
    assert torch.cosine_similarity(wanted, teacher(large)).item() > 0.99


def test_a_sam_teacher_answers_as_segment_anything(sam: Sam, tmp_path: Path, photos: dict[str, np.ndarray]) -> None:
    """SAM's weights as our teacher, at the size that SAM has: both rounds of prompts against SAM's own modules."""
    weights = tmp_path / "sam.pth"
    torch.save(sam.state_dict(), weights)
    teacher = merged("vit_b", sam=str(weights))
    embedding = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = Masks(
        pixels=torch.zeros(1, 3, 1024, 1024),
        owner=torch.zeros(2, dtype=torch.long),
        masks=torch.zeros(2, 1, 1, dtype=torch.bool),
        points=torch.tensor([[[100.0, 200], [700, 800], [301, 302]], [[500, 400], [0, 0], [620, 610]]]),
        labels=torch.tensor([[2.0, 3, 1], [1, -1, 0]]),
        logits=None,
        predicted_ious=None,
        skipped=[],
        kinds=[],
    )
    with torch.no_grad():
        first = prompted(teacher, batch, embedding)
        for i, (points, boxes) in enumerate(
            [(None, torch.tensor([[100.0, 200, 700, 800]])), ((torch.tensor([[[500.0, 400]]]), torch.ones(1, 1)), None)]
        ):
            sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=None)
            pe = sam.prompt_encoder.get_dense_pe()
            masks, scores = sam.mask_decoder.predict_masks(embedding, pe, sparse, dense)
            assert off(masks, first[0][i : i + 1]) < TOLERANCE
            assert off(scores, first[1][i : i + 1]) < TOLERANCE


def test_stored_answers_replace_the_sam_teacher() -> None:
    logits, scores = torch.randint(-127, 128, (2, 3, 4, 8, 8), dtype=torch.int8), torch.rand(2, 3, 4)
    nothing = torch.zeros(0)
    batch = Masks(nothing, nothing, nothing, nothing, nothing, logits, scores, [], [])
    told, told_scores = asked(None, batch)  # type: ignore[arg-type]
    assert torch.equal(told, logits.float() / 8)
    assert told_scores is scores


def test_a_recipe_of_public_weights_that_are_not_there(run: Callable[..., Ran], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    text = (Path(__file__).parents[2] / "train" / "recipes" / "one-gpu.yaml").read_text()
    recipe.write_text(text.replace("data/clip/*.tar", str(tmp_path / "none")))
    ran = run("train", "--recipe", recipe, "-o", tmp_path / "run")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"{tmp_path / 'none'}: nothing there" in ran.err
    assert read_recipe("one-gpu").clip_teacher == "ViT-L-14:datacomp_xl_s13b_b90k"
    with pytest.raises(InputError, match=r"sam_vit_b_01ec64.pth: no such checkpoint"):
        merged("vit_b", sam="weights/sam_vit_b_01ec64.pth")
