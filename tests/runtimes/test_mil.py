"""Every op of the interpreter is compared with torch, over random shapes and parameters (`mil_cases`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mil_cases import CASES
from mil_cases.case import Random, floats, mb, types

from samclip_edge.errors import InputError
from samclip_edge.runtimes.interpreters.mil import Interpreter, coremltools
from samclip_edge.runtimes.interpreters.mil_ops import OPS


def run(build: Callable[..., Any], arrays: list[np.ndarray], target: str = "iOS18") -> np.ndarray:
    """What the interpreter makes of a program of one op."""
    letters = ["xyzw"[place] for place in range(len(arrays))]
    specs = [
        mb.TensorSpec(shape=each.shape, dtype=types.int32 if each.dtype == np.int32 else types.fp32) for each in arrays
    ]
    source = f"lambda {', '.join(letters)}: build({', '.join(letters)})"  # MIL names inputs after the parameters
    program = mb.program(input_specs=specs, opset_version=coremltools.target[target])(eval(source, {"build": build}))
    (out,) = Interpreter(program.functions["main"], "test")(dict(zip(letters, arrays, strict=True))).values()
    return out


def test_every_op_has_a_case() -> None:
    assert set(CASES) == set(OPS)


@pytest.mark.parametrize("name", CASES)
def test_an_op_is_torchs(name: str) -> None:
    for seed in range(5):
        arrays, build, reference = CASES[name](Random(seed))
        target = "iOS16" if name == "constexpr_affine_dequantize" else "iOS18"
        got = run(build, arrays, target)
        with torch.inference_mode():
            wanted = reference(*(torch.from_numpy(each) for each in arrays)).float().numpy()
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


def test_half_is_rounded_after_every_op() -> None:
    def build(x: Any) -> Any:
        half = mb.cast(x=x, dtype="fp16")
        return mb.cast(x=mb.sub(x=mb.add(x=half, y=np.float16(2048)), y=np.float16(2048)), dtype="fp32")

    # Above 2048 the halves of float16 are 2 apart: 1 more is lost, 3 more become 4.
    np.testing.assert_array_equal(run(build, [np.array([1, 2, 3], np.float32)]), [0, 2, 4])


def test_packed_palettes_of_ios16_by_hand() -> None:
    random = Random(0)
    indices, lut = random.randint(0, 64, (5, 3)), floats(random, 64)
    bits = np.unpackbits(indices.astype(np.uint8).reshape(-1, 1), axis=1, bitorder="little")[:, :6].reshape(-1)
    packed = np.packbits(bits, bitorder="little")
    shape = np.array([5, 3], np.uint32)
    got = run(
        lambda x: mb.add(x=x, y=mb.constexpr_lut_to_dense(indices=packed, lut=lut, shape=shape)),
        [np.zeros((5, 3), np.float32)],
        "iOS16",
    )
    np.testing.assert_array_equal(got, lut[indices])


def test_an_unknown_op_is_named() -> None:
    with pytest.raises(InputError, match="test: op erf is not one"):
        run(lambda x: mb.erf(x=x), [np.zeros((2, 2), np.float32)])
