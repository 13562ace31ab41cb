"""Says what a file of weights is: by its first bytes, and by the names and shapes of its tensors.

It serves messages only. Whether weights fit is decided in `fit.py`, by every name and shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from samclip_edge.bundle.encoder_spec import EncoderSpec, TinyVitSpec
from samclip_edge.bundle.presets import PRESETS

SNIFFED = 4096  # bytes of a file that `of_bytes` wants to see


class Container(NamedTuple):
    """What a file is that holds no weights we read, and what to do about it."""

    what: str
    mend: str


_FETCH = "fetch the file of weights itself"
_UNPACK = "unpack it and pass the file inside"
_TORCH = "pass weights saved by torch or as safetensors"

# The first bytes of a text, in small letters.
_TEXTS = (
    (b"version https://git-lfs", Container("a Git LFS pointer", "fetch what it points to with `git lfs pull`")),
    (b"<!doctype html", Container("a web page", _FETCH)),
    (b"<html", Container("a web page", _FETCH)),
    (b"<head", Container("a web page", _FETCH)),
    (b"<?xml", Container("an XML file, as servers send for an error", _FETCH)),
    (b"{", Container("a JSON file", "pass the file of weights beside it")),
)
_INDEX = Container("the index of a checkpoint in several files", "save the model as one file and pass that")

# Bytes at an offset.
_BYTES = (
    (0, b"\xff\xd8\xff", Container("a picture", _FETCH)),
    (0, b"\x89PNG", Container("a picture", _FETCH)),
    (0, b"RIFF", Container("a picture or a sound", _FETCH)),
    (0, b"%PDF", Container("a PDF", _FETCH)),
    (0, b"\x1f\x8b", Container("a gzip archive", _UNPACK)),
    (0, b"BZh", Container("a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ\x00", Container("an xz archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Container("a Zstandard archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Container("a 7-Zip archive", _UNPACK)),
    (0, b"Rar!", Container("a RAR archive", _UNPACK)),
    (257, b"ustar", Container("a tar archive", "unpack it; if torch wrote it, save it again with a newer torch")),
    (0, b"GGUF", Container("a GGUF file of llama.cpp", _TORCH)),
    (0, b"\x89HDF\r\n", Container("an HDF5 file, as Keras writes", _TORCH)),
    (0, b"\x93NUMPY", Container("a NumPy array", _TORCH)),
    (4, b"TFL3", Container("a TensorFlow Lite model", _TORCH)),
)


def of_bytes(head: bytes) -> Container | None:
    """What a file is by its first `SNIFFED` bytes; None where torch may be able to read it."""
    if not head:
        return Container("an empty file", "fetch it again")
    for offset, magic, container in _BYTES:
        if head[offset:].startswith(magic):
            return container
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, container in _TEXTS:
        if text.startswith(start):
            return _INDEX if container.what == "a JSON file" and b'"weight_map"' in text else container
    # Protobuf: field 1 is the version, and ONNX began at 3. What follows is a field that ONNX has.
    if head[0] == 8 and len(head) > 2 and head[2] in b"\x12\x1a\x22\x28\x32\x3a\x42":
        if head[1] >= 3:
            return Container("an ONNX graph", "pass the weights that it was exported from")
        return Container("a TensorFlow SavedModel", _TORCH)
    # MessagePack: a map, then a string as its first key.
    if (0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF)) and re.match(rb".(..|....)?[\xa0-\xbf\xd9]", head, re.S):
        return Container("a MessagePack file, as Flax writes", _TORCH)
    if re.fullmatch(rb"[\t\n\r\x20-\x7e]*", head):
        return Container("a text file", _FETCH)
    return None


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors does: the length of its JSON header, then the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000


def of_zip(names: list[str]) -> Container | None:
    """What a zip archive is by the names in it; None for one that `torch.save` wrote. TorchScript: see `files.py`."""
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return None
    if any(name.endswith(".npy") for name in names):
        return Container("an archive of NumPy arrays", _TORCH)
    if any(name.endswith((".pth", ".pt", ".bin", ".safetensors", ".ckpt")) for name in names):
        return Container("a zip archive around a file of weights", _UNPACK)
    return Container("a zip archive that torch did not write", _TORCH)


def of_folder(folder: Path) -> Container:
    """What a folder holds instead of being a file of weights."""
    if (folder / "manifest.json").is_file():
        return Container("a bundle, which holds graphs", "pass the weights that it was exported from")
    for pattern in ("*.safetensors", "*.pth", "*.pt", "*.bin"):
        for file in sorted(folder.glob(pattern)):
            return Container("a folder", f"pass a file in it, as {file.name}")
    return Container("a folder", "pass a file of weights")


# Of public models: the width of the image tower, and for CLIP its patch and the width of the text tower.
SAMS = {"ViT-B": 768, "ViT-L": 1024, "ViT-H": 1280}
CLIPS = {
    "ViT-B-32": (768, 32, 512),
    "ViT-B-16": (768, 16, 512),
    "ViT-L-14": (1024, 14, 768),
    "ViT-H-14": (1280, 14, 1024),
    "ViT-g-14": (1408, 14, 1024),
    "ViT-bigG-14": (1664, 14, 1280),
}
_HF = "of Hugging Face transformers"
_Shape = tuple[int | None, ...]

# What it is, a tensor that only it has (a name or a pattern), and that tensor's shape: None stands for any side, and an
# empty shape for any. The first row that fits is the answer. Names are those of each model's own code.
_KINDS: tuple[tuple[str, str, _Shape], ...] = (
    ("a LoRA adapter", "*.lora_A.*", ()),
    ("a merged checkpoint of samclip-edge", "text_encoder.token_embedding.weight", ()),
    ("SAM-HQ", "mask_decoder.hf_token.weight", ()),
    (f"a SAM-HQ {_HF}", "mask_decoder.hq_token.weight", ()),
    ("SAM 2", "sam_mask_decoder.iou_token.weight", ()),
    ("SAM 2", "image_encoder.trunk.*", ()),
    (f"a SAM 2 {_HF}", "vision_encoder.backbone.*", ()),
    ("SAM 3", "detector.backbone.*", ()),
    ("MobileSAM", "image_encoder.patch_embed.seq.0.c.weight", ()),
    ("EdgeSAM", "image_encoder.features.0.0.c.weight", ()),
    ("EfficientSAM", "prompt_encoder.bbox_top_left_embeddings.weight", ()),
    ("EfficientViT-SAM", "image_encoder.backbone.input_stem.*", ()),
    *((f"SAM {name}", "image_encoder.pos_embed", (1, None, None, width)) for name, width in SAMS.items()),
    ("a SAM", "image_encoder.pos_embed", ()),
    *((f"a SAM {name} {_HF}", "vision_encoder.pos_embed", (1, None, None, width)) for name, width in SAMS.items()),
    (f"a SAM {_HF}", "vision_encoder.pos_embed", ()),
    ("a SAM", "mask_decoder.iou_token.weight", ()),
    ("the image encoder of a SAM, alone", "blocks.0.attn.rel_pos_h", ()),
    (f"a SigLIP {_HF}", "vision_model.head.probe", ()),
    ("a SigLIP of OpenCLIP", "visual.trunk.attn_pool.latent", ()),
    ("an OpenCLIP with an image tower of timm", "visual.trunk.*", ()),
    ("an EVA-CLIP", "visual.blocks.0.attn.*", ()),
    ("an OpenCLIP ResNet", "visual.layer1.0.conv1.weight", ()),
    *((f"an OpenCLIP {name}", "visual.conv1.weight", (width, 3, p, p)) for name, (width, p, _) in CLIPS.items()),
    ("an OpenCLIP", "visual.conv1.weight", ()),
    *(
        (f"a CLIP {name} {_HF}", "vision_model.embeddings.patch_embedding.weight", (width, 3, p, p))
        for name, (width, p, _) in CLIPS.items()
    ),
    (f"a CLIP {_HF}", "vision_model.embeddings.patch_embedding.weight", ()),
    (f"the text tower of a CLIP {_HF}, alone", "text_model.embeddings.token_embedding.weight", ()),
    ("a DINOv2", "blocks.0.ls1.gamma", ()),
    ("a ViT of timm", "blocks.0.attn.qkv.weight", ()),
)


def of_tensors(state: Mapping[str, Tensor]) -> str:
    """What model a state dict belongs to, with its article, as "SAM ViT-H" or "an OpenCLIP ViT-B-32"."""
    for what, key, shape in _KINDS:
        found = [name for name in state if fnmatchcase(name, key)] if "*" in key else [key] if key in state else []
        if found and (not shape or _is_of(tuple(state[found[0]].shape), shape)):
            openai = what.startswith("an OpenCLIP ViT") and "input_resolution" in state  # one of its archive's numbers
            return what.replace("an OpenCLIP", "OpenAI's CLIP") if openai else what
    return "a model that is not known here"


_NECK = "image_encoder.neck.0.weight"


def preset_of_sam(state: Mapping[str, Tensor]) -> str | None:
    """The preset whose image encoder is that of a SAM's weights, under the names of segment_anything."""
    neck = state.get(_NECK)
    width = neck.shape[1] if neck is not None and neck.ndim > 1 else None
    bases = ("vit_b", "vit_l", "vit_h", "mobile", "tiny")
    return next((name for name in bases if width == PRESETS[name].encoder.width), None)


def public_sam(encoder: EncoderSpec) -> str | None:
    """The public SAM that an encoder takes the weights of, and where it comes from; None where none fits."""
    if encoder.kind == "tiny_vit":
        return "MobileSAM's mobile_sam.pt" if encoder.widths == TinyVitSpec().widths else None
    if encoder.kind == "radio":
        return "SAM ViT-H, from segment_anything or transformers" if encoder.sam.out == SAMS["ViT-H"] else None
    if encoder.stem != "patch":
        return None
    fitting = (name for name, width in SAMS.items() if width == encoder.width)
    return next((f"SAM {name}, from segment_anything or transformers" for name in fitting), None)


def _is_of(shape: tuple[int, ...], wanted: _Shape) -> bool:
    return len(shape) == len(wanted) and all(b is None or a == b for a, b in zip(shape, wanted, strict=True))
