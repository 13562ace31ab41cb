"""Masks over a photo: COCO run-length encoding, boxes, stability, and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import index
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from samclip_edge.bundle.spec import PIXEL_MEAN
from samclip_edge.errors import InputError
from samclip_edge.photo.polygons import polygons_of

_MOST = 2**32 - 1  # pixels of a mask: COCO's `maskApi.c` counts them in 32 bits
_DIGITS = 13  # of a compressed run, at most: 13 times 5 bits hold every number of 64 bits
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
    """One mask, in the photo's own pixels. It is kept run-length encoded: a hundred masks of a big photo stay small.

    Two masks are equal when all their fields are, `logits` value by value. So masks may be members of sets and keys of
    dicts; the hash is that of `rle`, `label` and `point`, which equal masks share.
    """

    rle: Rle = field(repr=False)  # thousands of letters
    predicted_iou: float | None  # SAM's own; None only for a map of the CLIP head alone, which SAM did not make
    logits: Floats | None = field(default=None, repr=False)  # (S/4,S/4), to hand back as `mask` to the next `segment`
    label: str | None = None
    score: float | None = None  # the calibrated chance, 0..1, that `label` is right; None without a label
    point: tuple[float, float] | None = None  # x, y in photo pixels, where a grid point asked for the mask
    similarity: float | None = None  # the cosine of `label` and of what is under the mask; None without a label

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        mine, theirs = ((m.rle, m.predicted_iou, m.label, m.score, m.point, m.similarity) for m in (self, other))
        if mine != theirs or self.logits is None or other.logits is None:
            return mine == theirs and self.logits is other.logits
        return np.array_equal(self.logits, other.logits, equal_nan=True)

    def __hash__(self) -> int:
        return hash((*self.rle["size"], str(self.rle["counts"]), self.label, self.point))

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
        return sum(_runs_of(self.rle)[0][1::2])

    @property
    def box(self) -> Box:
        """x0, y0, x1, y1 around the mask, x1 and y1 one past the last pixel; zeros for an empty mask."""
        return mask_box(self.bits)

    @property
    def polygons(self) -> list[list[int]]:
        """Polygons [x0, y0, x1, y1, ...] in pixels of the photo, whose union is the mask; see `polygons_of`."""
        return polygons_of(self.bits)

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


def encode_rle(bits: Bits, corner: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None) -> Rle:
    """A mask (H,W) as compressed COCO RLE, the string that `pycocotools.mask.encode` makes.

    bits: the mask, or the part of it that is not background, whose first pixel lies at row and column `corner` of a
    mask of `size`. It is read as it lies where it lies in memory column after column.

    Runs go down the columns and start with background. A run from the fourth on is stored as its difference from the
    one two before, in base 32 with a continuation bit, as `rleToString` in COCO's `maskApi.c` writes it.
    """
    height, width = size or bits.shape
    runs = np.diff(_edges(bits, corner, height), prepend=0, append=height * width)
    if len(runs) > 1 and not runs[-1]:
        runs = runs[:-1]
    stored = runs.copy()
    stored[3:] -= runs[1:-2]
    out = bytearray()
    for value in stored.tolist():
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != (-1 if digit & 0x10 else 0)
            out.append((digit | (0x20 if more else 0)) + 48)
    return {"size": [int(height), int(width)], "counts": out.decode("ascii")}


def _edges(bits: Bits, corner: tuple[int, int], height: int) -> npt.NDArray[np.int64]:
    """Where, counted down the columns of a mask that is `height` high, it begins and ends; see `encode_rle`."""
    if not bits.size:
        return np.zeros(0, np.int64)
    columns = np.ascontiguousarray(bits.T)
    turns = np.empty((bits.shape[1], bits.shape[0] + 1), bool)
    turns[:, 0], turns[:, -1] = columns[:, 0], columns[:, -1]
    np.not_equal(columns[:, 1:], columns[:, :-1], out=turns[:, 1:-1])
    x, y = np.divmod(np.flatnonzero(turns), turns.shape[1])
    edges = (x + corner[1]) * height + y + corner[0]
    # Where a mask leaves a column at its foot and is at the head of the next, it goes on.
    goes_on = np.flatnonzero(edges[1:] == edges[:-1])
    return np.delete(edges, np.concatenate([goes_on, goes_on + 1]))


def decode_rle(rle: Rle | Mapping[str, object]) -> Bits:
    """The mask (H,W) of a COCO RLE: `size` is [height, width]; `counts` is the compressed string, the same as bytes
    (as pycocotools has it), or the list of runs that was not compressed.

    Raises InputError, before anything is allocated, when `size` is not two numbers above 0 or the runs do not fill it.
    """
    runs, size = _runs_of(rle)
    try:
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size, order="F")
    except MemoryError:
        raise InputError(f": its {size[0]} x {size[1]} pixels do not fit into the memory", "rle") from None


def _runs_of(rle: Rle | Mapping[str, Any]) -> tuple[list[int], tuple[int, int]]:
    """The runs of an RLE, the first of them background, and its height and width, one held against the other."""
    mend = "pass the RLE as it was encoded"
    try:
        counts: Any = rle["counts"]
        height, width = (index(side) for side in rle["size"])
        if isinstance(counts, str | bytes | bytearray):
            runs = _decompressed(counts.encode("ascii") if isinstance(counts, str) else counts)
        else:
            runs = [index(run) for run in counts]
    except (KeyError, IndexError, TypeError, ValueError):
        needs = "`size`, [height, width], and `counts`, COCO's compressed string or a list of whole numbers"
        raise InputError(f": is not whole, or no RLE: it needs {needs}; {mend}", "rle") from None
    if height <= 0 or width <= 0 or height * width > _MOST:
        raise InputError(f": its size is not two numbers above 0, of {_MOST} pixels in all at most; {mend}", "rle")
    if min(runs, default=0) < 0:
        raise InputError(f": one of its runs is below 0; {mend}", "rle")
    if sum(runs) != height * width:
        raise InputError(f": its runs do not have the {height} x {width} pixels of its size; {mend}", "rle")
    return runs, (height, width)


def _decompressed(counts: bytes | bytearray) -> list[int]:
    """The runs of a compressed string. Raises ValueError when it is none."""
    runs: list[int] = []
    value, digits = 0, 0
    for byte in counts:
        digit = byte - 48
        if digit not in range(64) or digits == _DIGITS:
            raise ValueError
        value |= (digit & 0x1F) << 5 * digits
        digits += 1
        if not digit & 0x20:
            if digit & 0x10:
                value -= 1 << 5 * digits
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, digits = 0, 0
    if digits:
        raise ValueError
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
