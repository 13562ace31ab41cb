"""Cases of ops that compute: element by element, products, convolutions, norms, reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mil_cases.case import Case, Random, floats, mb, sides


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


CASES: dict[str, Callable[[Random], Case]] = {
    "add": pairwise("add", torch.add),
    "sub": pairwise("sub", torch.sub),
    "mul": pairwise("mul", torch.mul),
    "real_div": pairwise("real_div", torch.div),
    "minimum": pairwise("minimum", lambda x, y: torch.where(x < y, x, y)),
    "equal": compared("equal", torch.eq),
    "less": compared("less", torch.lt),
    "greater": compared("greater", torch.gt),
    "greater_equal": compared("greater_equal", torch.ge),
    "abs": single("abs", torch.abs),
    "sin": single("sin", torch.sin),
    "cos": single("cos", torch.cos),
    "relu": single("relu", torch.relu),
    "relu6": single("relu6", lambda x: x.clamp(0, 6)),
    "sigmoid": single("sigmoid", torch.sigmoid),
    "clip": single("clip", lambda x: x.clamp(-0.5, 0.7), alpha=np.float32(-0.5), beta=np.float32(0.7)),
    "inverse": single("inverse", lambda x: 1 / (x + 9.5), epsilon=np.float32(9.5)),
    "rsqrt": single("rsqrt", lambda x: (x + 9.5) ** -0.5, epsilon=np.float32(9.5)),
    "gelu": gelu,
    "softmax": single("softmax", lambda x: x.softmax(2), axis=2),
    "reduce_mean": reduced("reduce_mean", torch.mean),
    "reduce_sum": reduced("reduce_sum", torch.sum),
    "reduce_max": reduced("reduce_max", torch.amax),
    "cumsum": single("cumsum", lambda x: x.cumsum(1), axis=1),
    "matmul": matmul,
    "linear": linear,
    "scaled_dot_product_attention": attention,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "avg_pool": avg_pool,
    "cast": cast,
    "select": select,
}
