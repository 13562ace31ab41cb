"""What each op of an ML Program does, on torch: the ops that our own graphs are made of, and no other.

An op takes its inputs by the names that Apple gives them in the MIL specification (`coremltools`, converters/mil/mil/
ops/defs), as tensors, or as plain numbers, strings and lists where the program holds a constant of that kind. It
computes in float32, or in whole numbers; `mil` rounds what comes out to the type that the program declares.
"""

from samclip_edge.runtimes.interpreters.mil_ops import arithmetic, shapes, weights  # noqa: F401  they fill the table
from samclip_edge.runtimes.interpreters.mil_ops.registry import OPS

__all__ = ["OPS"]
