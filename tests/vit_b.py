"""`vit_b` with random weights, made as the README makes it; for many tests, so made once."""

from __future__ import annotations

import subprocess
import sys
from functools import cached_property
from pathlib import Path

import open_clip
import torch
from filelock import FileLock
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from support import spread

from samclip_edge import SamClip
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel


class VitB:
    """`vit_b` made of `sam` and `clip` by the commands of the README, each part when a test first asks for it.

    Its files are made once, by whichever of two workers wants them first.
    """

    def __init__(self, folder: Path, sam: Sam, clip: open_clip.CLIP) -> None:
        self._folder, self._sam, self._clip = folder, sam, clip
        folder.mkdir(exist_ok=True)

    @cached_property
    def checkpoint(self) -> Path:
        """The merged checkpoint, its CLIP head spread at random."""
        merged = self._folder / "merged.safetensors"
        with FileLock(f"{merged}.lock"):
            if not merged.exists():
                names = "sam.pth", "clip.safetensors", "start.safetensors"
                sam, clip, start = (self._folder / name for name in names)
                torch.save(self._sam.state_dict(), sam)
                save_file({name: each.contiguous() for name, each in self._clip.state_dict().items()}, clip)
                command = [Path(sys.executable).with_name("samclip-edge"), "init", "--preset", "vit_b"]
                subprocess.run([*command, "--sam", sam, "--clip", clip, "-o", start], check=True, cwd="/")
                model, origin = checkpoint.load(start)
                spread(model.clip_head, seed=7)
                checkpoint.save(model, merged, origin)
        return merged

    @cached_property
    def torch(self) -> MergedModel:
        """The model in torch. Not to be changed: other tests look at it."""
        return checkpoint.load(self.checkpoint)[0]

    @cached_property
    def bundle(self) -> Bundle:
        """Its ONNX bundle, at all sizes."""
        folder = self._folder / "bundle"
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                export_onnx(self.checkpoint, folder, templates=["a {}."])  # reading names by all 80 takes minutes
        return Bundle.open(folder)

    @cached_property
    def model(self) -> SamClip:
        """The bundle, loaded."""
        return SamClip(self.bundle, SessionOptions(2))
