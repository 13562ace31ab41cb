"""What torch knows of a module's constants: its tensors, what it computes of these alone, and the numbers it uses.

A converter computes what depends on no input, and stores the result: a table of places, and not the `arange` and the
sum that it comes of. So torch computes that too, of the traced program.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from samclip_edge.bundle.contract import Arrays
from samclip_edge.export.precision.int8 import digest

aten = torch.ops.aten

Floats = npt.NDArray[np.float32]
Use = Literal["times", "plus", "compared", "bound", "power", "any"]
_OPEN = object()  # a value that depends on an input
_USES: dict[str, Use] = {  # what an operator does with its numbers; others' may become anything
    **dict.fromkeys(("mul", "div"), "times"),
    **dict.fromkeys(("add", "sub", "rsub", "layer_norm", "_native_batch_norm_legit_no_training"), "plus"),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), "compared"),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max"), "bound"),
}


class Layer(NamedTuple):
    """A linear layer or a convolution, by the places of its tensors in `Constants.tensors`."""

    weight: int
    bias: int | None


class Constants:
    """The constants of modules. A tensor of one value is a number, and one whose values are all the same may be one."""

    def __init__(self, modules: Iterable[tuple[nn.Module, Arrays]]) -> None:
        """Trace each module for inputs by name, and collect what it has."""
        self.tensors: list[Floats] = []  # all, but for those that differ from one in the order of axes alone
        # Places in `tensors`:
        self.read: set[int] = set()  # what is put together with values that depend on an input
        self.scales: set[int] = set()  # of norms, and what else values are multiplied by
        self.norm_biases: set[int] = set()
        self.layers: set[Layer] = set()
        self.transposed: set[int] = set()  # the weights (I,O,H,W) of transposed convolutions
        self.numbers: dict[Use, set[float]] = defaultdict(set)
        self._places: dict[Any, int] = {}
        self._kept: list[Tensor] = []  # so that no other tensor comes to lie where one of them did
        for module, inputs in modules:
            given = {name: torch.from_numpy(values) for name, values in inputs.items()}
            program = torch.export.export(module, (), given).run_decompositions({}).module()
            with torch.no_grad():
                _Folding(program, self).run(*given.values(), enable_io_processing=False)

    def place(self, tensor: Tensor) -> int:
        """The place of a tensor, which is noted if it is new."""
        axes = tuple(sorted(zip(tensor.stride(), tensor.shape, strict=True)))
        where = (tensor.data_ptr(), tensor.dtype, axes)
        if where not in self._places:
            values = tensor.detach().float().numpy()
            what = (values.shape, digest(np.ascontiguousarray(values).tobytes()))
            if what not in self._places:
                self._places[what] = len(self.tensors)
                self.tensors.append(values)
                if values.size and np.ptp(values) == 0:
                    self.numbers["any"].add(float(values.flat[0]))
            self._places[where] = self._places[what]
            self._kept.append(tensor)
        return self._places[where]


class _Folding(fx.Interpreter):
    """Computes what depends on no input, and notes what is put together with what does."""

    def __init__(self, program: fx.GraphModule, constants: Constants) -> None:
        super().__init__(program, garbage_collect_values=False)
        self._found = constants

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node, or `_OPEN`."""
        if n.op not in ("get_attr", "call_function"):
            return _OPEN
        if any(self.env[each] is _OPEN for each in n.all_input_nodes):
            self._note_numbers(n)
            self._note_tensors(n)
            return _OPEN
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self._found.place(value)
        return value

    def _note_numbers(self, node: fx.Node) -> None:
        schema, found = getattr(node.target, "_schema", None), self._found.numbers
        if schema is None:
            return
        name = schema.name.removeprefix("aten::")
        for value, argument in zip(node.args, schema.arguments, strict=False):
            if isinstance(value, bool) or not isinstance(value, int | float) or "int" in str(argument.type):
                continue  # an integer that the schema wants is an axis or a side
            found[_USES.get(name, "any")].add(1 / value if name == "div" else value)
        if name == "layer_norm":  # in which the mean is taken from 0
            found["plus"].add(0)
        if name == "linalg_vector_norm":  # the root of the sum of squares
            found["power"] |= {2, 0.5}
        if name == "scaled_dot_product_attention":  # its scale, d ** -0.5, is shared by queries and keys
            found["times"].add(node.all_input_nodes[0].meta["val"].shape[-1] ** -0.25)

    def _note_tensors(self, node: fx.Node) -> None:
        found, (args, _) = self._found, self.fetch_args_kwargs_from_env(node)
        read = [each for each in tree_leaves(args) if isinstance(each, Tensor)]
        scales: list[Tensor] = []
        match node.target, args:
            case aten.linear.default | aten.conv2d.default, (_, Tensor() as weight, *others):
                bias = others[0] if others and isinstance(others[0], Tensor) else None
                found.layers.add(Layer(found.place(weight), None if bias is None else found.place(bias)))
            case aten.conv_transpose2d.input, (_, Tensor() as weight, *_):
                found.transposed.add(found.place(weight))
            case aten.layer_norm.default, (_, _, Tensor() as scale, Tensor() as bias, *_):
                scales = [scale]
                found.norm_biases.add(found.place(bias))
            case aten._native_batch_norm_legit_no_training.default, (_, weight, bias, mean, var, _, eps):
                scales = [weight / (var + eps).sqrt()]
                read = [*scales, bias - mean * scales[0]]
                found.norm_biases.add(found.place(read[1]))
            case aten.div.Tensor, (_, Tensor() as by):
                scales = read = [1 / by]
            case aten.mul.Tensor, (_, Tensor() as by) | (Tensor() as by, _):
                scales = [by]
        found.scales.update(map(found.place, scales))
        found.read.update(map(found.place, read))
