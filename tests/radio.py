"""C-RADIO with random weights, in the layout of the released files, but small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from samclip_edge.bundle.encoder_spec import AdaptorSpec, RadioSpec
from samclip_edge.bundle.spec import AdaptorHeadSpec, DecoderSpec, ModelSpec, TextSpec
from samclip_edge.model import checkpoint

WIDTH, DEPTH, GRID, HIDDEN = 128, 2, 8, 96
TEACHERS = ("clip", "siglip2-g", "dino_v2", "sam")  # each has a cls token; four registers follow
FEATURES = {"clip": 80, "siglip2-g": 112, "sam": 40}  # of the adaptors that are made here

SPEC = ModelSpec(
    name="radio",
    encoder=RadioSpec(trunk=WIDTH, depth=DEPTH, heads=2, grid=GRID, sam=AdaptorSpec(hidden=HIDDEN, blocks=2, out=40)),
    decoder=DecoderSpec(mlp=128),
    clip_head=AdaptorHeadSpec(hidden=HIDDEN, blocks=2, max_grid=8),
    text=TextSpec(width=64, depth=2, heads=1, vocab=2562),
    features=FEATURES["clip"],
    sizes=(128, 256),
)


def config() -> dict[str, Any]:
    """config.json, as far as it is read: what the model was trained with, and the adaptors."""
    teachers = [
        {"name": "clip", "type": "open_clip", "model": "ViT-H-14-378-quickgelu", "pretrained": "dfn5b"},
        {"name": "siglip2-g", "type": "siglip2", "model": "siglip2-g-384"},
        {"name": "dino_v2", "type": "dino_v2", "model": "dinov2_vitg14_reg"},
        {"name": "sam", "type": "sam", "model": "vit-h", "use_summary": False},
    ]
    args = {"model": "vit_base_patch16_224", "teachers": teachers, "cls_token_per_teacher": True}
    return {"model_type": "radio", "patch_size": 16, "args": args, "vitdet_window_size": None}


def state(seed: int = 1) -> dict[str, Tensor]:
    """The tensors, under the names of the released files, with values under which none is idle."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.patch_generator.embedder.weight": (WIDTH, 768),
        "model.patch_generator.pos_embed": (1, GRID**2, WIDTH),
        "model.patch_generator.cls_token.token": (8, WIDTH),
    }

    def linear(name: str, out: int, width: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, width), (out,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    for layer in range(DEPTH):
        block = f"model.blocks.{layer}"
        norm(f"{block}.norm1", WIDTH)
        linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH)
        linear(f"{block}.attn.proj", WIDTH, WIDTH)
        norm(f"{block}.norm2", WIDTH)
        linear(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH)
        linear(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH)
    for name, features in FEATURES.items():
        for part in ("head_mlp", "feat_mlp"):
            mlp = f"adaptors.{name}.{part}"
            linear(f"{mlp}.fc1", HIDDEN, WIDTH)
            for block in (*(f"{mlp}.blocks.{i}" for i in range(2)), f"{mlp}.final"):
                norm(f"{block}.0", HIDDEN)
                linear(f"{block}.2", features if block.endswith("final") else HIDDEN, HIDDEN)
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            noise = 0.1 * noise if name.endswith("bias") else 1 + 0.2 * noise
        elif name.endswith("weight"):
            noise = noise * shape[1] ** -0.5
        made[f"radio_model.{name}"] = noise
    made["radio_model.input_conditioner.norm_mean"] = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    made["radio_model.input_conditioner.norm_std"] = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    made["radio_model.summary_idxs"] = torch.tensor([0, 1, 2])
    return made


def write(folder: Path, tensors: dict[str, Tensor], files: int = 1) -> Path:
    """Write config.json and the tensors, over several files with an index where there is more than one."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config()))
    if files == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = [f"model-{i + 1:05}-of-{files:05}.safetensors" for i in range(files)]
    weight_map = {tensor: names[i % files] for i, tensor in enumerate(sorted(tensors))}
    for name in names:
        save_file({each: tensors[each] for each, file in weight_map.items() if file == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def make_checkpoint(path: Path) -> Path:
    """A whole model of `SPEC` with random weights, as a checkpoint."""
    model = checkpoint.build(SPEC, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.ndim == 1:
                noise = torch.randn(tensor.shape, generator=generator)
                tensor.copy_(0.1 * noise if name.endswith("bias") else 1 + 0.2 * noise)
            elif name.endswith(("pos_embed", "token")):
                tensor.normal_(std=0.5, generator=generator)
    return checkpoint.save(model, path, checkpoint.Origin(note="random, for tests"))
