"""Every op of the interpreter against torch, over random shapes and parameters; constexprs against coremltools' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from samclip_edge.errors import InputError
from samclip_edge.runtimes.interpreters.mil import Interpreter, coremltools
from samclip_edge.runtimes.interpreters.mil_ops import OPS

from coremltools.converters.mil.mil import Builder as mb  # isort: skip
from coremltools.converters.mil.mil import types  # isort: skip

Random = np.random.RandomState
Case = tuple[list[np.ndarray], Callable[..., Any], Callable[..., Any]]  # inputs, the op of MIL, the same of torch


def floats(random: Random, *shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def sides(random: Random, rank: int) -> list[int]:
    return [int(side) for side in random.randint(1, 7, rank)]


def pairwise(name: str, reference: Callable[..., Any]) -> Callable[[Random], Case]:
    def case(random: Random) -> Case:
        shape = sides(random, 4)
        other = [side if random.rand() < 0.5 else 1 for side in shape]
        x, y = floats(random, *shape), np.abs(floats(random, *other)) + 0.5
        return [x, y], lambda x, y: getattr(mb, name)(x=x, y=y), reference

    return case


def compared(name: str, reference: Callable[..., Any]) -> Callable[[Random], Case]:
    def case(random: Random) -> Case:
        shape = sides(random, 3)
        x, y = (random.randint(0, 3, shape).astype(np.float32) for _ in range(2))
        return [x, y], lambda x, y: mb.cast(x=getattr(mb, name)(x=x, y=y), dtype="fp32"), reference

    return case


def single(name: str, reference: Callable[..., Any], **parameters: Any) -> Callable[[Random], Case]:
    def case(random: Random) -> Case:
        return [floats(random, *sides(random, 4))], lambda x: getattr(mb, name)(x=x, **parameters), reference

    return case


def gelu(random: Random) -> Case:
    mode, reference = (
        ("EXACT", torch.nn.GELU()),
        ("TANH_APPROXIMATION", torch.nn.GELU("tanh")),
        ("SIGMOID_APPROXIMATION", lambda x: x / (1 + torch.exp(-1.702 * x))),
    )[random.randint(3)]
    return [floats(random, *sides(random, 4))], lambda x: mb.gelu(x=x, mode=mode), reference


def reduced(name: str, reference: Callable[..., Any]) -> Callable[[Random], Case]:
    def case(random: Random) -> Case:
        axes = sorted(random.choice(4, random.randint(1, 4), replace=False).tolist())
        keep = bool(random.randint(2))
        x = floats(random, *sides(random, 4))
        return (
            [x],
            lambda x: getattr(mb, name)(x=x, axes=axes, keep_dims=keep),
            lambda x: reference(x, dim=axes, keepdim=keep),
        )

    return case


def matmul(random: Random) -> Case:
    batch, n, k, m = sides(random, 4)
    turn_x, turn_y = bool(random.randint(2)), bool(random.randint(2))
    x = floats(random, batch, *((k, n) if turn_x else (n, k)))
    y = floats(random, batch, *((m, k) if turn_y else (k, m)))
    return (
        [x, y],
        lambda x, y: mb.matmul(x=x, y=y, transpose_x=turn_x, transpose_y=turn_y),
        lambda x, y: torch.einsum(f"b{'kn' if turn_x else 'nk'},b{'mk' if turn_y else 'km'}->bnm", x, y),
    )


def linear(random: Random) -> Case:
    rows, inside, out = sides(random, 3)
    weight, bias = floats(random, out, inside), floats(random, out)
    layer = torch.nn.Linear(inside, out)
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return [floats(random, 2, rows, inside)], lambda x: mb.linear(x=x, weight=weight, bias=bias), layer


def attention(random: Random) -> Case:
    batch, heads, length, width = sides(random, 4)
    arrays = [floats(random, batch, heads, length, width) for _ in range(3)] + [
        floats(random, 1, heads, length, length)
    ]
    return (
        arrays,
        lambda q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
        lambda q, k, v, m: (q @ k.transpose(-2, -1) / width**0.5 + m).softmax(-1) @ v,
    )


def conv(random: Random) -> Case:
    groups = int(random.randint(1, 3))
    inside, out = groups * int(random.randint(1, 4)), groups * int(random.randint(1, 4))
    kernel, strides = random.randint(1, 4, 2).tolist(), random.randint(1, 3, 2).tolist()
    dilations = random.randint(1, 3, 2).tolist()
    top, bottom, left, right = random.randint(0, 3, 4).tolist()
    x, weight, bias = (
        floats(random, 2, inside, 9, 8),
        floats(random, out, inside // groups, *kernel),
        floats(random, out),
    )
    common = {"strides": strides, "dilations": dilations, "groups": groups}

    def reference(x: torch.Tensor) -> torch.Tensor:
        layer = torch.nn.Conv2d(inside, out, kernel, strides, dilation=dilations, groups=groups)
        layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        return layer(torch.nn.ZeroPad2d((left, right, top, bottom))(x))

    pad = [top, bottom, left, right]
    return (
        [x],
        lambda x: mb.conv(x=x, weight=weight, bias=bias, pad_type="custom", pad=pad, **common),
        reference,
    )


def conv_transpose(random: Random) -> Case:
    groups = int(random.randint(1, 3))
    inside, out = groups * int(random.randint(1, 4)), groups * int(random.randint(1, 4))
    kernel, strides = random.randint(2, 4, 2).tolist(), random.randint(1, 3, 2).tolist()
    y, x = random.randint(0, 2, 2).tolist()
    weight, bias = floats(random, inside, out // groups, *kernel), floats(random, out)
    layer = torch.nn.ConvTranspose2d(inside, out, kernel, strides, padding=(y, x), groups=groups)
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    pad = [y, y, x, x]
    return (
        [floats(random, 2, inside, 5, 6)],
        lambda v: mb.conv_transpose(
            x=v, weight=weight, bias=bias, strides=strides, pad_type="custom", pad=pad, groups=groups
        ),
        layer,
    )


def batch_norm(random: Random) -> Case:
    count = int(random.randint(1, 6))
    mean, gamma, beta = (floats(random, count) for _ in range(3))
    variance = np.abs(floats(random, count)) + 0.1
    layer = torch.nn.BatchNorm2d(count, eps=1e-3).eval()
    state = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}
    layer.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()}, strict=False)
    return (
        [floats(random, 2, count, 3, 4)],
        lambda x: mb.batch_norm(x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=np.float32(1e-3)),
        layer,
    )


def layer_norm(random: Random) -> Case:
    count = int(random.randint(2, 8))
    gamma, beta = floats(random, count), floats(random, count)
    layer = torch.nn.LayerNorm(count, eps=1e-2)
    layer.load_state_dict({"weight": torch.from_numpy(gamma), "bias": torch.from_numpy(beta)})
    return (
        [floats(random, 2, 3, count)],
        lambda x: mb.layer_norm(x=x, axes=[-1], gamma=gamma, beta=beta, epsilon=np.float32(1e-2)),
        layer,
    )


def avg_pool(random: Random) -> Case:
    kernel, strides = random.randint(1, 4, 2).tolist(), random.randint(1, 3, 2).tolist()
    return (
        [floats(random, 2, 3, 8, 9)],
        lambda x: mb.avg_pool(x=x, kernel_sizes=kernel, strides=strides, pad_type="valid"),
        torch.nn.AvgPool2d(kernel, strides),
    )


def reshape(random: Random) -> Case:
    a, b, c = sides(random, 3)
    return [floats(random, a, b, c)], lambda x: mb.reshape(x=x, shape=[0, -1]), lambda x: x.flatten(1)


def transpose(random: Random) -> Case:
    perm = random.permutation(4).tolist()
    return [floats(random, *sides(random, 4))], lambda x: mb.transpose(x=x, perm=perm), lambda x: x.permute(perm)


def tile(random: Random) -> Case:
    reps = sides(random, 3)
    return [floats(random, *sides(random, 3))], lambda x: mb.tile(x=x, reps=reps), lambda x: torch.tile(x, reps)


def squeeze(random: Random) -> Case:
    a, b = sides(random, 2)
    return [floats(random, a, 1, b, 1)], lambda x: mb.squeeze(x=x, axes=[1]), lambda x: x.squeeze(1)


def expand_dims(random: Random) -> Case:
    a, b = sides(random, 2)
    return [floats(random, a, b)], lambda x: mb.expand_dims(x=x, axes=[1, -1]), lambda x: x[:, None, :, None]


def concat(random: Random) -> Case:
    axis, shape = int(random.randint(3)), sides(random, 3)
    arrays = [
        floats(random, *(side if place != axis else count for place, side in enumerate(shape))) for count in (1, 3)
    ]
    return arrays, lambda x, y: mb.concat(values=[x, y], axis=axis), lambda x, y: torch.cat([x, y], axis)


def split(random: Random) -> Case:
    a, b = (int(side) for side in random.randint(1, 5, 2))
    return (
        [floats(random, 2, a + b)],
        lambda x: mb.split(x=x, split_sizes=[a, b], axis=1)[1],
        lambda x: x[:, a:],
    )


def slice_by_index(random: Random) -> Case:
    first, step = int(random.randint(0, 3)), int(random.randint(1, 3))
    return (
        [floats(random, 4, 9, 5)],
        lambda x: mb.slice_by_index(
            x=x,
            begin=[1, first, 0],
            end=[0, 8, 0],
            stride=[1, step, 1],
            end_mask=[False, False, True],
            squeeze_mask=[True, False, False],
        ),
        lambda x: x[1, first:8:step],
    )


def gather(random: Random) -> Case:
    table, picked = floats(random, 11, 4), random.randint(0, 11, (2, 5)).astype(np.int32)
    return [picked], lambda i: mb.gather(x=table, indices=i, axis=0), lambda i: torch.from_numpy(table)[i.long()]


def pad(random: Random) -> Case:
    top, bottom, left, right = random.randint(0, 4, 4).tolist()
    pairs = [0, 0, 0, 0, top, bottom, left, right]
    return (
        [floats(random, 1, 2, 3, 4)],
        lambda x: mb.pad(x=x, pad=pairs, mode="constant", constant_val=np.float32(0.5)),
        lambda x: torch.nn.ConstantPad2d((left, right, top, bottom), 0.5)(x),
    )


def cast(random: Random) -> Case:
    x = 3 * floats(random, *sides(random, 3))
    return [x], lambda x: mb.cast(x=mb.cast(x=x, dtype="int32"), dtype="fp32"), lambda x: x.trunc()


def select(random: Random) -> Case:
    shape = sides(random, 3)
    x, y = floats(random, *shape), floats(random, *shape)
    return (
        [x, y],
        lambda x, y: mb.select(cond=mb.greater(x=x, y=y), a=x, b=y),
        lambda x, y: torch.maximum(x, y),
    )


def channels(random: Random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    out, inside = (int(side) for side in random.randint(2, 6, 2))
    data = random.randint(-128, 128, (out, inside, 1, 1)).astype(np.int8)
    return data, np.abs(floats(random, out)) + 0.1, random.randint(-9, 9, out).astype(np.int8)


def affine(random: Random) -> Case:
    data, scale, zero = channels(random)
    wanted = (data.astype(np.float32) - zero[:, None, None, None]) * scale[:, None, None, None]
    return (
        [floats(random, 1, *wanted.shape[1:])],
        lambda x: mb.add(
            x=x, y=mb.constexpr_affine_dequantize(quantized_data=data, zero_point=zero, scale=scale, axis=np.int32(0))
        ),
        lambda x: x + torch.from_numpy(wanted),
    )


def blockwise(random: Random) -> Case:
    data, scale, _ = channels(random)
    scale = scale.reshape(-1, 1, 1, 1)
    wanted = data.astype(np.float32) * scale
    return (
        [floats(random, 1, *wanted.shape[1:])],
        lambda x: mb.add(x=x, y=mb.constexpr_blockwise_shift_scale(data=data, scale=scale)),
        lambda x: x + torch.from_numpy(wanted),
    )


def palette(random: Random) -> Case:
    groups, size = 2, 64
    indices = random.randint(0, size, (4, 3)).astype(types.np_uint6_dtype)
    lut = floats(random, groups, 1, size, 1)
    wanted = np.stack([lut[row // 2, 0, indices[row].astype(int), 0] for row in range(4)])
    return (
        [floats(random, 4, 3)],
        lambda x: mb.add(x=x, y=mb.constexpr_lut_to_dense(indices=indices, lut=lut)),
        lambda x: x + torch.from_numpy(wanted),
    )


CASES: dict[str, Callable[[Random], Case]] = {
    "add": pairwise("add", torch.add),
    "sub": pairwise("sub", torch.sub),
    "mul": pairwise("mul", torch.mul),
    "real_div": pairwise("real_div", torch.div),
    "equal": compared("equal", torch.eq),
    "less": compared("less", torch.lt),
    "greater": compared("greater", torch.gt),
    "greater_equal": compared("greater_equal", torch.ge),
    "abs": single("abs", torch.abs),
    "sin": single("sin", torch.sin),
    "cos": single("cos", torch.cos),
    "relu": single("relu", torch.relu),
    "sigmoid": single("sigmoid", torch.sigmoid),
    "clip": single("clip", lambda x: x.clamp(-0.5, 0.7), alpha=np.float32(-0.5), beta=np.float32(0.7)),
    "inverse": single("inverse", lambda x: 1 / (x + 9.5), epsilon=np.float32(9.5)),
    "rsqrt": single("rsqrt", lambda x: (x + 9.5) ** -0.5, epsilon=np.float32(9.5)),
    "gelu": gelu,
    "softmax": single("softmax", lambda x: x.softmax(2), axis=2),
    "reduce_mean": reduced("reduce_mean", torch.mean),
    "reduce_sum": reduced("reduce_sum", torch.sum),
    "reduce_max": reduced("reduce_max", torch.amax),
    "matmul": matmul,
    "linear": linear,
    "scaled_dot_product_attention": attention,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "avg_pool": avg_pool,
    "reshape": reshape,
    "transpose": transpose,
    "tile": tile,
    "squeeze": squeeze,
    "expand_dims": expand_dims,
    "concat": concat,
    "split": split,
    "slice_by_index": slice_by_index,
    "gather": gather,
    "pad": pad,
    "cast": cast,
    "select": select,
    "constexpr_affine_dequantize": affine,
    "constexpr_blockwise_shift_scale": blockwise,
    "constexpr_lut_to_dense": palette,
}


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
