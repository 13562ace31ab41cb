"""The signatures of a LiteRT file: one for each input size and each set of numbers that a call may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from samclip_edge.bundle.contract import Arrays, GraphName, Signature
from samclip_edge.bundle.manifest import Call
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.spec import ModelSpec

# What a call may have: prompts and the points of each; texts and the token ids of each, up to the context.
PROMPTS, POINTS = (1, 16, 64), (2, 3, 4, 8)
TEXTS, LENGTHS = (1, 16), (8, 16, 32)


def signatures(
    spec: ModelSpec, name: GraphName, size: Size | None, sides: Signature, points: int | None
) -> tuple[Call, ...]:
    """The signatures of a graph at one size.

    points: those of each prompt, where a call has one prompt or text only, as a GPU takes; None: `PROMPTS` of `POINTS`.
    """
    return tuple(_call(name, size, numbers) for numbers in _numbers(spec, sides, points))


def _numbers(spec: ModelSpec, sides: Signature, points: int | None) -> Iterator[dict[str, int]]:
    """The numbers that stand for the open letters, of each signature."""
    letters = {side for tensor in sides.inputs for side in tensor.shape if isinstance(side, str)}
    context = spec.text.context
    may_be = {"N": (points,) if points else POINTS, "L": (*(each for each in LENGTHS if each < context), context)}
    batches = (1,) if points else PROMPTS if "N" in letters else TEXTS
    others = [letter for letter in ("N", "L") if letter in letters]
    if not letters:
        yield {}
        return
    for batch, *numbers in product(batches, *(may_be[letter] for letter in others)):
        yield {"B": batch, **dict(zip(others, numbers, strict=True))}


def _call(name: GraphName, size: Size | None, numbers: dict[str, int]) -> Call:
    """A signature, named after what it is for: `size_384`, `size_384_16x2` (16 prompts of 2 points), `texts_16x8`."""
    first = "texts" if name == "text_encoder" else f"size_{size}"
    return Call(function="_".join([first, "x".join(map(str, numbers.values()))]).rstrip("_"), sides=numbers)


def fitting(sides: Signature, call: Call, seen: Sequence[Arrays]) -> list[Arrays]:
    """Inputs as a signature takes them: with prompts or points left out, or repeated."""
    found = []
    for inputs in seen:
        given = dict(inputs)
        for tensor in sides.inputs:
            for axis, side in enumerate(tensor.shape):
                if isinstance(side, str):
                    values = given[tensor.name]
                    places = np.arange(call.sides[side]) % values.shape[axis]
                    given[tensor.name] = np.ascontiguousarray(np.take(values, places, axis))
        found.append(given)
    return found
