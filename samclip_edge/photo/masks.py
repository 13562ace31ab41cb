"""Masks over a photo: COCO run-length encoding, boxes, stability, and non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.spec import PIXEL_MEAN

CUT_OUT = 1.5  # the side of what CLIP is shown of a mask alone, over the longer side of the mask's box
Bits = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]


class Rle(TypedDict):
    """A mask as COCO stores it: `size` is [height, width], `counts` is the compressed string."""

    size: list[int]
    counts: str


@dataclass(frozen=True)
class Mask:
    """One mask, in the photo's own pixels. It is kept run-length encoded: a hundred masks of a big photo stay small."""

    rle: Rle
    predicted_iou: float | None  # SAM's own; None only for a map of the CLIP head alone, which SAM did not make
    logits: Floats | None = field(default=None, repr=False)  # (S/4,S/4), to hand back as `mask` to the next `segment`
    label: str | None = None
    score: float | None = None  # the calibrated chance, 0..1, that `label` is right; None without a label
    point: tuple[float, float] | None = None  # x, y in photo pixels, where a grid point asked for the mask
    similarity: float | None = None  # the cosine of `label` and of what is under the mask; None without a label

    @property
    def confidence(self) -> float | None:
        """The old name of `score`, until 0.3."""
        return self.score

    @property
    def bits(self) -> Bits:
        """The mask as (H,W) booleans, decoded anew at each call."""
        return decode_rle(self.rle)

    @property
    def area(self) -> int:
        """Pixels in the mask."""
        return sum(_runs_of(self.rle)[1::2])

    @property
    def box(self) -> Box:
        """x0, y0, x1, y1 around the mask, x1 and y1 one past the last pixel; zeros for an empty mask."""
        return mask_box(self.bits)

    def to_json(self) -> dict[str, Any]:
        """What the commands print: COCO RLE, area, box, predicted IoU; and label, similarity, score where there are.

        `confidence` repeats `score` under its old name, until 0.3.
        """
        area, box = self.area, list(self.box)
        fields = {"segmentation": self.rle, "area": area, "box": box, "predicted_iou": self.predicted_iou}
        if self.label is None:
            return fields
        named = {"label": self.label, "similarity": self.similarity, "score": self.score, "confidence": self.score}
        return fields | named


def encode_rle(bits: Bits) -> Rle:
    """A mask (H,W) as compressed COCO RLE, the string that `pycocotools.mask.encode` makes.

    Runs go down the columns and start with background. A run from the fourth on is stored as its difference from the
    one two before, in base 32 with a continuation bit, as `rleToString` in COCO's `maskApi.c` writes it.
    """
    flat = bits.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])) if flat.size else np.zeros(1, int)
    if flat.size and flat[0]:
        runs = np.concatenate([[0], runs])
    stored = runs.astype(np.int64)
    stored[3:] -= runs[1:-2]
    out = bytearray()
    for value in stored.tolist():
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != (-1 if digit & 0x10 else 0)
            out.append((digit | (0x20 if more else 0)) + 48)
    return {"size": [int(side) for side in bits.shape], "counts": out.decode("ascii")}


def decode_rle(rle: Rle) -> Bits:
    """The mask (H,W) of a compressed COCO RLE."""
    runs = _runs_of(rle)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(rle["size"], order="F")


def _runs_of(rle: Rle) -> list[int]:
    runs: list[int] = []
    value, shift = 0, 0
    for byte in rle["counts"].encode("ascii"):
        digit = byte - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if not digit & 0x20:
            if digit & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return runs


def mask_box(bits: Bits) -> Box:
    """x0, y0, x1, y1 around a mask (H,W), the end exclusive; zeros when it is empty."""
    columns, rows = np.flatnonzero(bits.any(axis=0)), np.flatnonzero(bits.any(axis=1))
    if not columns.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def square_around(bits: Bits) -> tuple[slice, slice]:
    """Rows and columns of the square around a mask's box (H,W), moved or cut to lie within the photo."""
    x0, y0, x1, y1 = mask_box(bits)
    height, width = bits.shape
    side = max(x1 - x0, y1 - y0, 1)
    left = min(max((x0 + x1 - side) // 2, 0), max(width - side, 0))
    top = min(max((y0 + y1 - side) // 2, 0), max(height - side, 0))
    return slice(top, top + side), slice(left, left + side)


def cut_out(pixels: npt.NDArray[np.uint8], bits: Bits) -> npt.NDArray[np.uint8]:
    """A mask cut out of a photo (H,W,3), in the middle of a square `CUT_OUT` times as wide as its box, all around it
    the mean colour."""
    x0, y0, x1, y1 = mask_box(bits)
    side = round(CUT_OUT * max(x1 - x0, y1 - y0))
    mean = np.round(PIXEL_MEAN).astype(np.uint8)
    square = np.full((side, side, 3), mean)
    top, left = (side - (y1 - y0)) // 2, (side - (x1 - x0)) // 2
    square[top : top + y1 - y0, left : left + x1 - x0] = np.where(bits[..., None], pixels, mean)[y0:y1, x0:x1]
    return square


def stability(logits: Floats, offset: float) -> float:
    """IoU of the masks cut at +offset and -offset (SAM's `calculate_stability_score`); 0 where both are empty."""
    union = int(np.count_nonzero(logits > -offset))
    return int(np.count_nonzero(logits > offset)) / union if union else 0.0


def suppress(boxes: npt.NDArray[np.float64], quality: npt.NDArray[np.float64], threshold: float) -> list[int]:
    """Greedy non-maximum suppression, as `torchvision.ops.nms`.

    boxes: (M,4) x0, y0, x1, y1. quality: (M,), by which the better of two is kept. Returns the indices that are kept,
    best first: no two of them overlap by more than `threshold` IoU.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-quality, kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        overlap = np.maximum(sides, 0).prod(axis=1)
        with np.errstate(invalid="ignore"):  # two boxes without area overlap by 0 / 0, which suppresses nothing
            iou = overlap / (areas[best] + areas[rest] - overlap)
        order = rest[~(iou > threshold)]
    return kept
