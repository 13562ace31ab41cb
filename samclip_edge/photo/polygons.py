"""Masks as polygons: their outlines along the edges of pixels, as COCO writes them, so that no pixel is lost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.bool_]
Corner = tuple[int, int]  # x, y of a corner of a pixel
_WAYS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: y grows downwards


def polygons_of(bits: Bits) -> list[list[int]]:
    """The polygons [x0, y0, x1, y1, ...] of a mask (H,W), in pixels of the photo, whose union is the mask.

    A polygon of COCO has no holes. So a mask with holes is cut along the row where each hole begins.
    """
    cuts = sorted({min(y for _, y in loop) for loop in _loops(bits) if _area(loop) < 0})
    if not cuts:
        return [_flat(loop) for loop in _loops(bits)]
    bands = zip([0, *cuts], [*cuts, len(bits)], strict=True)
    return [_flat(loop, top) for top, end in bands for loop in _loops(bits[top:end])]


def _flat(loop: list[Corner], top: int = 0) -> list[int]:
    return [number for x, y in loop for number in (x, y + top)]


def _area(loop: list[Corner]) -> int:
    """Twice the area inside; below 0 for the outline of a hole, which runs the other way round."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(loop, [*loop[1:], loop[0]], strict=True))


def _loops(bits: Bits) -> list[list[Corner]]:
    """The outlines of a mask, with the mask at their right hand: the corners where they turn."""
    edges = _edges(bits)
    done: set[tuple[int, int, int]] = set()
    loops = []
    for first in edges:  # in order: the first of an outline leaves a corner where it turns
        if first in done:
            continue
        edge, before = first, -1
        loop: list[Corner] = []
        while not loop or edge != first:
            x, y, way = edge
            done.add(edge)
            if way != before:
                loop.append((x, y))
            x, y, before = x + _WAYS[way][0], y + _WAYS[way][1], way
            # To the right, ahead, to the left: where two pixels touch at a corner only, this keeps them apart.
            edge = next(on for turn in (1, 0, 3) if (on := (x, y, (way + turn) % 4)) in edges)
        loops.append(loop)
    return loops


def _edges(bits: Bits) -> dict[tuple[int, int, int], None]:
    """The edges between the mask and what is around it, with the mask at their right hand: x, y, way; by rows."""
    padded = np.pad(bits, 1)
    inside, above, before = padded[1:, 1:], padded[:-1, 1:], padded[1:, :-1]
    sides = (
        (inside & ~above, 0, 0, 0),
        (before & ~inside, 1, 0, 0),
        (above & ~inside, 2, 1, 0),
        (inside & ~before, 3, 0, 1),
    )
    found = [(y + down, x + right, way) for at, way, right, down in sides for y, x in np.argwhere(at).tolist()]
    return {(x, y, way): None for y, x, way in sorted(found)}
