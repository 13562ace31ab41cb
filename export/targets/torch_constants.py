"""What torch knows of a module's constants: its tensors, what it computes of these alone, and the numbers it uses.

A converter computes what depends on no input, and stores the result: a table of places, and not the `arange` and the
sum that it comes of. So torch computes that too, of the traced program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from samclip_edge.bundle.contract import Arrays

aten = torch.ops.aten

Floats = npt.NDArray[np.float32]
_OPEN = object()  # a value that depends on an input


class Layer(NamedTuple):
    """A linear layer, or a convolution as it is for maps of one value a channel."""

    weight: Floats  # (O,I)
    bias: Floats  # (O,)


class Constants(NamedTuple):
    """The constants of modules."""

    tensors: list[Floats]  # of two values or more
    numbers: frozenset[float]  # tensors of one value, and what tensors are multiplied by, compared with and so on
    layers: list[Layer]


def constants(modules: Iterable[tuple[nn.Module, Arrays]]) -> Constants:
    """The constants of modules. Each is traced for inputs by name."""
    tensors: dict[tuple[Any, ...], Tensor] = {}
    numbers: set[float] = set()
    layers: dict[int, Layer] = {}
    for module, inputs in modules:
        given = {name: torch.from_numpy(values) for name, values in inputs.items()}
        folding = _Folding(torch.export.export(module, (), given).run_decompositions({}).module())
        with torch.no_grad():
            folding.run(*given.values(), enable_io_processing=False)
        for tensor in folding.tensors:
            if tensor.numel() == 1:
                numbers.add(float(tensor.detach()))
            else:  # a view of a whole tensor, as weights are transposed, is that tensor
                tensors.setdefault((tensor.data_ptr(), tensor.numel(), tensor.dtype), tensor)
        numbers.update(folding.numbers)
        layers.update({weight.data_ptr(): _layer(weight, bias) for weight, bias in folding.layers})
    return Constants([_floats(each) for each in tensors.values()], frozenset(numbers), list(layers.values()))


class _Folding(fx.Interpreter):
    """Computes what depends on no input, and looks at what constants do to what does."""

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__(program, garbage_collect_values=False)
        self.tensors: list[Tensor] = []
        self.numbers: set[float] = set()
        self.layers: list[tuple[Tensor, Tensor | None]] = []

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node, or `_OPEN`."""
        if n.op not in ("get_attr", "call_function"):
            return _OPEN
        if any(self.env[each] is _OPEN for each in n.all_input_nodes):
            self._look_at(n)
            return _OPEN
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.tensors.append(value)
        return value

    def _look_at(self, node: fx.Node) -> None:
        args, _ = self.fetch_args_kwargs_from_env(node)
        self.numbers.update(_numbers(node))
        match node.target, args:
            case aten.div.Tensor, (_, Tensor() as by):  # that is, times
                self.tensors.append(1 / by)
            case aten.div.Tensor, (_, float() | int() as by):
                self.numbers.add(1 / by)
            case aten.linalg_vector_norm.default, _:
                self.numbers |= {2, 0.5}  # the root of the sum of squares
            case aten.scaled_dot_product_attention.default, _:  # whose scale, d ** -0.5, is shared by queries and keys
                self.numbers.add(node.all_input_nodes[0].meta["val"].shape[-1] ** -0.25)
            case aten.linear.default | aten.conv2d.default, (_, Tensor() as weight, *others):
                self.layers.append((weight, others[0] if others else None))
            case aten._native_batch_norm_legit_no_training.default, (_, weight, bias, mean, var, _, eps):
                scale = weight / (var + eps).sqrt()
                self.tensors += [scale, bias - mean * scale]


def _numbers(node: fx.Node) -> Iterator[float]:
    """The numbers of an operator, but for those that are axes, sides and the like."""
    schema = getattr(node.target, "_schema", None)
    for value, argument in zip(node.args, schema.arguments if schema else (), strict=False):
        if isinstance(value, int | float) and "int" not in str(argument.type):
            yield float(value)


def _layer(weight: Tensor, bias: Tensor | None) -> Layer:
    matrix = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
    return Layer(_floats(matrix), _floats(weight.new_zeros(len(weight)) if bias is None else bias))


def _floats(tensor: Tensor) -> Floats:
    values: Floats = tensor.detach().float().numpy()
    return values
