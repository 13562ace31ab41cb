"""Puts a state dict into a module that must have the same names and shapes, or says in one line what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from samclip_edge.errors import InputError
from samclip_edge.model.files import State

_LISTED = 3  # names of each fault in a message


def load_exactly(
    modules: Mapping[str, nn.Module], state: State, source: str, what: str, wanted: str, mend: str
) -> None:
    """Load a state dict that must have the names and shapes of the modules, and finite values.

    modules: by the prefix of their names in the state dict, which is empty for a whole model. source, what, wanted,
    mend: the file, what it was recognised as, what it should fit, and what to do, for the message of the InputError
    that is raised otherwise.
    """
    check(modules, state, source, what, wanted, mend)
    for prefix, module in modules.items():
        module.load_state_dict({name: state[f"{prefix}{name}"] for name in module.state_dict()})


def check(modules: Mapping[str, nn.Module], state: State, source: str, what: str, wanted: str, mend: str) -> None:
    """Raise what `load_exactly` raises, and load nothing. The modules may be on the meta device."""
    own = {f"{p}{name}": each for p, module in modules.items() for name, each in module.state_dict().items()}
    both = [name for name in own if name in state]
    shapes = [name for name in both if own[name].shape != state[name].shape]
    kinds = [name for name in both if own[name].is_floating_point() and not state[name].is_floating_point()]
    faults = [
        *_listed("missing", own.keys() - state.keys()),
        *_listed("left over", state.keys() - own.keys()),
        *_listed("of another shape", (f"{k} {_shape(state[k])}, not {_shape(own[k])}" for k in shapes)),
        *_listed("no floating-point numbers", (f"{k} {str(state[k].dtype).partition('.')[2]}" for k in kinds)),
    ]
    if faults:
        raise InputError(f"{source}: {what}, which does not fit {wanted}. {'; '.join(faults)}. {mend}")
    bad = {name: _bad(state[name]) for name in own if state[name].is_floating_point()}
    if any(bad.values()):
        first = next(name for name, count in bad.items() if count)
        tensors = sum(count > 0 for count in bad.values())
        raise InputError(
            f"{source}: {sum(bad.values())} of its values are NaN or infinite, in {_count(tensors, 'tensor')}, the "
            f"first in {first}; fetch or save it again"
        )


def _bad(tensor: Tensor) -> int:
    finite = torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float())  # float8 has no isfinite
    return 0 if finite.all() else int((~finite).sum())


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listed(what: str, keys: Iterable[str]) -> list[str]:
    found = sorted(keys)
    more = " and others" if len(found) > _LISTED else ""
    return [f"{len(found)} {what}: {', '.join(found[:_LISTED])}{more}"] if found else []
